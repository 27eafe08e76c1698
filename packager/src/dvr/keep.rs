//! A task per feed that makes the store what the feed's playlists list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bicast_shared::feed::bus::Feed;
use bicast_shared::feed::info::FeedInfo;
use bicast_shared::feed::past::FeedPast;
use bicast_shared::id::FeedId;
use bicast_shared::status::DvrFeedStatus;
use bicast_shared::time::ProgramTime;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Dvr, Error, Folder};
use crate::core::feed::FeedPackager;
use crate::core::keeper::{Keeper, Step};
use crate::core::record::InstanceRecord;
use crate::core::snapshot::{FeedSnapshot, RenditionSnapshot};
use crate::store::{FeedEntry, Published};

/// A store that fails is asked again after this time, one that is full as soon as something was given up.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_FULL: Duration = Duration::from_millis(100);
/// So often in a row something may be given up for one that does not get in.
const MOST_ROOM: u32 = 50;
/// How often instances are looked for that are no longer served.
const SWEEP: Duration = Duration::from_secs(5);

/// What the feed's task is told.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    /// Of this instance
    instance: String,
    /// each rendition is stored up to this segment.
    stored: BTreeMap<String, u64>,
    /// Why nothing is stored now.
    failing: Option<Failing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failing {
    reason: String,
    /// The rendition that the store is too full for; something has to be given up. With a count, because it may be wanted again.
    full: Option<(String, u32)>,
}

/// How the task is ended.
#[derive(Debug, Clone, Default)]
struct Ending {
    /// The process stops: what is listed is stored, and the task ends.
    hold: CancellationToken,
    /// Nobody can ask for the feed any more: what is stored is deleted, and the task ends.
    forgotten: CancellationToken,
}

/// A feed's side of its task; nothing where there is no store.
#[derive(Default)]
pub(crate) struct KeptFeed(Option<Running>);

struct Running {
    kept: watch::Receiver<Kept>,
    task: JoinHandle<()>,
    ending: Ending,
    /// What was given up last for want of room.
    room: Option<(String, u32)>,
}

impl KeptFeed {
    /// Begins to store what is published of a feed; `keeper` knows what is there already.
    pub(crate) fn begin(
        dvr: Dvr,
        (feed, bus): (FeedId, Option<Feed>),
        entry: Arc<FeedEntry>,
        keeper: Keeper,
    ) -> Self {
        let ending = Ending::default();
        let (sender, kept) = watch::channel(Kept::default());
        let task = KeepTask {
            dvr,
            feed,
            bus,
            entry,
            keeper,
            kept: sender,
            ending: ending.clone(),
            over: Vec::new(),
            over_since: None,
            room: 0,
        };
        Self(Some(Running { kept, task: tokio::spawn(task.run()), ending, room: None }))
    }

    /// Waits until something was stored, or could not be. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if let Some(running) = &mut self.0
            && running.kept.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Tells the core what was stored and what has to be given up.
    pub(crate) fn tell(&mut self, core: &mut FeedPackager) {
        let Some(running) = &mut self.0 else { return };
        let kept = running.kept.borrow_and_update().clone();
        if core.instance() != Some(&kept.instance) {
            return;
        }
        for (rendition, number) in &kept.stored {
            core.handle_stored(rendition, *number);
        }
        let full = kept.failing.and_then(|failing| failing.full);
        if let Some((rendition, _)) = full.as_ref().filter(|_| running.room != full) {
            core.make_room(rendition);
        }
        running.room = full;
    }

    /// How much of the main rendition is stored; none where nothing is.
    pub(crate) fn status(&self, main: &RenditionSnapshot) -> Option<DvrFeedStatus> {
        let kept = self.0.as_ref()?.kept.borrow();
        let stored_to = kept.stored.get(&main.name).copied();
        let stored = main.segments.iter().filter(|segment| Some(segment.head.number) <= stored_to);
        let ticks: i64 = stored.map(|segment| segment.ticks).sum();
        let failing = kept.failing.as_ref().map(|failing| failing.reason.clone());
        Some(DvrFeedStatus { stored_seconds: main.to_seconds(ticks), failing })
    }

