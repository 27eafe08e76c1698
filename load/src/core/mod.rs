//! The pure half: bytes and `now` in, bytes and counts out. No socket, no clock, no runtime.
//!
//! | module | role |
//! |---|---|
//! | [`viewer`] | one viewer: connects, checks every packet's number, authenticates a sample |
//! | [`publisher`] | the synthetic feed's publisher |
//! | [`transport`] | ICE, DTLS and SRTP keys of either, on [`ice`] |
//! | [`offer`], [`answer`] | SDP |
//! | [`stream`] | the continuity of one stream's sequence numbers |
//! | [`picture`] | when the first keyframe is complete |
//! | [`rtp`] | the fields of a packet's header, without decrypting |
//! | [`feed`], [`stamp`] | the packets of the synthetic feed, and the time of sending in each of them |
//! | [`tally`] | counts and distributions |
//! | [`ramp`] | when which viewer joins |
//! | [`verdict`] | whether the run counts |
//! | [`report`], [`text`] | what a run says, for programs and for people |

pub mod answer;
pub mod feed;
pub mod ice;
pub mod offer;
pub mod picture;
pub mod publisher;
pub mod ramp;
pub mod report;
pub mod rtp;
pub mod stamp;
pub mod stream;
pub mod tally;
#[cfg(test)]
mod test_server;
pub mod text;
pub mod transport;
pub mod verdict;
pub mod viewer;
