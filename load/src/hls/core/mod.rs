//! The rules of LL-HLS as far as a client can see them: bytes in, findings out.
//!
//! | module | role |
//! |---|---|
//! | [`playlist`] | playlists as they are written, with line numbers |
//! | [`ledger`], [`rules`] | which rule was seen to hold or to break, and where |
//! | [`media`] | one media playlist |
//! | [`sequence`] | a media playlist and the one after it; a delta and its full playlist |
//! | [`together`] | the multivariant playlist, and renditions beside each other |
//! | [`answers`] | HTTP answers |
//! | [`boxes`] | CMAF boxes of init sections and parts |

pub(crate) mod answers;
pub(crate) mod boxes;
pub(crate) mod ledger;
pub(crate) mod media;
pub(crate) mod playlist;
pub(crate) mod rules;
pub(crate) mod sequence;
pub(crate) mod together;
