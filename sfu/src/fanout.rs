//! The packet path alone, for measuring.
