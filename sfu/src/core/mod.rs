//! Pure cores: bytes and `now` in, decisions out. No sockets, no clock, no locks, no tokio.

pub(crate) mod answer;
pub(crate) mod bucket;
pub(crate) mod candidates;
pub(crate) mod demux;
pub(crate) mod dtls;
pub(crate) mod feedback;
pub(crate) mod fingerprint;
pub(crate) mod format;
pub(crate) mod fragment;
pub(crate) mod frames;
pub(crate) mod guard;
pub(crate) mod hello;
pub(crate) mod history;
pub(crate) mod ice;
pub(crate) mod join;
pub(crate) mod outbox;
pub(crate) mod pacer;
pub(crate) mod repairs;
pub(crate) mod report;
pub(crate) mod rewrite;
pub(crate) mod sdp;
pub(crate) mod seal;
pub(crate) mod smoothing;
pub(crate) mod ssrcs;
pub(crate) mod stun;
