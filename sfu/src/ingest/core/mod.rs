//! The pure parts of ingest: bytes and `now` in, decisions out. No sockets, no tasks, no clock.
//!
//! | module | decides |
//! |---|---|
//! | [`negotiate`] | which of its sections and codecs are taken, and the tracks that follow |
//! | [`answer`] | the texts: our answer, and the fragment of an ICE restart |
//! | [`receiver`] | which stream a packet belongs to, what is missing, what goes back as RTCP |
//! | [`arrivals`] | one stream's sequence numbers: duplicates, gaps, NACK timing |
//! | [`twcc`] | transport-wide arrival times and their feedback |
//! | [`report`] | reception statistics and report blocks (RFC 3550) |

pub(crate) mod answer;
pub(crate) mod arrivals;
pub(crate) mod negotiate;
pub(crate) mod receiver;
pub(crate) mod report;
pub(crate) mod twcc;
