//! What an H.264 bitstream says about itself.

pub mod params;
pub mod still;
