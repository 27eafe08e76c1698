//! bicast-signaling.
