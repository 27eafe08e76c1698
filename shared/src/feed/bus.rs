//! The feed bus, in process: publishers write to bounded rings, readers follow with their own cursor.
//!
//! A [`FeedPublisher`] is the one writer of a [`Feed`]; a [`Standby`] waits to become it. Readers ([`FeedSubscriber`])
//! never hold the writer up: who lags skips to the newest keyframe, is counted and said once. Keyframe requests are the
//! only thing that travels upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock;
use crate::feed::info::{CadenceRule, FeedInfo, FeedState, PublisherInfo};
use crate::feed::owner::{FeedOwner, RtpInput};
use crate::feed::past::Resumption;
use crate::feed::ring::{PacketRing, RingLimits};
use crate::feed::settings::{FeedPolicy, FeedSettings};
use crate::id::{FeedId, StreamKey, TrackId};
use crate::media::TrackInfo;
use crate::packet::MediaPacket;
use crate::time::MediaTime;

/// All feeds of this process. Cloning gives another handle to the same bus.
#[derive(Clone)]
pub struct FeedBus(Arc<BusInner>);

struct BusInner {
    policy: FeedPolicy,
    limits: RingLimits,
    feeds: watch::Sender<Arc<BTreeMap<FeedId, Feed>>>,
    closed: AtomicBool,
}

/// Why a publisher was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Somebody publishes this feed now.
    #[error("the feed already has a publisher")]
    AlreadyPublished,
    /// The process is about to end.
    #[error("no feed is taken any more")]
    Closed,
}

/// Why a feed was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// There is a feed of this id.
    #[error("there is a feed of this id")]
    Exists,
    /// As many were made and not ended as may be.
    #[error("as many feeds were made as may be")]
    TooMany,
    /// The process is about to end.
    #[error("no feed is taken any more")]
    Closed,
}

impl FeedBus {
    /// An empty bus, whose feeds are treated as `policy` says.
    #[must_use]
    pub fn new(policy: impl Into<FeedPolicy>, limits: RingLimits) -> Self {
        Self(Arc::new(BusInner {
            policy: policy.into(),
            limits,
            feeds: watch::Sender::new(Arc::default()),
            closed: AtomicBool::new(false),
        }))
    }

    /// The feeds as they are now, without the ended ones.
    #[must_use]
    pub fn feeds(&self) -> Arc<BTreeMap<FeedId, Feed>> {
        self.0.feeds.borrow().clone()
    }

