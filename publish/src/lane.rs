//! One track of a session on its way: a thread that produces frames when they are due, and a task that sends their
//! packets, spread out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use bicast_shared::clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::core::pacing::spacing;
use crate::core::reports::MediaClock;
use crate::error::Error;
use crate::feedback::Feedback;
use crate::peer::Writer;
use crate::source::{SoundCoding, Source, Unit};

/// What a lane has sent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) keyframes: AtomicU64,
    pub(crate) skipped: AtomicU64,
}

/// Frames between the thread and the task. More would only be latency: what waits here is late already.
const QUEUE: usize = 4;
/// A lane that is further behind than this leaves out what it missed, instead of flooding the server with it.
const TOO_LATE: Duration = Duration::from_millis(500);
/// How soon a lane notices that it is to stop.
const NAP: Duration = Duration::from_millis(100);
/// A packet's header, as it counts towards the bit rate.
const HEADER: u64 = 12;

/// Starts the thread that produces a source's frames. It ends when `stop` is set, when nobody takes its frames any
/// more, or with the error that it sends last.
///
/// # Errors
/// When the system starts no thread.
pub(crate) fn produce(
    name: &str,
    mut source: Box<dyn Source>,
    media: MediaClock,
    feedback: Option<Arc<Feedback>>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
) -> Result<mpsc::Receiver<Result<Unit, Error>>, Error> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let run = move || {
        while !stop.load(Relaxed) {
            let elapsed = clock::now().saturating_duration_since(media.start());
            if let Some(wait) = source.due().checked_sub(elapsed).filter(|wait| !wait.is_zero()) {
                thread::sleep(wait.min(NAP));
                continue;
            }
            let late = elapsed - source.due();
            let unit = if late > TOO_LATE {
                source.skip_to(elapsed).map(|skipped| {
                    counters.skipped.fetch_add(skipped, Relaxed);
                    tracing::debug!(?late, skipped, "too slow: frames left out");
                })
            } else {
                Ok(())
            };
            // What was left out may have been asked for: whoever waits for a keyframe shall get it now.
            let keyframe = feedback.as_ref().is_some_and(|feedback| feedback.take_keyframe_request());
            let unit = unit.and_then(|()| source.produce(keyframe, clock::utc()));
            let failed = unit.is_err();
            if sender.blocking_send(unit).is_err() || failed {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name(format!("publish-{name}")).spawn(run);
    thread.map_err(|error| Error::codec("starting a thread")(&error))?;
    Ok(receiver)
}

/// Sends what comes, until nothing comes any more: pictures, or `sound`.
///
/// # Errors
/// What the source failed with, or that the connection is closed.
pub(crate) async fn send(
    mut units: mpsc::Receiver<Result<Unit, Error>>,
    mut writer: Writer,
    interval: Duration,
    counters: Arc<Counters>,
    sound: Option<SoundCoding>,
) -> Result<(), Error> {
    while let Some(unit) = units.recv().await {
        let Unit { ticks, keyframe, payloads } = unit?;
        let spacing = spacing(payloads.len(), interval);
        let start = Instant::from_std(clock::now());
        let last = payloads.len().saturating_sub(1);
        for (i, payload) in payloads.into_iter().enumerate() {
            let due = start + spacing * u32::try_from(i).unwrap_or(u32::MAX);
            // Timers tick in milliseconds: what is due within this one goes now.
            if due > Instant::from_std(clock::now()) + Duration::from_millis(1) {
                sleep_until(due).await;
            }
            counters.bytes.fetch_add(HEADER + payload.len() as u64, Relaxed);
            // Opus' marker is for the start of a talk spurt (RFC 7587, 4.2), and there is only one here.
            let marker = if sound == Some(SoundCoding::Opus) { ticks == 0 } else { i == last };
            writer.write(ticks, marker, payload).await?;
        }
        if sound.is_none() {
            counters.frames.fetch_add(1, Relaxed);
            counters.keyframes.fetch_add(u64::from(keyframe), Relaxed);
        }
    }
    Ok(())
}