    /// The process stops: waits until everything that is listed is stored.
    pub(crate) async fn hold(self) {
        let Some(running) = self.0 else { return };
        running.ending.hold.cancel();
        // It does not panic, and nobody aborts it.
        let _ = running.task.await;
    }

    /// Nobody can ask for the feed any more: waits until nothing of it is stored.
    pub(crate) async fn forget(self) {
        let Some(running) = self.0 else { return };
        running.ending.forgotten.cancel();
        let _ = running.task.await;
    }
}

struct KeepTask {
    dvr: Dvr,
    feed: FeedId,
    /// None for one that has ended: what it was stands in its record.
    bus: Option<Feed>,
    entry: Arc<FeedEntry>,
    keeper: Keeper,
    kept: watch::Sender<Kept>,
    ending: Ending,
    /// Instances that are over, while they are served.
    over: Vec<String>,
    over_since: Option<ProgramTime>,
    room: u32,
}

impl KeepTask {
    async fn run(mut self) {
        let mut snapshots = self.entry.published.subscribe();
        let mut info = self.bus.as_ref().map(Feed::watch);
        let ending = self.ending.clone();
        loop {
            // Before the snapshot is read: the last one is published first.
            let held = ending.hold.is_cancelled();
            let published = snapshots.borrow_and_update().clone();
            let now = info.as_mut().map(|info| info.borrow_and_update().clone());
            let retry = self.keep(&published, now.as_deref()).await;
            if held {
                // What cannot be stored now is lost: nobody waits for the disk when the process ends.
                if retry.is_none() {
                    self.write_record(&published.snapshot, now.as_deref(), true).await;
                }
                return;
            }
            tokio::select! {
                _ = snapshots.changed(), if retry.is_none() => {}
                () = tokio::time::sleep(retry.unwrap_or(SWEEP)) => {}
                () = ending.hold.cancelled() => {}
                () = ending.forgotten.cancelled() => break,
            }
        }
        let current = self.keeper.name().map(str::to_owned);
        for instance in self.over.drain(..).chain(current) {
            delete(&self.dvr, &self.feed, &instance).await;
        }
    }

    /// Does what there is to do, as far as it can be done. Says when to try again what could not be.
    async fn keep(&mut self, published: &Published, info: Option<&FeedInfo>) -> Option<Duration> {
        let snapshot = &published.snapshot;
        self.leave_instance(snapshot, info).await;
        self.sweep().await;
        while let Some(step) =
            self.record(snapshot, info, false).and_then(|record| self.keeper.next(snapshot, &record))
        {
            if let Err(error) = self.perform(&step).await {
                return Some(self.note_failure(&step, &error));
            }
            self.note_done(step);
        }
        None
    }

    /// The playlists have begun anew: those before are marked as over, and kept while they are served.
    async fn leave_instance(&mut self, snapshot: &FeedSnapshot, info: Option<&FeedInfo>) {
        // Nothing is published yet of a feed that goes on.
        if snapshot.instance.is_empty() {
            return;
        }
        let Some(name) = self.keeper.name().filter(|name| *name != snapshot.instance).map(str::to_owned)
        else {
            return;
        };
        if let Some(over) = self.entry.instance(&name) {
            self.over_since = Some(clock::utc());
            self.write_record(&over.snapshot, info, false).await;
            self.over_since = None;
        }
        self.over.push(name);
        self.keeper = Keeper::default();
    }

    async fn sweep(&mut self) {
        let mut at = 0;
        while let Some(name) = self.over.get(at) {
            if self.entry.instance(name).is_some() {
                at += 1;
                continue;
            }
            delete(&self.dvr, &self.feed, name).await;
            self.over.remove(at);
        }
    }

    fn record(
        &mut self,
        snapshot: &FeedSnapshot,
        info: Option<&FeedInfo>,
        complete: bool,
    ) -> Option<InstanceRecord> {
        if snapshot.ended && self.over_since.is_none() {
            self.over_since = Some(self.keeper.over().unwrap_or_else(clock::utc));
        }
        let past = info.and_then(FeedPast::of).or_else(|| self.keeper.feed().cloned())?;
        let record = InstanceRecord::of(snapshot, past)?;
        Some(InstanceRecord { over: self.over_since, complete, ..record })
    }

