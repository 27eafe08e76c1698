//! The words bicast speaks, as types, and the bus its media travels on. Imports nothing of ours.
//!
//! | module | holds |
//! |---|---|
//! | [`id`] | names: [`id::FeedId`], [`id::TrackId`], [`id::RenditionId`], [`id::SegmentNumber`], … |
//! | [`time`] | kinds of time: [`time::MediaTime`], [`time::ProgramTime`], and the maths between them |
//! | [`media`] | [`media::Codec`], [`media::TrackInfo`], keyframe detection |
//! | [`packet`] | [`packet::MediaPacket`]: an RTP packet with the stamps of the timeline |
//! | [`feed`] | the feed's owner (stamps and cuts, pure), the rings, and the bus (feature `io`) |
//! | [`status`] | what the rooms report to each other, as data |
//! | [`problem`] | RFC 9457 problem+json: the one shape of an HTTP error |
//! | [`auth`] | tokens: who may do what |
//! | `body` | bodies of requests, bounded (feature `io`) |
//! | `client` | who asks over HTTP (feature `io`) |
//! | `clock` | the one place where the clock is read (feature `io`) |

pub mod auth;
#[cfg(feature = "io")]
pub mod body;
#[cfg(feature = "io")]
pub mod client;
#[cfg(feature = "io")]
pub mod clock;
pub mod feed;
pub mod id;
pub mod media;
pub mod packet;
pub mod problem;
pub mod status;
pub mod time;
