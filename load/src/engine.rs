//! A thread that owns viewers and their sockets outright. What it is told comes through a bounded queue, what it has
//! counted is taken from it when somebody asks.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bicast_shared::clock;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use crate::core::ice::Transmit;
use crate::core::tally::Tally;
use crate::core::transport::Event;
use crate::core::viewer::{At, Viewer};
use crate::procfs;
use crate::wire::{Buffers, Run, Wire};

/// Viewers that wait to be taken in; beyond it, whoever brings them waits.
const QUEUE: usize = 1_024;
/// Sockets served in one round.
const EVENTS: usize = 2_048;
/// Between two rounds with something to do. Most of a round's cost is the same for one socket as for fifty; the kernel's
/// time stamps keep latency exact, and a handshake becomes a millisecond longer.
const BREATH: Duration = Duration::from_micros(200);
/// Reads of one socket before others have their turn.
const READS: usize = 8;
const WAKE: Token = Token(usize::MAX);

enum Command {
    Add(Box<(Viewer, Wire)>),
    /// Whether latency counts from now on.
    Steady(bool),
    Take(oneshot::Sender<Snapshot>),
    /// Counts what is still missing as lost, and ends.
    Finish(oneshot::Sender<Snapshot>),
}

/// What an engine has counted since the last time, and how it stands.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The counts.
    pub tally: Tally,
    /// Viewers with keys.
    pub connected: u64,
    /// Viewers with a moving picture.
    pub moving: u64,
    /// Connected viewers to which nothing has come since the last time.
    pub silent: u64,
    /// CPU time of the thread, in all.
    pub cpu: Duration,
}

/// Handle of an engine.
pub struct Engine {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
}