    /// Follows feeds coming and going.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<BTreeMap<FeedId, Feed>>> {
        self.0.feeds.subscribe()
    }

    /// One feed.
    #[must_use]
    pub fn feed(&self, id: &FeedId) -> Option<Feed> {
        self.0.feeds.borrow().get(id).cloned()
    }

    /// Begins an epoch of a feed, making the feed if need be. The publisher's stay ends when the returned value is
    /// dropped; the feed then waits for the grace period before it ends. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`PublishError::AlreadyPublished`] while another publisher is on the feed, [`PublishError::Closed`] after
    /// [`Self::close`].
    pub fn publish(
        &self,
        id: &FeedId,
        tracks: Vec<TrackInfo>,
        publisher: PublisherInfo,
    ) -> Result<FeedPublisher, PublishError> {
        let mut result = Err(PublishError::AlreadyPublished);
        self.0.feeds.send_if_modified(|feeds| {
            if self.0.closed.load(Ordering::Acquire) {
                result = Err(PublishError::Closed);
                return false;
            }
            let known = feeds.get(id).filter(|feed| feed.info().state != FeedState::Ended).cloned();
            let is_new = known.is_none();
            let feed = known.unwrap_or_else(|| Feed::new(id.clone(), self.0.policy.of(id), self.0.limits));
            if let Some(writer) = feed.begin_epoch(tracks, publisher) {
                result =
                    Ok(FeedPublisher { feed: feed.clone(), bus: self.clone(), writer, said_live: false });
                if is_new {
                    Arc::make_mut(feeds).insert(id.clone(), feed);
                }
            }
            is_new && result.is_ok()
        });
        result
    }

    /// How a feed of this id is treated where nobody says something else.
    #[must_use]
    pub fn settings_of(&self, id: &FeedId) -> FeedSettings {
        self.0.policy.of(id)
    }

    /// Makes a feed that waits for its first publisher, and stays until it is ended. There may be `most` of this kind.
    ///
    /// # Errors
    /// Where there is a feed of this id, or there are too many.
    pub fn create(&self, id: &FeedId, settings: FeedSettings, most: usize) -> Result<Feed, CreateError> {
        let feed = Feed::with(FeedOwner::kept(id.clone(), settings, clock::utc()), self.0.limits);
        let mut result = Ok(feed.clone());
        self.0.feeds.send_if_modified(|feeds| {
            let kept = || feeds.values().filter(|feed| feed.info().is_kept).count();
            let error = if self.0.closed.load(Ordering::Acquire) {
                Some(CreateError::Closed)
            } else if feeds.contains_key(id) {
                Some(CreateError::Exists)
            } else if kept() >= most {
                Some(CreateError::TooMany)
            } else {
                None
            };
            if let Some(error) = error {
                result = Err(error);
                return false;
            }
            Arc::make_mut(feeds).insert(id.clone(), feed);
            true
        });
        result
    }

    /// Changes how a feed is treated: what was said before in, what is said now out. The lengths that segments and parts aim at
    /// hold from the next publisher on, everything else at once; a feed whose publisher is away is given its new grace period from
    /// now on. None when there is no such feed. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn update<E>(
        &self,
        id: &FeedId,
        change: impl FnOnce(&FeedSettings) -> Result<FeedSettings, E>,
    ) -> Option<Result<(), E>> {
        let feed = self.feed(id)?;
        let mut owner = feed.0.owner.lock();
        let before = owner.info();
        if before.state == FeedState::Ended {
            return None;
        }
        let settings = match change(&before.settings) {
            Ok(settings) => settings,
            Err(error) => return Some(Err(error)),
        };
        let waits = feed.0.writer.load(Ordering::Acquire) == NOBODY;
        let other_grace = settings.publisher_grace != before.settings.publisher_grace;
        owner.set_settings(settings);
        feed.0.info.send_replace(Arc::new(owner.info()));
        drop(owner);
        if waits && other_grace {
            feed.wait_for_publisher(self);
        }
        Some(Ok(()))
    }

    /// Takes up a feed that a process before left: it waits for its publisher, as long as its grace period, before it ends. False
    /// when there is a feed of this id. Must be called inside a tokio runtime.
    pub fn resume(&self, resumed: Resumption) -> bool {
        let id = resumed.past.id.clone();
        let feed = Feed::with(FeedOwner::resume(resumed), self.0.limits);
        let taken = self.0.feeds.send_if_modified(|feeds| {
            let free = !feeds.contains_key(&id) && !self.0.closed.load(Ordering::Acquire);
            if free {
                Arc::make_mut(feeds).insert(id, feed.clone());
            }
            free
        });
        if taken {
            feed.wait_for_publisher(self);
        }
        taken
    }

    /// Waits behind the feed's publisher, to take over from it. None when there is nobody to wait for: publish instead.
    #[must_use]
    pub fn stand_by(&self, id: &FeedId, publisher: PublisherInfo) -> Option<Standby> {
        let feed = self.feed(id)?;
        let mut owner = feed.0.owner.lock();
        let info = owner.info();
        if info.publisher.is_none() || info.state == FeedState::Ended {
            return None;
        }
        owner.set_standby(Some(publisher.clone()));
        feed.0.info.send_replace(Arc::new(owner.info()));
        drop(owner);
        let promotions = feed.0.promotions.subscribe();
        Some(Standby { feed, bus: self.clone(), publisher, promotions })
    }

    /// Tells the feed's standby publisher to take over at its next keyframe. None when there is no such feed, false when
    /// nobody stands by.
    #[must_use]
    pub fn promote(&self, id: &FeedId) -> Option<bool> {
        let feed = self.feed(id)?;
        if feed.info().standby.is_none() {
            return Some(false);
        }
        feed.0.promotions.send_modify(|count| *count += 1);
        Some(true)
    }

    /// Ends a feed now: its readers are told, its publisher is asked to leave, and the id is free. False when there is
    /// no such feed.
    pub fn end(&self, id: &FeedId) -> bool {
        let mut ended = None;
        self.0.feeds.send_if_modified(|feeds| {
            if feeds.contains_key(id) {
                ended = Arc::make_mut(feeds).remove(id);
            }
            ended.is_some()
        });
        if let Some(feed) = &ended {
            feed.end();
        }
        ended.is_some()
    }

    /// Ends all feeds and takes no more, also from publishers whose handshakes are under way. Tells how many have ended.
    pub fn close(&self) -> usize {
        // Under the same lock as publishing: nobody slips in between.
        self.0.feeds.send_if_modified(|_| {
            self.0.closed.store(true, Ordering::Release);
            false
        });
        self.feeds().keys().filter(|id| self.end(id)).count()
    }

    /// Ends this feed unless a publisher came back since `epochs` was read. Its id may by then be another feed's: that one
    /// is left alone.
    fn end_if_still_offline(&self, feed: &Feed, epochs: u64) {
        let mut ended = false;
        self.0.feeds.send_if_modified(|feeds| {
            let same = feeds.get(feed.id()).is_some_and(|listed| listed.is_same(feed));
            let offline = feed.0.epochs.load(Ordering::Acquire) == epochs
                && feed.0.writer.load(Ordering::Acquire) == NOBODY;
            ended = same && offline;
            if ended {
                Arc::make_mut(feeds).remove(feed.id());
            }
            ended
        });
        if ended {
            feed.end();
        }
    }
}

