//! The thread of the synthetic feeds' publishers.

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

/// How the publishers are, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Live,
    Over(&'static str),
}

/// Handle of the publishers. Dropping it ends the thread.
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Published>>,
    state: watch::Receiver<State>,
}

impl Sender {
    /// Starts the thread, on this core only where one is given.
    pub(crate) fn start(feeds: Vec<(Publisher, Wire)>, core: Option<u32>) -> anyhow::Result<Self> {
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
                send(feeds, &stop, &published, &told);
            })
            .context("cannot start a thread")?;
        Ok(handle)
    }

    /// Waits until media flows in all feeds.
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
    mut feeds: Vec<(Publisher, Wire)>,
    stop: &AtomicBool,
    published: &Mutex<Published>,
    told: &watch::Sender<State>,
) {
    let mut buffers = Buffers::new();
    while !stop.load(Ordering::Relaxed) {
        let mut due = clock::now() + NAP;
        let mut sum = Published::default();
        for (publisher, wire) in &mut feeds {
            if let Event::Over(why) = serve(publisher, wire, &mut buffers) {
                let _ = told.send(State::Over(why));
                return;
            }
            due = due.min(publisher.poll_timeout());
            sum.add(&publisher.published());
        }
        if feeds.iter().all(|(publisher, _)| publisher.is_live()) && *told.borrow() == State::Connecting {
            let _ = told.send(State::Live);
        }
        *published.lock() = sum;
        std::thread::sleep(due.saturating_duration_since(clock::now()));
    }
}

/// Does what is due for one publisher.
fn serve(publisher: &mut Publisher, wire: &mut Wire, buffers: &mut Buffers) -> Event {
    let now = clock::now();
    let mut out = Vec::new();
    let mut event = publisher.handle_timeout(now, clock::utc(), &mut out);
    wire.receive(buffers, |run| {
        for datagram in run.bytes.chunks(run.stride) {
            let happened = publisher.handle(now, run.from, datagram, &mut out);
            if happened != Event::Nothing && !matches!(event, Event::Over(_)) {
                event = happened;
            }
        }
    });
    out.iter().for_each(|transmit| wire.send(transmit));
    if let Event::Reached(server) = event {
        wire.connect(server);
    }
    event
}
