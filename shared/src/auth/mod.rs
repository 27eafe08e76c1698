//! Who may do what: tokens (JWT, RFC 7519), the keys that they are signed with, and the one policy that every door asks.
//!
//! Pure: a token's bytes, the keys and `now` in, a [`Grant`] or a [`Refusal`] out. Files, addresses of key sets and HTTP are the
//! gateway's.
//!
//! | module | holds |
//! |---|---|
//! | `claims` | what a token says, as JSON |
//! | `keys` | keys by their id, each with its one algorithm; JWK sets (RFC 7517) |
//! | `policy` | a token checked: [`Policy::verify`], and what it allows: [`Grant::allows`] |
//! | `refusal` | why not, as problem+json and a `WWW-Authenticate` challenge (RFC 6750) |
//! | `revoked` | tokens and viewers whose right was taken back |
//! | `presence` | how many a viewer is at the same time, over HLS |
//! | `delay` | viewers who must stay behind, and the addresses of what is due for them |
//! | `mint` | tokens made and signed |
//! | `crypto` | the signatures themselves |

mod claims;
mod crypto;
mod delay;
mod keys;
mod mint;
mod policy;
mod presence;
mod refusal;
mod revoked;

pub use claims::{Audience, Claims, Right, Tier};
pub use delay::{BadClasses, DelayClasses, LONGEST_DELAY, MOST_CLASSES, Named, Unnamed};
pub use keys::{BadKeys, Key, KeySet, LEAST_SECRET, MOST_KEYS, Secrets};
pub use mint::{BadSigner, Signer, Unchecked, look_inside};
pub use policy::{Act, Grant, LEEWAY, LONGEST_NAME, LONGEST_TOKEN, Policy};
pub use presence::Presence;
pub use refusal::Refusal;
pub use revoked::{Full, Revocation, Revoked, Taken};

#[cfg(test)]
mod tests;