impl fmt::Debug for FeedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.feeds().keys()).finish()
    }
}

/// One feed. Cloning gives another handle to the same feed.
#[derive(Clone)]
pub struct Feed(Arc<FeedInner>);

struct FeedInner {
    id: FeedId,
    limits: RingLimits,
    info: watch::Sender<Arc<FeedInfo>>,
    /// Written by the one publisher; the lock is never contended but at the moment one epoch follows another.
    owner: Mutex<FeedOwner>,
    rings: RwLock<BTreeMap<StreamKey, Arc<Ring>>>,
    wanted: Mutex<Vec<TrackId>>,
    upstream: Notify,
    /// The number of the publisher that may write; [`NOBODY`] while there is none. Changed under the owner's lock.
    writer: AtomicU64,
    /// How often a standby publisher was told to take over.
    promotions: watch::Sender<u64>,
    epochs: AtomicU64,
    /// What ends the feed when nobody returns in time.
    grace_timer: Mutex<Option<AbortHandle>>,
    /// When a keyframe was last asked for because somebody was about to join.
    asked_for_joins: Mutex<Option<Instant>>,
    lagged: AtomicU64,
}

/// A group of pictures that takes a viewer 60 ms to receive at the pace of joins, or as long to decode.
const LONG_GROUP: (u64, Duration) = (240, Duration::from_secs(1));
/// Between two keyframes that are asked for because of joins.
const JOIN_SPACING: Duration = Duration::from_secs(2);
/// No publisher's number.
const NOBODY: u64 = 0;
/// A publisher from whom nothing has come for this long may be taken over from. Video comes 30 times a second; what a line
/// swallows for a second is a freeze that every viewer sees.
const SILENT: Duration = Duration::from_secs(1);

struct Ring {
    packets: RwLock<PacketRing>,
    head: watch::Sender<u64>,
    /// The head when an access unit was whole the last time.
    whole: watch::Sender<u64>,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// With the next packet that comes.
    Newest,
    /// At the first packet of the newest keyframe held; with the next packet where there is none.
    Keyframe,
}

impl Feed {
    fn new(id: FeedId, settings: FeedSettings, limits: RingLimits) -> Self {
        Self::with(FeedOwner::new(id, settings, clock::utc()), limits)
    }

