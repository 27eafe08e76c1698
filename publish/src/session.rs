//! One stay at the server: offer, answer, media until the end, good-bye.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bicast_shared::clock;
use tokio::sync::watch;
use tokio::task::JoinSet;
use webrtc::peer_connection::RTCPeerConnectionState as PeerState;

use crate::core::reports::MediaClock;
use crate::core::stats::{State, Totals};
use crate::error::Error;
use crate::feedback::Feedback;
use crate::lane::{self, Counters};
use crate::peer::{Peer, PeerSettings};
use crate::source::Input;
use crate::whip::Whip;

/// What a session tells while it runs.
pub(crate) trait Watcher {
    /// Media flows, this long after the offer left.
    fn connected(&mut self, after: Duration);
    /// The numbers, once a second.
    fn tick(&mut self, state: State, totals: &Totals);
}

/// How a session ended, and how long media flowed.
pub(crate) struct Ended {
    pub(crate) result: Result<(), Error>,
    pub(crate) lasted: Duration,
    pub(crate) totals: Totals,
}

const MEDIA_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes `input` until `stop` turns true, `until` has come, or something breaks.
pub(crate) async fn run(
    input: &Input,
    whip: &Whip,
    mut stop: watch::Receiver<bool>,
    until: Option<Instant>,
    watcher: &mut impl Watcher,
) -> Ended {
    let mut live = None;
    let result = tokio::select! {
        result = connect(input, whip, &mut live) => result,
        () = stopped(&mut stop) => Ok(()),
    };
    let mut ended = Ended { result, lasted: Duration::ZERO, totals: Totals::default() };
    let Some(mut live) = live else { return ended };
    if let Some(media) = live.media.as_mut().filter(|_| ended.result.is_ok()) {
        watcher.connected(media.connected);
        ended.result = media.flow(&live.peer, &mut stop, until, watcher).await;
        ended.lasted = clock::now().saturating_duration_since(media.clock.start());
        ended.totals = media.totals();
        media.stop.store(true, Relaxed);
        media.lanes.abort_all();
    }
    if let Some(session) = &live.session {
        whip.end(session).await;
    }
    live.peer.close().await;
    ended
}

/// What has to be taken down at the end, however far the session came.
struct Live {
    peer: Peer,
    session: Option<crate::core::endpoint::Endpoint>,
    media: Option<Media>,
}

struct Media {
    clock: MediaClock,
    connected: Duration,
    feedback: Arc<Feedback>,
    /// Of each encoding.
    video: Vec<Arc<Counters>>,
    audio: Arc<Counters>,
    lanes: JoinSet<Result<(), Error>>,
    stop: Arc<AtomicBool>,
}

async fn connect(input: &Input, whip: &Whip, live: &mut Option<Live>) -> Result<(), Error> {
    let servers = whip.servers().await;
    let (profile, layers) = (input.profile(), input.layers());
    let settings = PeerSettings { profile, layers, sound: input.sound(), servers };
    let peer = Peer::new(&settings).await?;
    let live = live.insert(Live { peer, session: None, media: None });
    // Encoders take tens of milliseconds to start; nobody waits for that when it is done before.
    let videos = input.videos()?;
    let audio = input.audio()?;

    let offered = clock::now();
    let session = whip.publish(live.peer.offer()).await?;
    live.session = session.url;
    live.peer.accept(&session.answer).await?;
    let mut state = live.peer.state();
    let connected =
        state.wait_for(|state| matches!(state, PeerState::Connected | PeerState::Failed | PeerState::Closed));
    match tokio::time::timeout(MEDIA_TIMEOUT, connected).await.map(|state| state.map(|state| *state)) {
        Ok(Ok(PeerState::Connected)) => {}
        _ => return Err(Error::NoMedia(MEDIA_TIMEOUT)),
    }

    let now = clock::now();
    let clock = MediaClock::new(now, clock::utc());
    let feedback = Arc::clone(live.peer.feedback());
    feedback.start(clock);
    let mut media = Media {
        clock,
        connected: now.saturating_duration_since(offered),
        feedback: Arc::clone(&feedback),
        video: videos.iter().map(|_| Arc::default()).collect(),
        audio: Arc::default(),
        lanes: JoinSet::new(),
        stop: Arc::default(),
    };
    let videos = videos.into_iter().zip(media.video.clone()).enumerate();
    let videos = videos.map(|(layer, (source, counters))| (Some(layer), source, counters));
    let audio = audio.into_iter().map(|source| (None, source, Arc::clone(&media.audio)));
    for (layer, source, counters) in videos.chain(audio).collect::<Vec<_>>() {
        let Some(writer) = live.peer.writer(layer).await? else { continue };
        let interval = source.interval();
        let asked = (layer == Some(0)).then(|| Arc::clone(&feedback));
        let name = if layer.is_some() { "video" } else { "audio" };
        let units =
            lane::produce(name, source, clock, asked, Arc::clone(&counters), Arc::clone(&media.stop))?;
        media.lanes.spawn(lane::send(
            units,
            writer,
            interval,
            counters,
            input.sound().filter(|_| layer.is_none()),
        ));
    }
    live.media = Some(media);
    Ok(())
}

impl Media {
    async fn flow(
        &mut self,
        peer: &Peer,
        stop: &mut watch::Receiver<bool>,
        until: Option<Instant>,
        watcher: &mut impl Watcher,
    ) -> Result<(), Error> {
        let mut state = peer.state();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let end = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                _ = ticks.tick() => watcher.tick(State::Live, &self.totals()),
                () = stopped(stop) => return Ok(()),
                () = &mut end => return Ok(()),
                broken = state.wait_for(|state| matches!(state, PeerState::Failed | PeerState::Closed)) => {
                    drop(broken);
                    return Err(Error::Lost);
                }
                Some(lane) = self.lanes.join_next() => match lane {
                    Ok(Err(Error::WebRtc(_))) | Ok(Ok(())) | Err(_) => return Err(Error::Lost),
                    Ok(Err(error)) => return Err(error),
                },
            }
        }
    }

    fn totals(&self) -> Totals {
        let all = || self.video.iter().chain([&self.audio]);
        let sum = |count: fn(&Counters) -> u64| all().map(|counters| count(counters)).sum();
        // What is shown is one picture, however often it is encoded.
        let picture = |count: fn(&Counters) -> u64| self.video.first().map_or(0, |counters| count(counters));
        Totals {
            bytes: sum(|counters| counters.bytes.load(Relaxed)),
            frames: picture(|counters| counters.frames.load(Relaxed)),
            keyframes: picture(|counters| counters.keyframes.load(Relaxed)),
            skipped: sum(|counters| counters.skipped.load(Relaxed)),
            plis: self.feedback.plis(),
            nacks: self.feedback.nacks(),
            round_trip: self.feedback.round_trip(),
            loss: self.feedback.loss(),
        }
    }
}

/// Waits until `stop` is true. A dropped sender is a stop as well.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}
