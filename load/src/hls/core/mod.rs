//! The pure half: what of LL-HLS a client can see.
//!
//! | module | role |
//! |---|---|
//! | [`playlist`] | playlists as they are written, with line numbers |
//!
//! The rules, bytes in and findings out:
//!
//! | module | role |
//! |---|---|
//! | [`ledger`], [`rules`] | which rule was seen to hold or to break, and where |
//! | [`media`] | one media playlist |
//! | [`gaps`], [`aging`], [`breaks`], [`dateranges`], [`hints`], [`reports`] | playlists by these themes |
//! | [`sequence`] | a media playlist and the one after it; a delta and its full playlist |
//! | [`blocking`] | requests that wait |
//! | [`together`], [`variants`] | the multivariant playlist, and renditions beside each other |
//! | [`answers`], [`headers`] | HTTP answers |
//! | [`boxes`], [`entry`], [`samples`], [`events`] | CMAF boxes of init sections and parts, and what is in them |
//!
//! Players under load:
//!
//! | module | role |
//! |---|---|
//! | [`edge`] | the live edge of a playlist: what a player would load |
//! | [`follower`] | what a player asks for next |
//! | [`playback`] | its buffer: when it would have stood still |
//! | [`board`] | what all players have seen and got |
//! | [`figures`] | what a run says |

pub(crate) mod aging;
pub(crate) mod answers;
pub(crate) mod blocking;
pub(crate) mod board;
pub(crate) mod boxes;
pub(crate) mod breaks;
pub(crate) mod dateranges;
pub(crate) mod edge;
pub(crate) mod entry;
pub(crate) mod events;
pub(crate) mod figures;
pub(crate) mod follower;
pub(crate) mod gaps;
pub(crate) mod headers;
pub(crate) mod hints;
pub(crate) mod ledger;
pub(crate) mod media;
pub(crate) mod playback;
pub(crate) mod playlist;
pub(crate) mod reports;
pub(crate) mod rules;
pub(crate) mod samples;
pub(crate) mod sequence;
pub(crate) mod together;
pub(crate) mod variants;
