//! A worker's thread: one single-threaded runtime whose tasks take turns with the worker's state. No borrow of it is
//! held while a task waits.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bicast_shared::feed::bus::{Feed, StartAt};
use bicast_shared::id::StreamKey;
use bicast_shared::media::TrackKind;
use bicast_shared::status::ViewerStatus;
use quinn_udp::RecvMeta;
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout_at};

use super::{Joining, VISITS, Worker, tcp};
use crate::port::{Datagram, Registration};
use crate::socket::Socket;
use crate::tcp::Accepted;

/// Packets are collected up to the end of a frame or this long, so that a viewer is visited once for several of them. The
/// runtime's clock ticks in milliseconds and rounds up: none waits for more than two.
const COLLECT: Duration = Duration::from_millis(1);
/// Packets read from the bus at once.
const READ: usize = 256;
/// Receive buffers of a socket; each holds what the kernel coalesced (UDP GRO).
const BUFFERS: usize = 8;
const DATAGRAM: usize = 1_600;
/// Receive calls before other tasks have their turn ...
const RECEIVES: usize = 16;
/// ... and datagrams: half a millisecond of them, however many the kernel coalesced.
const DATAGRAMS: usize = 512;

/// How long TCP connections may take to be told goodbye.
const GOODBYE: Duration = Duration::from_millis(100);

/// What the HTTP side asks of a worker.
pub(crate) enum Command {
    /// A viewer joins.
    Join(Box<Joining>, oneshot::Sender<()>),
    /// A session restarts ICE: new credentials. Answers whether the session is still here.
    Restart {
        session: String,
        registration: Registration,
        ufrag: String,
        pwd: String,
        remote_ufrag: String,
        done: oneshot::Sender<bool>,
    },
    /// A session ends. Answers whether it was still here.
    Leave { session: String, done: oneshot::Sender<bool> },
    /// A session goes for a newcomer, if its handshake is still not done.
    Evict { session: String },
    /// What is known of the viewers of a feed.
    Stats { feed: Feed, done: oneshot::Sender<Vec<ViewerStatus>> },
    /// All sessions end, and the worker with them.
    Close(oneshot::Sender<()>),
}

/// What reaches a worker from outside.
pub(crate) struct Inboxes {
    pub(crate) datagrams: mpsc::Receiver<Datagram>,
    pub(crate) connections: mpsc::Receiver<Accepted>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// Runs a worker on this thread until it is told to close.
pub(crate) fn run(worker: Worker, inboxes: Inboxes) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let hub = Hub { worker: Rc::new(RefCell::new(worker)), changed: Rc::new(Notify::new()) };
        let sockets = hub.worker.borrow().sockets.len();
        for index in 0..sockets {
            let socket = hub.worker.borrow().sockets[index].duplicate()?;
            let readiness = socket.readiness()?;
            spawn_local(receive(hub.clone(), Arc::new(socket), readiness));
        }
        spawn_local(forwarded(hub.clone(), inboxes.datagrams));
        spawn_local(tcp::connections(hub.clone(), inboxes.connections));
        spawn_local(timers(hub.clone()));
        spawn_local(counts(hub.clone()));
        let mut commands = inboxes.commands;
        while let Some(command) = commands.recv().await {
            if let Command::Close(done) = command {
                hub.worker.borrow_mut().close(clock::now());
                hub.write_goodbyes().await;
                let _ = done.send(());
                break;
            }
            hub.handle(command);
        }
        Ok(())
    })
}

/// The worker's state and the timer task's bell.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) worker: Rc<RefCell<Worker>>,
    pub(super) changed: Rc<Notify>,
}

impl Hub {
    fn handle(&self, command: Command) {
        let now = clock::now();
        match command {
            Command::Join(joining, done) => {
                let feed = joining.feed.clone();
                let is_new = self.worker.borrow_mut().join(now, *joining);
                self.read_streams(&feed);
                if is_new {
                    spawn_local(follow(self.clone(), feed));
                }
                let _ = done.send(());
            }
            Command::Restart { session, registration, ufrag, pwd, remote_ufrag, done } => {
                let mut worker = self.worker.borrow_mut();
                let here = worker.restart(&session, registration, ufrag, &pwd, &remote_ufrag);
                let _ = done.send(here);
            }
            Command::Leave { session, done } => {
                let _ = done.send(self.worker.borrow_mut().leave(now, &session));
            }
            Command::Evict { session } => self.worker.borrow_mut().evict(now, &session),
            Command::Stats { feed, done } => {
                let _ = done.send(self.worker.borrow().viewer_stats(now, &feed));
            }
            Command::Close(done) => {
                let _ = done.send(());
            }
        }
        self.changed.notify_one();
    }

