//! `bicast publish`.
pub mod core;
pub mod encoder;
pub mod error;
pub mod source;