    fn with(owner: FeedOwner, limits: RingLimits) -> Self {
        let info = owner.info();
        Self(Arc::new(FeedInner {
            id: info.id.clone(),
            limits,
            info: watch::Sender::new(Arc::new(info)),
            owner: Mutex::new(owner),
            rings: RwLock::default(),
            wanted: Mutex::default(),
            upstream: Notify::new(),
            writer: AtomicU64::new(NOBODY),
            promotions: watch::Sender::new(0),
            epochs: AtomicU64::new(0),
            grace_timer: Mutex::default(),
            asked_for_joins: Mutex::default(),
            lagged: AtomicU64::new(0),
        }))
    }

    /// The feed's id.
    #[must_use]
    pub fn id(&self) -> &FeedId {
        &self.0.id
    }

    /// Whether both are handles to one feed; a feed that ended and another one that took its id are two.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The feed as it is now.
    #[must_use]
    pub fn info(&self) -> Arc<FeedInfo> {
        self.0.info.borrow().clone()
    }

    /// Follows the feed's changes: state, epoch, tracks, cadence, timeline map. When `state` is `Ended` nothing follows.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<FeedInfo>> {
        self.0.info.subscribe()
    }

    /// Reads a stream. None when the feed has no such stream (watch the feed: it may come with the next epoch).
    /// A subscriber survives epochs.
    #[must_use]
    pub fn subscribe(&self, key: StreamKey, start: StartAt) -> Option<FeedSubscriber> {
        let ring = self.0.rings.read().get(&key)?.clone();
        let (head, whole) = (ring.head.subscribe(), ring.whole.subscribe());
        let packets = ring.packets.read();
        let cursor = match start {
            StartAt::Newest => packets.head(),
            StartAt::Keyframe => packets.newest_keyframe().unwrap_or_else(|| packets.head()),
        };
        drop(packets);
        Some(FeedSubscriber { feed: self.clone(), key, ring, head, whole, cursor, lost: 0 })
    }

    /// The media time of the packet of a stream that came last. None when there is no such stream or it has none yet.
    #[must_use]
    pub fn newest(&self, key: StreamKey) -> Option<MediaTime> {
        let ring = self.0.rings.read().get(&key)?.clone();
        let packets = ring.packets.read();
        packets.get(packets.head().checked_sub(1)?).map(|packet| packet.stamp.media_time)
    }

    /// Asks the publisher for a keyframe of a track (all its layers). Cheap; requests are coalesced and limited by the
    /// feed's owner.
    pub fn request_keyframe(&self, track: TrackId) {
        let mut wanted = self.0.wanted.lock();
        if !wanted.contains(&track) {
            wanted.push(track);
        }
        drop(wanted);
        self.0.upstream.notify_waiters();
    }

    /// A viewer will join this stream in a moment: its handshake takes 50 to 100 ms, in which a publisher that answers can
    /// send a keyframe. Asks for one where the group of pictures has grown so long that catching up with it would be seen,
    /// but seldom, because every keyframe costs all viewers picture quality.
    pub fn expect_join(&self, now: Instant, key: StreamKey) {
        let info = self.info();
        let rate = info.tracks.iter().find(|track| track.id == key.track).map(|track| track.clock_rate);
        let (Some(rate), CadenceRule::OnRequest) = (rate, info.cadence.rule) else { return };
        let Some(ring) = self.0.rings.read().get(&key).cloned() else { return };
        let packets = ring.packets.read();
        let group = packets.newest_keyframe().and_then(|at| Some((at, packets.get(at)?.stamp.media_time)));
        let newest = packets.head().checked_sub(1).and_then(|at| packets.get(at));
        let (Some((begin, first)), Some(newest)) = (group, newest) else { return };
        let length = Duration::from_nanos(rate.nanos(newest.stamp.media_time - first).max(0).unsigned_abs());
        let long = packets.head() - begin > LONG_GROUP.0 || length > LONG_GROUP.1;
        drop(packets);
        let mut asked = self.0.asked_for_joins.lock();
        if long && asked.is_none_or(|last| now.saturating_duration_since(last) >= JOIN_SPACING) {
            *asked = Some(now);
            drop(asked);
            self.request_keyframe(key.track);
        }
    }

    /// Packets that readers lost because they lagged, since the feed began.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        self.0.lagged.load(Ordering::Relaxed)
    }

    /// Whether the publisher has sent nothing for a second, or there is none.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        if self.0.writer.load(Ordering::Acquire) == NOBODY {
            return true;
        }
        let heard = self.0.owner.lock().heard();
        heard.is_some_and(|last| clock::now().saturating_duration_since(last) >= SILENT)
    }

    /// Lets a publisher in, where there is none. Its number.
    fn begin_epoch(&self, tracks: Vec<TrackInfo>, publisher: PublisherInfo) -> Option<u64> {
        let mut owner = self.0.owner.lock();
        if self.0.writer.load(Ordering::Acquire) != NOBODY {
            return None;
        }
        Some(self.begin_writing(&mut owner, tracks, publisher))
    }

    fn begin_writing(&self, owner: &mut FeedOwner, tracks: Vec<TrackInfo>, publisher: PublisherInfo) -> u64 {
        owner.begin_epoch(clock::now(), tracks, publisher);
        let mut rings = self.0.rings.write();
        for key in owner.streams() {
            rings.entry(key).or_insert_with(|| {
                Arc::new(Ring {
                    packets: RwLock::new(PacketRing::new(self.0.limits)),
                    head: watch::Sender::new(0),
                    whole: watch::Sender::new(0),
                })
            });
        }
        drop(rings);
        let writer = self.0.epochs.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.writer.store(writer, Ordering::Release);
        self.0.info.send_replace(Arc::new(owner.info()));
        writer
    }

    /// Nobody publishes it: it ends when nobody has come within the grace period, but for one that is kept.
    fn wait_for_publisher(&self, bus: &FeedBus) {
        let info = self.info();
        if info.is_kept {
            return;
        }
        let grace = info.settings.publisher_grace;
        let epochs = self.0.epochs.load(Ordering::Acquire);
        let (left, bus) = (self.clone(), bus.clone());
        // Outside a runtime (a test that drops its publisher late) there is nobody to wait for: the feed ends at once.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let timer = runtime.spawn(async move {
                    tokio::time::sleep(grace).await;
                    bus.end_if_still_offline(&left, epochs);
                });
                // One at a time, however often a publisher comes and goes.
                if let Some(before) = self.0.grace_timer.lock().replace(timer.abort_handle()) {
                    before.abort();
                }
            }
            Err(_) => bus.end_if_still_offline(&left, epochs),
        }
    }

    fn end(&self) {
        let mut owner = self.0.owner.lock();
        owner.end();
        self.0.info.send_replace(Arc::new(owner.info()));
        drop(owner);
        self.0.upstream.notify_waiters();
        // Dropping the rings' senders would not reach subscribers that hold the ring: wake them, they look at the state.
        for ring in self.0.rings.read().values() {
            ring.head.send_modify(|_| {});
            ring.whole.send_modify(|_| {});
        }
    }

    fn is_ended(&self) -> bool {
        self.0.info.borrow().state == FeedState::Ended
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feed").field(&self.0.id).finish()
    }
}