    /// Lets the tasks of TCP connections write what stands in their outboxes. Those that can, do so at once.
    async fn write_goodbyes(&self) {
        let deadline = tokio::time::Instant::now() + GOODBYE;
        while !self.worker.borrow().links.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Starts readers for the streams of a feed that have none.
    fn read_streams(&self, feed: &Feed) {
        let unread = self.worker.borrow().unread_streams(feed.id());
        for (key, kind) in unread {
            let task = spawn_local(read(self.clone(), feed.clone(), key, kind));
            self.worker.borrow_mut().set_reader(feed.id(), key, task.abort_handle());
        }
    }
}

/// Reads a socket.
async fn receive(hub: Hub, socket: Arc<Socket>, readiness: tokio::net::UdpSocket) {
    let size = DATAGRAM * socket.receive_segments();
    let mut storage = vec![0_u8; size * BUFFERS];
    let mut meta = [RecvMeta::default(); BUFFERS];
    loop {
        if let Err(error) = readiness.readable().await {
            tracing::error!(%error, local = %socket.local(), "the socket is broken");
            return;
        }
        let mut taken = 0;
        for _ in 0..RECEIVES {
            if taken >= DATAGRAMS {
                break;
            }
            let mut buffers: Vec<IoSliceMut<'_>> = storage.chunks_mut(size).map(IoSliceMut::new).collect();
            let result = readiness.try_io(Interest::READABLE, || socket.receive(&mut buffers, &mut meta));
            let count = match result {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // ICMP answers to what was sent before (a viewer's port that is closed) come as errors: go on.
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    continue;
                }
            };
            let now = clock::now();
            let mut worker = hub.worker.borrow_mut();
            for (meta, buffer) in meta.iter().zip(storage.chunks(size)).take(count) {
                let local = socket.local_for(meta.dst_ip);
                for datagram in buffer[..meta.len.min(size)].chunks(meta.stride.max(1)) {
                    worker.receive(now, local, meta.addr, datagram);
                    taken += 1;
                }
            }
        }
        hub.changed.notify_one();
        // A flood must not starve the fan-out.
        tokio::task::yield_now().await;
    }
}

/// Takes datagrams that came to other workers' sockets.
async fn forwarded(hub: Hub, mut datagrams: mpsc::Receiver<Datagram>) {
    while let Some(datagram) = datagrams.recv().await {
        hub.worker.borrow_mut().handle_forwarded(clock::now(), &datagram);
        hub.changed.notify_one();
    }
}

/// Does what becomes due.
async fn timers(hub: Hub) {
    loop {
        let next = hub.worker.borrow_mut().handle_timeout(clock::now());
        // What is due at once is due after the others' turn.
        tokio::task::yield_now().await;
        let due = async {
            match next {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = hub.changed.notified() => {}
        }
    }
}

/// Publishes counts and the report once a second.
async fn counts(hub: Hub) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        hub.worker.borrow_mut().publish_counts();
    }
}

/// Follows a feed's changes until it ends.
async fn follow(hub: Hub, feed: Feed) {
    let mut changes = feed.watch();
    loop {
        let info = changes.borrow_and_update().clone();
        let goes_on = hub.worker.borrow_mut().feed_changed(clock::now(), &feed, &info);
        hub.changed.notify_one();
        if !goes_on {
            return;
        }
        hub.read_streams(&feed);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Reads a stream from the bus and hands it on in batches: up to the end of a frame, or for at most [`COLLECT`].
async fn read(hub: Hub, feed: Feed, key: StreamKey, kind: TrackKind) {
    let mut changes = feed.watch();
    let mut subscriber = loop {
        // The group of pictures on the bus is what the first viewer joins at.
        if let Some(subscriber) = feed.subscribe(key, StartAt::Keyframe) {
            break subscriber;
        }
        if changes.changed().await.is_err() {
            return;
        }
    };
    let mut packets = Vec::new();
    let mut lost = 0;
    while subscriber.read(&mut packets, READ).await.is_ok() {
        let deadline = tokio::time::Instant::now() + COLLECT;
        while kind == TrackKind::Video
            && packets.len() < READ
            && packets.last().is_some_and(|packet| !packet.marker)
        {
            let more = timeout_at(deadline, subscriber.read(&mut packets, READ)).await;
            if !matches!(more, Ok(Ok(_))) {
                break;
            }
        }
        let hole = std::mem::replace(&mut lost, subscriber.lost()) != subscriber.lost();
        let from = hub.worker.borrow_mut().take_in(clock::now(), feed.id(), key, &mut packets, hole);
        let mut next = from.map(|from| (from, 0));
        while let Some((from, start)) = next {
            let end = hub.worker.borrow_mut().forward(clock::now(), feed.id(), key, from, start, VISITS);
            next = end.map(|end| (from, end));
            // Datagrams, timers and other feeds have their turn before the next viewers.
            tokio::task::yield_now().await;
        }
        hub.changed.notify_one();
    }
}
