//! Pure cores: bytes and `now` in, decisions out. No sockets, no clock, no locks, no tokio.

pub(crate) mod stun;