/// What the publisher's connection is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// Ask the encoder for a keyframe of these tracks: one compound RTCP packet for all their layers.
    Keyframe(Vec<TrackId>),
    /// The feed was ended: say goodbye and leave.
    Leave,
    /// Another publisher has taken over: say goodbye and leave.
    Displaced,
}

/// The one writer of a feed. Dropping it ends the publisher's stay.
#[derive(Debug)]
pub struct FeedPublisher {
    feed: Feed,
    bus: FeedBus,
    writer: u64,
    said_live: bool,
}

impl FeedPublisher {
    /// The feed it writes to.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether another publisher has taken over. What this one still writes is ignored.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.feed.0.writer.load(Ordering::Acquire) != self.writer
    }

    /// Takes a packet as it came: stamps it and puts it on the bus. A packet of a stream that the epoch does not have
    /// is ignored.
    pub fn rtp(&mut self, now: Instant, key: StreamKey, input: RtpInput) {
        let mut owner = self.feed.0.owner.lock();
        if self.is_displaced() {
            return;
        }
        let packet = owner.handle_rtp(now, clock::utc(), key, input);
        let released = Self::released(&mut owner);
        if let Some(offset) = owner.take_misaligned() {
            metrics::counter!("bicast_misaligned_segments_total").increment(1);
            metrics::histogram!("bicast_layer_keyframe_offset_seconds").record(offset.as_secs_f64());
        }
        let changed = owner.take_changed();
        if changed || !self.said_live {
            self.said_live = true;
            self.feed.0.info.send_replace(Arc::new(owner.info()));
        }
        drop(owner);
        released.into_iter().chain(packet).for_each(|packet| self.push(packet));
    }

    /// What the owner has held back until now.
    fn released(owner: &mut FeedOwner) -> Vec<MediaPacket> {
        std::iter::from_fn(|| owner.poll_released()).collect()
    }

    fn push(&self, packet: MediaPacket) {
        let ring = self.feed.0.rings.read().get(&packet.key).cloned();
        if let Some(ring) = ring {
            let mut packets = ring.packets.write();
            let whole = packets.push(packet);
            let head = packets.head();
            drop(packets);
            ring.head.send_replace(head);
            if whole {
                ring.whole.send_replace(head);
            }
        }
    }

    /// Takes an RTCP sender report: the publisher's NTP time of one of its RTP timestamps (RFC 3550, 6.4.1).
    pub fn sender_report(&mut self, now: Instant, key: StreamKey, ntp: u64, rtp_timestamp: u32) {
        let mut owner = self.feed.0.owner.lock();
        if self.is_displaced() {
            return;
        }
        owner.handle_sender_report(now, key, ntp, rtp_timestamp);
        let released = Self::released(&mut owner);
        if owner.take_changed() {
            self.feed.0.info.send_replace(Arc::new(owner.info()));
        }
        drop(owner);
        released.into_iter().for_each(|packet| self.push(packet));
    }

    /// Waits until the publisher's connection has something to do. Cancel safe.
    pub async fn upstream(&mut self) -> Upstream {
        loop {
            // Before anything is looked at: what changes from here on is not missed.
            let notified = self.feed.0.upstream.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.feed.is_ended() {
                return Upstream::Leave;
            }
            let wake = {
                let mut owner = self.feed.0.owner.lock();
                if self.is_displaced() {
                    return Upstream::Displaced;
                }
                let now = clock::now();
                for track in std::mem::take(&mut *self.feed.0.wanted.lock()) {
                    owner.want_keyframe(now, track);
                }
                owner.handle_timeout(now);
                if owner.take_changed() {
                    self.feed.0.info.send_replace(Arc::new(owner.info()));
                }
                let tracks = owner.poll_keyframe_requests(now);
                if !tracks.is_empty() {
                    return Upstream::Keyframe(tracks);
                }
                owner.poll_timeout(now)
            };
            let sleep = async {
                match wake {
                    // Never in the past, so that what cannot be served does not become a busy loop.
                    Some(at) => {
                        tokio::time::sleep_until(at.max(clock::now() + Duration::from_millis(1)).into())
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = notified => {}
                () = sleep => {}
            }
        }
    }
}

impl Drop for FeedPublisher {
    fn drop(&mut self) {
        let feed = self.feed.clone();
        if feed.is_ended() {
            return;
        }
        {
            let mut owner = feed.0.owner.lock();
            if self.is_displaced() {
                return;
            }
            owner.end_epoch(clock::now());
            feed.0.writer.store(NOBODY, Ordering::Release);
            feed.0.info.send_replace(Arc::new(owner.info()));
        }
        feed.wait_for_publisher(&self.bus);
    }
}

/// A publisher that is connected and waits to take over from the feed's publisher. Dropping it gives the place up.
#[derive(Debug)]
pub struct Standby {
    feed: Feed,
    bus: FeedBus,
    publisher: PublisherInfo,
    promotions: watch::Receiver<u64>,
}

impl Standby {
    /// The feed it waits for.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Waits until it is this publisher's turn: the one before it has left or has been silent for a second, or somebody
    /// asked for the change ([`FeedBus::promote`]). False when the feed has ended. Cancel safe.
    pub async fn ready(&mut self) -> bool {
        loop {
            if self.feed.is_ended() {
                return false;
            }
            if self.promotions.has_changed().unwrap_or(true) || self.feed.is_silent() {
                self.promotions.borrow_and_update();
                return true;
            }
            tokio::select! {
                _ = self.promotions.changed() => return true,
                () = tokio::time::sleep(SILENT / 10) => {}
            }
        }
    }

    /// Takes over: the publisher before it, if it is still there, is told to leave ([`Upstream::Displaced`]), and the next
    /// epoch begins. To be called when decoding can begin with what is written next. None when the feed has ended.
    #[must_use]
    pub fn take_over(&self, tracks: Vec<TrackInfo>) -> Option<FeedPublisher> {
        let mut owner = self.feed.0.owner.lock();
        if self.feed.is_ended() {
            return None;
        }
        owner.set_standby(None);
        let writer = self.feed.begin_writing(&mut owner, tracks, self.publisher.clone());
        drop(owner);
        self.feed.0.upstream.notify_waiters();
        Some(FeedPublisher { feed: self.feed.clone(), bus: self.bus.clone(), writer, said_live: false })
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let mut owner = self.feed.0.owner.lock();
        if !self.feed.is_ended() && owner.info().standby.as_ref() == Some(&self.publisher) {
            owner.set_standby(None);
            self.feed.0.info.send_replace(Arc::new(owner.info()));
        }
    }
}

/// The feed has ended and everything that was on the bus has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feed has ended")]
pub struct Ended;

/// A reader of one stream, with its own cursor.
pub struct FeedSubscriber {
    feed: Feed,
    key: StreamKey,
    ring: Arc<Ring>,
    head: watch::Receiver<u64>,
    whole: watch::Receiver<u64>,
    cursor: u64,
    lost: u64,
}

impl FeedSubscriber {
    /// The stream it reads.
    #[must_use]
    pub const fn key(&self) -> StreamKey {
        self.key
    }

    /// Packets it lost because it lagged.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends up to `max` packets to `out` without waiting and tells how many. A reader that the ring has run past
    /// goes on at the newest keyframe.
    pub fn try_read(&mut self, out: &mut Vec<MediaPacket>, max: usize) -> usize {
        self.head.borrow_and_update();
        let packets = self.ring.packets.read();
        let (at, lost) = packets.resume(self.cursor);
        let before = out.len();
        out.extend((at..packets.head()).take(max).filter_map(|position| packets.get(position).cloned()));
        drop(packets);
        let read = out.len() - before;
        self.cursor = at + read as u64;
        if lost > 0 {
            self.note_lost(lost);
        }
        read
    }

    /// Waits until there is an access unit to read that is whole, as far as packets tell. Who needs units is woken a ninth as often as by
    /// [`FeedSubscriber::read`] at 2.5 Mbit/s. Cancel safe.
    ///
    /// # Errors
    /// [`Ended`] when the feed has ended and everything was read.
    pub async fn unit(&mut self) -> Result<(), Ended> {
        loop {
            let whole = *self.whole.borrow_and_update();
            if whole > self.cursor {
                return Ok(());
            }
            if self.feed.is_ended() || self.whole.changed().await.is_err() {
                return Err(Ended);
            }
        }
    }

    /// Waits for packets and appends up to `max` of them to `out`. Cancel safe.
    ///
    /// # Errors
    /// [`Ended`] when the feed has ended and everything was read.
    pub async fn read(&mut self, out: &mut Vec<MediaPacket>, max: usize) -> Result<usize, Ended> {
        loop {
            let read = self.try_read(out, max);
            if read > 0 {
                return Ok(read);
            }
            if self.feed.is_ended() || self.head.changed().await.is_err() {
                return Err(Ended);
            }
        }
    }

    fn note_lost(&mut self, lost: u64) {
        if self.lost == 0 {
            tracing::warn!(feed = %self.feed.id(), stream = %self.key, lost, "a reader lags; it goes on at the newest keyframe");
        }
        self.lost += lost;
        self.feed.0.lagged.fetch_add(lost, Ordering::Relaxed);
        // Without the feed's name: strangers choose it, and every name would be a series for good.
        metrics::counter!("bicast_bus_lagged_packets_total").increment(lost);
    }
}

impl fmt::Debug for FeedSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedSubscriber")
            .field("key", &self.key)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
