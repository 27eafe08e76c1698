//! What a line does to what passes it, decided without a clock, a socket or a task.
//!
//! | module | holds |
//! |---|---|
//! | [`network`] | [`Network`](network::Network): how bad it is, and changes of it |
//! | [`ports`] | [`Ports`](ports::Ports): the ports that lines may have |
//! | `sdp` | answers of the SFU, rewritten so that media takes the line |
//! | `way` | `Way`: one direction; sizes and times in, drops, delays and holds out |

pub mod network;
pub mod ports;
pub(crate) mod sdp;
pub(crate) mod way;
