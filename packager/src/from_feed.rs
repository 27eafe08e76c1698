//! The door from the feed bus: one task per feed owns its cores and publishes their snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bicast_shared::feed::bus::{Feed, FeedBus, FeedSubscriber, StartAt};
use bicast_shared::feed::info::{FeedInfo, FeedState};
use bicast_shared::feed::owner::FeedOwner;
use bicast_shared::id::{FeedId, SegmentNumber};
use bicast_shared::media::TrackKind;
use bicast_shared::packet::MediaPacket;
use bicast_shared::status::{LiveEdge, PackagedRendition, PackagerFeedStatus};
use bicast_shared::time::{MediaTime, ProgramTime};
use futures_util::future::select_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::feed::FeedPackager;
use crate::core::instance::Totals;
use crate::core::keeper::Keeper;
use crate::core::snapshot::{FeedSnapshot, RenditionMedia, RenditionSnapshot};
use crate::dvr::keep::KeptFeed;
use crate::dvr::load::Loaded;
use crate::late;
use crate::store::{FeedEntry, Store};

/// Packets read at once from a stream: more than a keyframe at any sane bitrate.
const BATCH: usize = 512;

/// What all feeds' tasks have in common.
pub(crate) struct Shell {
    pub(crate) bus: FeedBus,
    pub(crate) store: Arc<Store>,
    /// Playlists end.
    pub(crate) stop: CancellationToken,
    /// Playlists are left for another process.
    pub(crate) hold: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Shell {
    /// Takes up what a process before has left: when this returns, those that were over are served, and the others on the bus.
    pub(crate) fn take_up(&self, left: Vec<Loaded>) -> BTreeMap<FeedId, Loaded> {
        let mut restored = BTreeMap::new();
        for loaded in left {
            let past = &loaded.restored.resumption.past;
            let id = past.id.clone();
            tracing::info!(feed = %id, over = loaded.over.is_some(), "a feed goes on from the DVR");
            if loaded.over.is_some() {
                let entry = self.begin(&id, past.settings.window);
                self.tasks.spawn(self.task(entry).serve_over(loaded));
            } else if self.bus.resume(loaded.restored.resumption.clone()) {
                restored.insert(id, loaded);
            }
        }
        restored
    }

    /// Follows the bus: every feed that comes gets its task. Ends with the packager.
    pub(crate) async fn follow(self, mut restored: BTreeMap<FeedId, Loaded>) {
        let mut feeds = self.bus.watch();
        let mut known: BTreeMap<FeedId, ProgramTime> = BTreeMap::new();
        loop {
            let current = feeds.borrow_and_update().clone();
            known.retain(|id, _| current.contains_key(id));
            for (id, feed) in current.iter() {
                let info = feed.info();
                let since = info.since;
                if known.insert(id.clone(), since) != Some(since) {
                    let entry = self.begin(id, info.settings.window);
                    let loaded = restored.remove(id).filter(|loaded| loaded.is_of(since));
                    self.tasks.spawn(self.task(entry).run(feed.clone(), loaded));
                }
            }
            tokio::select! {
                changed = feeds.changed() => if changed.is_err() { return },
                () = self.stop.cancelled() => return,
                () = self.hold.cancelled() => return,
            }
        }
    }

    /// A feed begins, for its viewers and for those who must stay behind.
    fn begin(&self, id: &FeedId, window: Duration) -> Arc<FeedEntry> {
        let window = self.store.config.window(window);
        let entry = self.store.begin(id, window);
        for task in late::follow_all(&self.store, &entry, id, (&self.stop, &self.hold)) {
            self.tasks.spawn(task);
        }
        entry
    }

    fn task(&self, entry: Arc<FeedEntry>) -> FeedTask {
        FeedTask { store: self.store.clone(), entry, stop: self.stop.clone(), hold: self.hold.clone() }
    }
}

struct FeedTask {
    store: Arc<Store>,
    entry: Arc<FeedEntry>,
    stop: CancellationToken,
    hold: CancellationToken,
}

#[derive(Default)]
struct Streams {
    readers: Vec<FeedSubscriber>,
    batch: Vec<MediaPacket>,
}

impl Streams {
    /// Subscribes to what the feed has and is not read yet. A few streams at most: a kind of track keeps its id for the feed's
    /// life, and has at most four layers.
    fn follow(&mut self, feed: &Feed, core: &FeedPackager) {
        for key in core.streams() {
            if self.readers.iter().all(|reader| reader.key() != key) {
                self.readers.extend(feed.subscribe(key, StartAt::Keyframe));
            }
        }
    }

    /// Waits until one of the streams has an access unit. Cancel safe.
    async fn ready(&mut self) {
        let readers = self.readers.iter_mut();
        let waiting: Vec<_> = readers.map(|reader| Box::pin(reader.unit())).collect();
        match waiting.is_empty() {
            true => std::future::pending().await,
            false => match select_all(waiting).await {
                (Ok(()), ..) => {}
                // The feed has ended, which its info says as well.
                (Err(_), ..) => std::future::pending().await,
            },
        }
    }

