//! The thread of the synthetic feed's publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::core::publisher::{Published, Publisher};
use crate::core::transport::Event;
use crate::procfs;
use crate::wire::{Buffers, Wire};

/// The longest sleep: so late may a request for a keyframe be noticed.
const NAP: Duration = Duration::from_millis(2);

/// How the publisher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Live,
    Over(&'static str),
}

/// Handle of a publisher. Dropping it ends the thread.
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Published>>,
    state: watch::Receiver<State>,
}

impl Sender {
    /// Starts the thread, on this core only where one is given.
    pub(crate) fn start(publisher: Publisher, wire: Wire, core: Option<u32>) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let published: Arc<Mutex<Published>> = Arc::default();
        let (told, state) = watch::channel(State::Connecting);
        let handle = Self { stop: stop.clone(), published: published.clone(), state };
        std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || {
                if let Some(core) = core {
                    procfs::pin(core);
                }
                send(publisher, wire, &stop, &published, &told);
            })
            .context("cannot start a thread")?;
        Ok(handle)
    }

    /// Waits until media flows.
    pub(crate) async fn live(&mut self) -> anyhow::Result<()> {
        let state = self.state.wait_for(|state| *state != State::Connecting).await.map(|state| *state);
        match state.context("the publisher's thread is gone")? {
            State::Over(why) => anyhow::bail!("the synthetic feed could not be published: {why}"),
            State::Connecting | State::Live => Ok(()),
        }
    }

    /// Why it is over; none while it goes on.
    pub(crate) fn over(&self) -> Option<&'static str> {
        match *self.state.borrow() {
            State::Over(why) => Some(why),
            State::Connecting | State::Live => None,
        }
    }

    pub(crate) fn published(&self) -> Published {
        *self.published.lock()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(
    mut publisher: Publisher,
    mut wire: Wire,
    stop: &AtomicBool,
    published: &Mutex<Published>,
    told: &watch::Sender<State>,
) {
    let mut buffers = Buffers::new();
    let mut out = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let now = clock::now();
        let mut event = publisher.handle_timeout(now, clock::utc(), &mut out);
        wire.receive(&mut buffers, |run| {
            for datagram in run.bytes.chunks(run.stride) {
                let happened = publisher.handle(now, run.from, datagram, &mut out);
                if happened != Event::Nothing && !matches!(event, Event::Over(_)) {
                    event = happened;
                }
            }
        });
        out.drain(..).for_each(|transmit| wire.send(&transmit));
        match event {
            Event::Reached(server) => wire.connect(server),
            Event::Connected => drop(told.send(State::Live)),
            Event::Over(why) => {
                let _ = told.send(State::Over(why));
                return;
            }
            Event::Nothing => {}
        }
        *published.lock() = publisher.published();
        let due = publisher.poll_timeout().saturating_duration_since(clock::now());
        std::thread::sleep(due.min(NAP));
    }
}
