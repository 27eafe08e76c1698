//! The LL-HLS and CMAF origin: follows the feed bus, packages every feed, and serves it over HTTP.
//!
//! [`core`] holds everything that can be tested without a clock; the rest is the shell around it: a task per feed
//! (`from_feed`), the snapshots it publishes (`store`), and the routes that answer from them (`http`).

mod config;
pub mod core;
mod from_feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::feed::bus::FeedBus;
use bicast_shared::status::PackagerStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::config::Config;
use crate::store::Store;

/// Shutdown waits no longer than this for the feeds' last parts.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// The running packager.
pub struct Packager {
    bus: FeedBus,
    store: Arc<Store>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Packager {
    /// Starts packaging every feed of the bus. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: Config, bus: FeedBus) -> Self {
        let store = Arc::new(Store::new(config));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(from_feed::follow(bus.clone(), store.clone(), stop.clone(), tasks.clone()));
        Self { bus, store, stop, tasks }
    }

    /// The routes under `/hls`. They go on answering from what there is after [`Self::shutdown`].
    pub fn router(&self) -> axum::Router<()> {
        http::router(self.bus.clone(), self.store.clone())
    }

    /// Follows what is packaged.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<PackagerStatus>> {
        self.store.status.subscribe()
    }

    /// Ends all playlists with ENDLIST and releases the requests that wait.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN, self.tasks.wait()).await.is_err() {
            tracing::warn!("some feeds could not be ended in time; their playlists have no ENDLIST");
        }
    }
}

impl fmt::Debug for Packager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packager").finish_non_exhaustive()
    }
}