    /// What has come, in the order of arrival over all streams.
    fn drain(&mut self) -> Vec<MediaPacket> {
        for reader in &mut self.readers {
            // All of it: an epoch that begins in the one stream ends the one before in the other.
            while reader.try_read(&mut self.batch, BATCH) == BATCH {}
        }
        self.batch.sort_by_key(|packet| packet.stamp.bus_sequence);
        std::mem::take(&mut self.batch)
    }
}

impl FeedTask {
    async fn run(self, feed: Feed, loaded: Option<Loaded>) {
        let id = feed.id().clone();
        tracing::info!(feed = %id, "packaging begins");
        let mut window = feed.info().settings.window;
        let limits = self.store.limits(window);
        let (mut core, keeper) = match loaded {
            Some(Loaded { restored, keeper, .. }) => {
                (FeedPackager::restore(limits, feed.info(), restored.past), keeper)
            }
            None => (FeedPackager::new(limits, feed.info()), Keeper::default()),
        };
        let mut kept = self.keep(&id, Some(&feed), keeper);
        let mut info = feed.watch();
        let mut streams = Streams::default();
        let mut counted = Totals::default();
        let (mut ended, mut held) = (false, false);
        while !ended && !held {
            if core.take_changed() {
                self.publish(&feed, &core, &mut counted, &kept);
            }
            let wake = [core.poll_timeout(), self.entry.next_expiry()].into_iter().flatten().min();
            tokio::select! {
                () = streams.ready() => {}
                changed = info.changed() => ended |= changed.is_err(),
                () = sleep_until(wake) => {}
                () = kept.changed() => {
                    kept.tell(&mut core);
                    self.report(&core.snapshot(), &feed.info(), &kept);
                }
                () = self.stop.cancelled() => ended = true,
                () = self.hold.cancelled() => held = true,
            }
            let now = clock::now();
            let current = take_in(&feed, &mut core, &mut streams, now);
            if std::mem::replace(&mut window, current.settings.window) != window {
                core.set_limits(self.store.limits(window));
                self.entry.set_window(self.store.config.window(window));
            }
            core.handle_timeout(now);
            if let Some(track) = core.take_keyframe_wanted() {
                feed.request_keyframe(track);
            }
            ended |= current.state == FeedState::Ended;
            if ended {
                core.end();
            } else if held {
                core.hold();
            }
            while let Some(over) = core.take_over() {
                // Before the new instance is published: who waits for the old one finds its end.
                self.store.retire(now, &self.entry, over);
            }
            self.entry.expire(now);
        }
        self.publish(&feed, &core, &mut counted, &kept);
        if held {
            kept.hold().await;
            return;
        }
        tracing::info!(feed = %id, "packaging has ended");
        // What is served from now on is the last snapshot; the cores' own window and the bus's rings are of no more use.
        drop((core, streams, info, feed));
        self.linger(&id, kept, self.entry.window()).await;
    }

    /// Serves a feed that was over when the process before ended.
    async fn serve_over(self, loaded: Loaded) {
        let Loaded { restored, keeper, over } = loaded;
        let id = restored.resumption.past.id.clone();
        let served = over.map_or(0, |over| clock::utc() - over);
        let rest = self.entry.window().saturating_sub(Duration::from_nanos(served.max(0).unsigned_abs()));
        let info = Arc::new(FeedOwner::resume(restored.resumption).info());
        let mut core =
            FeedPackager::restore(self.store.limits(self.entry.window()), info.clone(), restored.past);
        core.end();
        let kept = self.keep(&id, None, keeper);
        let snapshot = core.snapshot();
        drop(core);
        self.report(&snapshot, &info, &kept);
        self.store.publish(&self.entry, snapshot);
        self.linger(&id, kept, rest).await;
    }

    /// Serves the last snapshot of a feed for as long as `rest`, to everybody as far behind as they are.
    async fn linger(&self, id: &FeedId, kept: KeptFeed, rest: Duration) {
        self.store.end(clock::now(), &self.entry);
        let served = async {
            tokio::select! {
                () = tokio::time::sleep(rest) => self.store.forget(id, &self.entry),
                () = self.entry.gone() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(self.store.behind()) => self.entry.leave(),
                () = self.entry.left() => {}
            }
        };
        tokio::select! {
            () = served => kept.forget().await,
            () = self.stop.cancelled() => kept.hold().await,
            () = self.hold.cancelled() => kept.hold().await,
        }
    }

    fn keep(&self, id: &FeedId, feed: Option<&Feed>, keeper: Keeper) -> KeptFeed {
        let Some(dvr) = self.store.dvr.clone() else { return KeptFeed::default() };
        KeptFeed::begin(dvr, (id.clone(), feed.cloned()), self.entry.clone(), keeper)
    }

    fn publish(&self, feed: &Feed, core: &FeedPackager, counted: &mut Totals, kept: &KeptFeed) {
        let snapshot = core.snapshot();
        count(counted, core.totals());
        self.report(&snapshot, &feed.info(), kept);
        self.store.publish(&self.entry, snapshot);
    }

