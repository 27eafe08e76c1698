//! Signaling: tells everybody what can be watched, and how. Knows no SDP and no m3u8; reads the feed bus and what the
//! other rooms report, and serves it as a REST API.
//!
//! | module | holds |
//! |---|---|
//! | [`api`] | the JSON, as types |
//! | `core` | pure: a feed's snapshot and both rooms' reports in, the API's view of it out; what is remembered of ended feeds |
//! | [`policy`] | pure: over which path each viewer is served, and why |
//! | [`admission`] | pure: for whom the server has room on the realtime path |
//! | `core::roster` | pure: the viewers that have joined; brings the policy, the admission and what is told to each together |
//! | `directory` | follows the bus |
//! | `desk` | the shell around the roster |
//! | `http` | the routes |
//! | `openapi` | their description |
//!
//! A feed that has ended stays visible for [`Config::ended_retention`] seconds with the state `ended`, so that a player
//! can tell "it is over, rewind if you like" from "there is no such feed".

pub mod api;
mod config;
mod core;
mod desk;
mod directory;
mod http;
mod openapi;

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::auth::Grant;
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::status::timeline::TimelineSource;
use bicast_shared::status::{PackagerStatus, RealtimeDoor, SfuStatus, ViewerSource};
use bicast_shared::time::ProgramTime;
use tokio::sync::watch;
use utoipa::openapi::OpenApi;

pub use crate::config::Config;
pub use crate::core::{admission, policy};
use crate::desk::Desk;
use crate::directory::Directory;
use crate::http::Shared;
use crate::openapi::Description;
pub use crate::openapi::Guarded;

/// The room.
pub struct Signaling {
    directory: Directory,
    desk: Desk,
    since: ProgramTime,
    timeline: Option<Arc<dyn TimelineSource>>,
    max_created_feeds: u32,
    others: Vec<OpenApi>,
    guarded: Guarded,
}

/// What of the room others hold: viewers whose rights end, a processor's load, the realtime path's door.
#[derive(Clone)]
pub struct Viewers(Desk);

impl Viewers {
    /// Ends the viewers whose right has ended, and tells how many.
    pub async fn end_those(&self, ended: impl Fn(&Grant) -> bool) -> u64 {
        self.0.end_those(ended).await
    }

    /// How much of all cores this process uses, 0 to 1: to be told each second.
    pub fn set_cpu_share(&self, share: f64) {
        self.0.set_cpu_share(share);
    }

    /// Who decides whether a session may begin.
    #[must_use]
    pub fn door(&self) -> Arc<dyn RealtimeDoor> {
        Arc::new(self.0.clone())
    }
}

impl Signaling {
    /// Begins to follow the bus and the reports. `source` is asked about viewers one by one; without it no feed has any over WebRTC. Must
    /// be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        config: &Config,
        bus: FeedBus,
        sfu: watch::Receiver<Arc<SfuStatus>>,
        packager: watch::Receiver<Arc<PackagerStatus>>,
        source: Option<Arc<dyn ViewerSource>>,
    ) -> Self {
        let retention = Duration::from_secs(config.ended_retention);
        let directory = Directory::start(bus, sfu, packager, retention);
        let max_created_feeds = config.max_created_feeds;
        let desk = Desk::start(config, directory.clone(), source);
        Self {
            directory,
            desk,
            since: clock::utc(),
            timeline: None,
            max_created_feeds,
            others: Vec::new(),
            guarded: |_, _| false,
        }
    }

    /// The viewers that have joined.
    #[must_use]
    pub fn viewers(&self) -> Viewers {
        Viewers(self.desk.clone())
    }

    /// Whom to ask where moments of a feed lie. Without it nothing of any feed is in the window.
    #[must_use]
    pub fn ask_about_times(mut self, source: Arc<dyn TimelineSource>) -> Self {
        self.timeline = Some(source);
        self
    }

    /// Adds other rooms' routes to the description at `/v1/openapi.json`.
    #[must_use]
    pub fn describe(mut self, other: OpenApi) -> Self {
        self.others.push(other);
        self
    }

    /// Which routes may refuse for want of a token, by method and pattern: the description says so of them.
    #[must_use]
    pub fn guarded_by(mut self, guarded: Guarded) -> Self {
        self.guarded = guarded;
        self
    }

    /// The routes under `/v1`: feeds, their viewers and timelines, the time, the description of all this.
    pub fn router(&self) -> axum::Router {
        let description = Description::new(self.others.clone(), self.guarded);
        let (directory, desk) = (self.directory.clone(), self.desk.clone());
        let timeline = self.timeline.clone();
        http::router(Shared {
            directory,
            desk,
            since: self.since,
            timeline,
            max_created_feeds: self.max_created_feeds,
            description,
        })
    }
}

#[cfg(test)]
mod tests;