impl Engine {
    /// Starts a thread, on this core only where one is given.
    ///
    /// # Errors
    /// What the system lacks.
    pub fn start(core: Option<u32>) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, inbox) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("viewers".into());
        thread
            .spawn(move || {
                if let Some(core) = core {
                    procfs::pin(core);
                }
                Loop::new(poll, inbox).run();
            })
            .context("cannot start a thread")?;
        Ok(Self { commands, waker })
    }

    /// Gives it a viewer.
    ///
    /// # Errors
    /// Where the thread is gone.
    pub async fn add(&self, viewer: Viewer, wire: Wire) -> anyhow::Result<()> {
        self.send(Command::Add(Box::new((viewer, wire)))).await
    }

    /// Says whether latency counts from now on.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn set_steady(&self, steady: bool) -> anyhow::Result<()> {
        self.send(Command::Steady(steady)).await
    }

    /// Takes the counts.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn take(&self) -> anyhow::Result<Snapshot> {
        let (reply, snapshot) = oneshot::channel();
        self.send(Command::Take(reply)).await?;
        snapshot.await.context("the viewers' thread is gone")
    }

    /// Ends it and takes the last counts.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn finish(&self) -> anyhow::Result<Snapshot> {
        let (reply, snapshot) = oneshot::channel();
        self.send(Command::Finish(reply)).await?;
        snapshot.await.context("the viewers' thread is gone")
    }

    async fn send(&self, mut command: Command) -> anyhow::Result<()> {
        loop {
            match self.commands.try_send(command) {
                Ok(()) => return self.waker.wake().context("cannot wake the viewers' thread"),
                Err(TrySendError::Disconnected(_)) => return Err(anyhow!("the viewers' thread is gone")),
                Err(TrySendError::Full(back)) => {
                    command = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

struct Slot {
    viewer: Viewer,
    wire: Wire,
    scheduled: Instant,
}

struct Loop {
    poll: Poll,
    inbox: Receiver<Command>,
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<usize>,
    timers: BTreeSet<(Instant, usize)>,
    tally: Tally,
    steady: bool,
    out: Vec<Transmit>,
}

impl Loop {
    fn new(poll: Poll, inbox: Receiver<Command>) -> Self {
        Self {
            poll,
            inbox,
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeSet::new(),
            tally: Tally::default(),
            steady: false,
            out: Vec::new(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffers = Buffers::new();
        // Sockets that had more than their turn: the poller will not name them again.
        let mut unread: Vec<usize> = Vec::new();
        loop {
            let now = clock::now();
            let due = self.timers.first().map(|(due, _)| due.saturating_duration_since(now));
            let timeout = if unread.is_empty() { due } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            let mut ready: Vec<usize> = std::mem::take(&mut unread);
            ready.extend(events.iter().map(|event| event.token().0).filter(|slot| *slot != WAKE.0));
            for &slot in &ready {
                if !self.read(slot, &mut buffers) {
                    unread.push(slot);
                }
            }
            loop {
                match self.inbox.try_recv() {
                    Ok(command) => {
                        if self.handle(command) {
                            return;
                        }
                    }
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.handle_timers();
            if !ready.is_empty() {
                std::thread::sleep(BREATH);
            }
        }
    }

    /// True at the end.
    fn handle(&mut self, command: Command) -> bool {
        match command {
            Command::Add(pair) => {
                let (viewer, wire) = *pair;
                self.add(viewer, wire);
            }
            Command::Steady(steady) => self.steady = steady,
            Command::Take(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Command::Finish(reply) => {
                for slot in self.slots.iter_mut().flatten() {
                    slot.viewer.finish(&mut self.tally);
                }
                let _ = reply.send(self.snapshot());
                return true;
            }
        }
        false
    }

    fn add(&mut self, viewer: Viewer, mut wire: Wire) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if self.poll.registry().register(&mut wire.io, Token(index), Interest::READABLE).is_err() {
            self.tally.end("no more sockets");
            self.free.push(index);
            return;
        }
        let scheduled = viewer.poll_timeout();
        self.slots[index] = Some(Box::new(Slot { viewer, wire, scheduled }));
        self.timers.insert((scheduled, index));
    }

    /// Reads a socket. True when nothing is left in it.
    fn read(&mut self, index: usize, buffers: &mut Buffers) -> bool {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return true };
        let (viewer, tally, out) = (&mut slot.viewer, &mut self.tally, &mut self.out);
        let (now, steady) = (clock::now(), self.steady);
        let mut last = Event::Nothing;
        let mut drained = false;
        for _ in 0..READS {
            drained = slot.wire.receive(buffers, |run: Run<'_>| {
                let at = At { now, arrived: run.arrived, steady };
                for datagram in run.bytes.chunks(run.stride) {
                    let event = viewer.handle(at, run.from, datagram, tally, out);
                    if event != Event::Nothing && !matches!(last, Event::Over(_)) {
                        last = event;
                    }
                }
            });
            if drained || last != Event::Nothing {
                break;
            }
        }
        self.after(index, last);
        // After an event the rest of what waits is read in the next round: the socket may be another one by then.
        drained || self.slots.get(index).is_none_or(Option::is_none)
    }

    /// Sends what a viewer has to say and does what an event asks for.
    fn after(&mut self, index: usize, event: Event) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        for transmit in self.out.drain(..) {
            slot.wire.send(&transmit);
        }
        match event {
            Event::Reached(server) => slot.wire.connect(server),
            Event::Over(why) => {
                self.tally.end(why);
                self.remove(index);
                return;
            }
            Event::Nothing | Event::Connected => {}
        }
        let due = slot.viewer.poll_timeout();
        if due < slot.scheduled {
            self.timers.remove(&(slot.scheduled, index));
            slot.scheduled = due;
            self.timers.insert((due, index));
        }
    }

    fn handle_timers(&mut self) {
        let now = clock::now();
        while let Some(&(due, index)) = self.timers.first().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, index));
            let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { continue };
            let event = slot.viewer.handle_timeout(now, &mut self.tally, &mut self.out);
            slot.scheduled = slot.viewer.poll_timeout();
            self.timers.insert((slot.scheduled, index));
            self.after(index, event);
        }
    }

    fn remove(&mut self, index: usize) {
        let Some(mut slot) = self.slots.get_mut(index).and_then(Option::take) else { return };
        slot.viewer.finish(&mut self.tally);
        let _ = self.poll.registry().deregister(&mut slot.wire.io);
        self.timers.remove(&(slot.scheduled, index));
        self.free.push(index);
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot { tally: std::mem::take(&mut self.tally), ..Snapshot::default() };
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.viewer.is_connected()) {
            snapshot.connected += 1;
            snapshot.moving += u64::from(slot.viewer.is_moving());
            snapshot.silent += u64::from(!slot.viewer.take_heard());
        }
        snapshot.cpu = thread_time();
        snapshot
    }
}

/// CPU time of this thread.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