    fn report(&self, snapshot: &FeedSnapshot, info: &FeedInfo, kept: &KeptFeed) {
        let mut status = status(snapshot, info, self.store.viewers(&info.id, &self.entry, clock::now()));
        status.dvr = snapshot.renditions.first().and_then(|main| kept.status(main));
        self.store.status.send_modify(|all| {
            Arc::make_mut(all).feeds.insert(info.id.clone(), status);
        });
    }
}

/// Hands the core everything that has come, and the feed's info behind the packets it belongs behind: the bus publishes a
/// changed info before the first packet that rests on it, and "offline" after the last packet.
fn take_in(feed: &Feed, core: &mut FeedPackager, streams: &mut Streams, now: Instant) -> Arc<FeedInfo> {
    let mut info = feed.info();
    loop {
        streams.follow(feed, core);
        let packets = streams.drain();
        let after = feed.info();
        core.handle_map(&after);
        for packet in packets {
            core.handle_packet(now, packet);
        }
        let same = Arc::ptr_eq(&info, &after);
        info = after;
        if same {
            core.handle_info(now, &info);
            streams.follow(feed, core);
            return info;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Tells the metrics what was written since `told`.
fn count(told: &mut Totals, new: Totals) {
    metrics::counter!("bicast_hls_parts_total").increment(new.parts.saturating_sub(told.parts));
    metrics::counter!("bicast_hls_segments_total").increment(new.segments.saturating_sub(told.segments));
    metrics::counter!("bicast_hls_lost_access_units_total").increment(new.lost.saturating_sub(told.lost));
    metrics::counter!("bicast_hls_discontinuities_total")
        .increment(new.discontinuities.saturating_sub(told.discontinuities));
    *told = new;
}

fn status(snapshot: &FeedSnapshot, info: &FeedInfo, viewers: u32) -> PackagerFeedStatus {
    let main = snapshot.renditions.first();
    PackagerFeedStatus {
        playable: snapshot.playable(),
        viewers,
        live_edge: main.and_then(|main| live_edge(main, info)),
        newest: main
            .and_then(RenditionSnapshot::newest_part)
            .map(|(number, part)| (SegmentNumber(number), u32::try_from(part).unwrap_or(u32::MAX))),
        window_seconds: main.map_or(0.0, RenditionSnapshot::seconds),
        renditions: snapshot.renditions.iter().filter(|one| !one.codecs.is_empty()).map(packaged).collect(),
        refused: snapshot.refused.clone(),
        discontinuities: snapshot.discontinuities,
        lost_access_units: snapshot.lost_access_units,
        dvr: None,
    }
}

/// Where the newest part ends, on the clock that the feed's media times are told in: its picture's, also where only the sound
/// is packaged.
fn live_edge(rendition: &RenditionSnapshot, info: &FeedInfo) -> Option<LiveEdge> {
    let master = info.track(TrackKind::Video).or(info.tracks.first())?.clock_rate;
    let newest = rendition.segments.last()?;
    let program_time = rendition.end_of(newest);
    let ticks = bicast_shared::time::scale(rendition.edge, i64::from(master.hz()), rendition.timescale);
    Some(LiveEdge { media_time: MediaTime(ticks), program_time })
}

fn packaged(rendition: &RenditionSnapshot) -> PackagedRendition {
    let (resolution, frame_rate) = match rendition.media {
        RenditionMedia::Video { width, height, frame_rate } => {
            (Some((u32::from(width), u32::from(height))), Some(frame_rate))
        }
        RenditionMedia::Audio { .. } => (None, None),
    };
    PackagedRendition {
        name: rendition.name.clone(),
        codecs: rendition.codecs.clone(),
        resolution,
        frame_rate,
        bandwidth: rendition.bandwidth().1,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bicast_shared::feed::settings::FeedSettings;
    use bicast_shared::id::TrackId;
    use bicast_shared::media::{Codec, TrackInfo};
    use bicast_shared::time::ClockRate;

    use super::*;
    use crate::core::testing::segment;

    #[test]
    fn the_live_edge_of_sound_beside_an_unpackaged_picture_is_told_on_the_pictures_clock() {
        let owner = FeedOwner::new("demo".parse().unwrap(), FeedSettings::default(), ProgramTime::default());
        let track = |id, codec, rate| TrackInfo::single(TrackId(id), codec, rate, 2, String::new());
        let sound = track(1, Codec::Opus, ClockRate::OPUS);
        let rendition = RenditionSnapshot {
            name: "audio0".into(),
            codecs: "opus".into(),
            media: RenditionMedia::Audio { channels: 2 },
            timescale: 48_000,
            segments: vec![Arc::new(segment(3, 4, true))],
            removed: Vec::new(),
            discontinuity_sequence: 0,
            edge: 480_960,
            coming: None,
        };
        for (tracks, ticks) in
            [(vec![track(0, Codec::Vp8, ClockRate::VIDEO), sound.clone()], 901_800), (vec![sound], 480_960)]
        {
            let info = FeedInfo { tracks, ..owner.info() };
            assert_eq!(live_edge(&rendition, &info).unwrap().media_time, MediaTime(ticks));
        }
    }
}
