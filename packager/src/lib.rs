//! The LL-HLS and CMAF origin: follows the feed bus, packages every feed, and serves it over HTTP.
//!
//! [`core`] holds everything that can be tested without a clock; the rest is the shell around it: a task per feed
//! (`from_feed`), the snapshots it publishes (`store`), what of them is on disk (`dvr`), and the routes that answer from both
//! (`http`), and again later for viewers who must stay behind (`late`). Who has a time and wants a frame asks `timeline`.

mod config;
pub mod core;
mod dvr;
mod from_feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod late;
mod store;
mod timeline;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::auth::DelayClasses;
use bicast_shared::clock;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::status::PackagerStatus;
use bicast_shared::status::timeline::TimelineSource;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::config::{Config, DvrConfig};
use crate::dvr::Dvr;
pub use crate::dvr::DvrError;
use crate::from_feed::Shell;
use crate::store::Store;
use crate::timeline::Positions;

/// Shutdown waits no longer than this for the feeds' last parts.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// The running packager.
pub struct Packager {
    bus: FeedBus,
    store: Arc<Store>,
    stop: CancellationToken,
    hold: CancellationToken,
    tasks: TaskTracker,
}

impl Packager {
    /// Starts packaging every feed of the bus. Feeds that a process before has left in the DVR's folder go on: those that had not
    /// ended are on the bus again, and wait for their publishers. Must be called inside a tokio runtime, before there are
    /// publishers.
    ///
    /// What `classes` may watch has addresses of its own.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub async fn start(config: Config, classes: DelayClasses, bus: FeedBus) -> Result<Self, DvrError> {
        let dvr = config.dvr.directory().map(Dvr::open).transpose()?;
        let left = match &dvr {
            Some(dvr) => dvr.load(clock::utc()).await,
            None => Vec::new(),
        };
        let store = Arc::new(Store::new(config, dvr, classes));
        let (stop, hold, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let shell = Shell {
            bus: bus.clone(),
            store: store.clone(),
            stop: stop.clone(),
            hold: hold.clone(),
            tasks: tasks.clone(),
        };
        let restored = shell.take_up(left);
        tasks.spawn(shell.follow(restored));
        Ok(Self { bus, store, stop, hold, tasks })
    }

    /// The routes under `/hls`. They go on answering from what there is after [`Self::shutdown`].
    pub fn router(&self) -> axum::Router<()> {
        http::router(self.bus.clone(), self.store.clone())
    }

    /// Whom to ask where moments of the feeds lie.
    #[must_use]
    pub fn timeline(&self) -> Arc<dyn TimelineSource> {
        Arc::new(Positions(self.store.clone()))
    }

    /// Follows what is packaged.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<PackagerStatus>> {
        self.store.status.subscribe()
    }

    /// Where there is a DVR, stores what is listed and takes no more, so that another process goes on with the playlists: they
    /// do not end. To be called before the feeds end. Tells whether there is a DVR.
    pub async fn hold(&self) -> bool {
        let stores = self.store.dvr.is_some();
        if stores {
            self.hold.cancel();
            self.wait("some feeds could not be stored in time; what is missing will be a gap").await;
        }
        stores
    }

    /// Ends all playlists with ENDLIST and releases the requests that wait.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.wait("some feeds could not be ended in time; their playlists have no ENDLIST").await;
    }

    async fn wait(&self, otherwise: &str) {
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN, self.tasks.wait()).await.is_err() {
            tracing::warn!("{otherwise}");
        }
    }
}

impl fmt::Debug for Packager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packager").finish_non_exhaustive()
    }
}