    async fn write_record(&mut self, snapshot: &FeedSnapshot, info: Option<&FeedInfo>, complete: bool) {
        let Some(record) = self.record(snapshot, info, complete) else { return };
        let step = Step::WriteInstance(Box::new(record));
        match self.perform(&step).await {
            Ok(()) => self.keeper.done(step),
            Err(error) => drop(self.note_failure(&step, &error)),
        }
    }

    async fn perform(&self, step: &Step) -> Result<(), Error> {
        let dvr = &self.dvr;
        let folder = |instance: &str| Folder::new(&self.feed, instance);
        let current = || folder(&self.kept_instance());
        match step {
            Step::WriteInstance(record) => {
                let data = Bytes::from(serde_json::to_vec(record)?);
                dvr.put(&folder(&record.instance).record(), data).await
            }
            Step::Write(object, data) => {
                dvr.put(&current().object(&object.rendition, object.name), data.clone()).await
            }
            Step::WritePage(object, records) => {
                let data = Bytes::from(serde_json::to_vec(records)?);
                dvr.put(&current().object(&object.rendition, object.name), data).await
            }
            Step::Delete(object) => dvr.delete(&current().object(&object.rendition, object.name)).await,
        }
    }

    fn kept_instance(&self) -> String {
        self.keeper.name().unwrap_or_default().to_owned()
    }

    fn note_done(&mut self, step: Step) {
        let wrote = match &step {
            Step::Write(_, data) => Some(data.len()),
            _ => None,
        };
        let stored = matches!(step, Step::WritePage(..));
        let deleted = matches!(step, Step::Delete(_));
        self.keeper.done(step);
        if let Some(bytes) = wrote {
            metrics::counter!("bicast_dvr_written_bytes_total").increment(bytes as u64);
        }
        if stored {
            metrics::counter!("bicast_dvr_segments_total").increment(1);
        }
        // Deleting says nothing about whether something can be written.
        if deleted {
            return;
        }
        self.room = 0;
        let instance = self.kept_instance();
        let all = self.keeper.stored().map(|(name, number)| (name.to_owned(), number)).collect();
        let failed = self.kept.borrow().failing.is_some();
        if failed {
            tracing::info!(feed = %self.feed, "the DVR is written again");
        }
        self.kept.send_if_modified(|kept| {
            let now = Kept { instance, stored: all, failing: None };
            let changed = *kept != now;
            *kept = now;
            changed
        });
    }

    fn note_failure(&mut self, step: &Step, error: &Error) -> Duration {
        let kind = if error.is_full() { "full" } else { "failed" };
        metrics::counter!("bicast_dvr_errors_total", "kind" => kind).increment(1);
        let reason = error.to_string();
        if self.kept.borrow().failing.as_ref().is_none_or(|failing| failing.reason != reason) {
            tracing::warn!(feed = %self.feed, %error, "the DVR cannot be written; live goes on from memory");
        }
        let rendition = match step {
            Step::Write(object, _) | Step::WritePage(object, _) | Step::Delete(object) => {
                object.rendition.clone()
            }
            Step::WriteInstance(record) => {
                record.renditions.first().map(|one| one.name.clone()).unwrap_or_default()
            }
        };
        self.room += 1;
        let room = error.is_full() && self.room <= MOST_ROOM;
        let full = room.then_some((rendition, self.room));
        self.kept.send_modify(|kept| kept.failing = Some(Failing { reason, full }));
        if room { RETRY_FULL } else { RETRY }
    }
}

async fn delete(dvr: &Dvr, feed: &FeedId, instance: &str) {
    if let Err(error) = dvr.delete_all(&Folder::new(feed, instance)).await {
        tracing::warn!(%feed, instance, %error, "a part of the DVR that nobody can ask for any more cannot be deleted");
    }
}

#[cfg(test)]
#[path = "keep_tests.rs"]
mod tests;
