//! The gateway: the process around the rooms. Owns the configuration, logs, metrics, listeners and the shutdown order;
//! builds the feed bus and the rooms on it, and merges their routers.
//!
//! | module | holds |
//! |---|---|
//! | `auth` | who is let in: keys, and the check before every route |
//! | [`cli`] | the commands |
//! | [`config`] | the configuration, from file, environment and flags |
//! | `doctor` | what keeps viewers away from this machine, and what to set |
//! | [`gateway`] | [`Gateway`]: all roles in one process, started and stopped in order |
//! | `http` | listeners, connections, and what is the same for every route |
//! | `logs`, `metrics` | what operators read |
//! | `shutdown` | signals |

mod auth;
pub mod cli;
pub mod config;
mod console;
mod doctor;
mod files;
pub mod gateway;
mod http;
mod load;
mod logs;
mod metrics;
mod openapi;
mod shutdown;

pub use crate::config::Config;
pub use crate::gateway::{Gateway, StartError};
