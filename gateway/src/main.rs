//! `bicast`: the command.
fn main() {}
