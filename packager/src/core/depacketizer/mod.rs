//! RTP payloads to access units. One file a codec; none knows of time, loss timers or playlists.

pub mod h264;
pub mod opus;
