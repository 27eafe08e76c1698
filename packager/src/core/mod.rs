//! The packager without sockets, tasks or clocks: packets and `now` in, snapshots and playlists out.
//!
//! | step | file |
//! |---|---|
//! | packets in the order of sending | `reorder` |
//! | packets to frames | `depacketizer`, `sound` |
//! | what keyframes say to a player | `coding` |
//! | decode times | `decode_order` |
//! | where parts and segments end | `cadence`, `plan`, `video`, `audio` |
//! | the encodings of one picture | `layers`, `gate` |
//! | what is shown where frames are missing | `pictures`, `stand_in` |
//! | frames to files | `writer`, `cmaf` |
//! | what is listed | `window`, `snapshot` |
//! | what of it was listed at an earlier moment | `mark` |
//! | what of it is stored, and what is done about it | `keeper` |
//! | playlists as text | `playlist` |
//! | where a moment lies in what is listed | `timeline` |
//! | which requests wait | `reload` |
//! | which epochs go on in the same playlists | `held`, `lineup`, `instance` |
//! | playlists that go on in another process | `record`, `past` |
//!
//! [`feed::FeedPackager`] joins them for one feed.

pub mod audio;
pub mod cadence;
pub mod cmaf;
pub mod coding;
pub mod decode_order;
pub mod depacketizer;
pub mod feed;
pub mod gate;
pub mod held;
pub mod instance;
pub mod keeper;
pub mod layers;
pub mod lineup;
pub mod maps;
pub mod mark;
pub mod past;
pub mod pictures;
pub mod plan;
pub mod playlist;
pub mod record;
pub mod reload;
pub mod reorder;
pub mod snapshot;
pub mod sound;
pub mod stand_in;
pub mod timeline;
pub mod video;
pub mod window;
pub mod writer;

#[cfg(test)]
mod simulation;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
