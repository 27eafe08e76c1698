//! Sends a recorded clip and silence over the bus, in real time.

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher, Upstream};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::RtpInput;
use bicast_shared::id::{RenditionId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::time::{ClockRate, ProgramTime};
use bytes::Bytes;
use std::sync::Mutex;
use tokio::task::JoinHandle;

const CLIP: &[u8] = include_bytes!("../fixtures/baseline.h264");
const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));
const AUDIO: StreamKey = StreamKey::new(TrackId(1), RenditionId(0));

pub(crate) fn tracks() -> Vec<TrackInfo> {
    vec![
        TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, String::new()),
        TrackInfo::single(TrackId(1), Codec::Opus, ClockRate::OPUS, 2, String::new()),
    ]
}

pub(crate) fn info() -> PublisherInfo {
    PublisherInfo { protocol: "test".into(), agent: None, address: None, since: ProgramTime::default() }
}

/// A publisher that runs until it is dropped.
pub(crate) struct Publisher {
    task: JoinHandle<()>,
    sent: Arc<Mutex<Vec<u32>>>,
}

impl Publisher {
    pub(crate) fn start(bus: &FeedBus, id: &str) -> Self {
        Self::start_with(bus, id, tracks())
    }

    /// Sends those of the tracks that are named.
    pub(crate) fn start_with(bus: &FeedBus, id: &str, tracks: Vec<TrackInfo>) -> Self {
        let publisher = bus.publish(&id.parse().unwrap(), tracks, info()).unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        Self { task: tokio::spawn(send(publisher, sent.clone())), sent }
    }

    /// Leaves, and returns when the feed knows it.
    pub(crate) async fn leave(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.is_err_and(|error| error.is_cancelled()));
    }

    /// RTP timestamps of the video frames sent so far, unwrapped from the first on.
    pub(crate) fn sent(&self) -> Vec<u32> {
        self.sent.lock().unwrap().clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The frames of the clip, one slice each, as RTP payloads.
fn frames() -> Vec<Vec<Bytes>> {
    let mut starts: Vec<usize> =
        CLIP.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    starts.push(CLIP.len());
    let mut frames = vec![Vec::new()];
    for pair in starts.windows(2) {
        let unit = CLIP[pair[0] + 3..pair[1]].strip_suffix(&[0]).unwrap_or(&CLIP[pair[0] + 3..pair[1]]);
        frames.last_mut().unwrap().push(Bytes::from_static(unit));
        if matches!(unit[0] & 0x1f, 1 | 5) {
            frames.push(Vec::new());
        }
    }
    frames.pop();
    frames
}

async fn send(mut publisher: FeedPublisher, sent: Arc<Mutex<Vec<u32>>>) {
    let frames = frames();
    let mut ticks = tokio::time::interval(Duration::from_micros(33_333));
    let (mut at, mut video_sequence, mut audio_sequence) = (0, 0_u16, 0_u16);
    let mut number = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            upstream = publisher.upstream() => match upstream {
                Upstream::Keyframe(_) => { at = 0; continue }
                Upstream::Leave | Upstream::Displaced => return,
            },
        }
        let timestamp = 1_000 + number * 3_000;
        sent.lock().unwrap().push(timestamp);
        let frame = &frames[at % frames.len()];
        for (n, payload) in frame.iter().enumerate() {
            video_sequence = video_sequence.wrapping_add(1);
            let marker = n + 1 == frame.len();
            publisher.rtp(clock::now(), VIDEO, input(video_sequence, timestamp, marker, payload.clone()));
        }
        at += 1;
        while u32::from(audio_sequence) * 20 <= number * 1_000 / 30 {
            audio_sequence += 1;
            let payload = Bytes::from_static(&[0xf8, 0xff, 0xfe]);
            publisher.rtp(
                clock::now(),
                AUDIO,
                input(audio_sequence, u32::from(audio_sequence) * 960, false, payload),
            );
        }
        number += 1;
    }
}

fn input(sequence_number: u16, timestamp: u32, marker: bool, payload: Bytes) -> RtpInput {
    RtpInput { sequence_number, timestamp, marker, payload, orientation: None, composition_offset: None }
}
