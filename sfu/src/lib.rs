//! bicast-sfu.
