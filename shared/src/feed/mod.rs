//! A feed: who publishes it, how its packets are stamped and cut, and how they reach its readers.
//!
//! - [`owner`]: pure. Stamps packets with the timeline and decides the cuts, once per feed.
//! - [`ring`]: pure. A bounded ring of packets with what a lagging reader skips to.
//! - [`settings`]: how feeds are treated, for all and for some.
//! - `bus`: the shell (feature `io`): publishers write, readers follow with their own cursor.

#[cfg(feature = "io")]
pub mod bus;
pub mod info;
pub mod owner;
pub mod past;
pub mod ring;
pub mod settings;
