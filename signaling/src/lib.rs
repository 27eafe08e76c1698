//! Signaling: tells everybody what can be watched, and how. Knows no SDP and no m3u8; reads the feed bus and what the
//! other rooms report, and serves it as a REST API.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | the JSON, as types |
//! | `core` | pure: a feed's snapshot and both rooms' reports in, the API's view of it out; what is remembered of ended feeds |
//! | [`policy`] | pure: over which path each viewer is served, and why |
//! | [`admission`] | pure: for whom the server has room on the realtime path |
//! | `directory` | follows the bus |
//! | `http` | the routes |
//! | `openapi` | their description |
//!
//! A feed that has ended stays visible for [`Config::ended_retention`] seconds with the state `ended`, so that a player
//! can tell "it is over, rewind if you like" from "there is no such feed".

pub mod api;
mod config;
mod core;
mod directory;
mod http;
mod openapi;

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::feed::bus::FeedBus;
use bicast_shared::status::{PackagerStatus, SfuStatus, ViewerSource};
use tokio::sync::watch;
use utoipa::openapi::OpenApi;

pub use crate::config::Config;
pub use crate::core::{admission, policy};
use crate::directory::Directory;
use crate::http::Shared;
use crate::openapi::Description;

/// The room.
pub struct Signaling {
    directory: Directory,
    viewers: Option<Arc<dyn ViewerSource>>,
    others: Vec<OpenApi>,
}

impl Signaling {
    /// Begins to follow the bus and the reports. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        config: Config,
        bus: FeedBus,
        sfu: watch::Receiver<Arc<SfuStatus>>,
        packager: watch::Receiver<Arc<PackagerStatus>>,
    ) -> Self {
        let retention = Duration::from_secs(config.ended_retention);
        let directory = Directory::start(bus, sfu, packager, retention);
        Self { directory, viewers: None, others: Vec::new() }
    }

    /// Whom to ask about viewers one by one. Without it no feed has any.
    #[must_use]
    pub fn ask_about_viewers(mut self, source: Arc<dyn ViewerSource>) -> Self {
        self.viewers = Some(source);
        self
    }

    /// Adds other rooms' routes to the description at `/v1/openapi.json`.
    #[must_use]
    pub fn describe(mut self, other: OpenApi) -> Self {
        self.others.push(other);
        self
    }

    /// The routes under `/v1`: feeds, their viewers, the time, the description of all this.
    pub fn router(&self) -> axum::Router {
        let description = Description::new(self.others.clone());
        http::router(Shared { directory: self.directory.clone(), viewers: self.viewers.clone(), description })
    }
}

#[cfg(test)]
mod tests;
