//! bicast-publish.
