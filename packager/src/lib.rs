//! bicast-packager.
