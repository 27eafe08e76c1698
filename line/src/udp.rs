//! Datagrams through a line: each viewer's socket has one of its own towards the SFU.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::core::way::Verdict;
use crate::line::{Lane, Line, towards};

/// Sockets of viewers that a line serves at the same time.
const FLOWS: usize = 32;
/// A flow without a datagram for so long ends: ICE checks come far more often.
const IDLE: Duration = Duration::from_secs(30);
/// Datagrams that wait for their flow's task. It has nothing else to do.
const QUEUE: usize = 256;
/// What one call may receive: the kernel puts datagrams of one sender together (GRO).
const RECEIVE: usize = 64 << 10;
/// The largest datagram that passes. Media and ICE fit into Ethernet frames.
const LARGEST: usize = 2_048;

/// Who a datagram is from, and which of our addresses it was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Viewer {
    peer: SocketAddr,
    ours: Option<IpAddr>,
}

/// The viewers' side: a socket that tells which address a datagram came to, and answers from there.
struct Front {
    socket: UdpSocket,
    state: UdpSocketState,
    any: bool,
}

impl Front {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let any = socket.local_addr()?.ip().is_unspecified();
        Ok(Self { socket, state, any })
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut meta = [RecvMeta::default()];
        let receive = || self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(buffer)], &mut meta);
        self.socket.async_io(Interest::READABLE, receive).await?;
        Ok(meta[0])
    }

    fn send(&self, viewer: Viewer, contents: &[u8]) -> io::Result<()> {
        let transmit = Transmit {
            destination: viewer.peer,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: viewer.ours.filter(|_| self.any),
        };
        // Not through tokio, which takes a socket for full until it has heard otherwise: the first datagram would be lost.
        self.state.try_send((&self.socket).into(), &transmit)
    }
}

/// Serves a line's UDP port on one address, for as long as it is polled.
pub(crate) async fn relay(line: Arc<Line>, socket: UdpSocket, sfu: SocketAddr) {
    let front = match Front::new(socket) {
        Ok(front) => Arc::new(front),
        Err(error) => return tracing::warn!(%error, port = line.port, "a demo line has no UDP"),
    };
    let mut flows: HashMap<Viewer, mpsc::Sender<Bytes>> = HashMap::new();
    let mut buffer = vec![0; RECEIVE];
    loop {
        let meta = match front.receive(&mut buffer).await {
            Ok(meta) => meta,
            Err(error) => {
                // An ICMP message about what was sent before; the pause keeps anything else from spinning.
                tracing::debug!(%error, port = line.port, "UDP of a demo line");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        let viewer = Viewer { peer: meta.addr, ours: meta.dst_ip };
        let received = buffer.get(..meta.len).unwrap_or_default();
        for datagram in received.chunks(meta.stride.max(1)) {
            if datagram.len() > LARGEST || !pass(&line, &front, &mut flows, viewer, datagram, sfu) {
                line.from_viewer.udp_dropped();
            }
        }
    }
}

/// Gives a datagram to its flow, which is begun where there is none. Tells whether that has taken it.
fn pass(
    line: &Arc<Line>,
    front: &Arc<Front>,
    flows: &mut HashMap<Viewer, mpsc::Sender<Bytes>>,
    viewer: Viewer,
    datagram: &[u8],
    sfu: SocketAddr,
) -> bool {
    let flow = flows.get(&viewer).filter(|flow| !flow.is_closed());
    let flow = match flow {
        Some(flow) => flow,
        None => {
            flows.retain(|_, flow| !flow.is_closed());
            if flows.len() >= FLOWS {
                return false;
            }
            let back = match towards(sfu) {
                Ok(back) => back,
                Err(error) => {
                    tracing::warn!(%error, %sfu, "a demo line has no socket towards the SFU");
                    return false;
                }
            };
            let (sender, datagrams) = mpsc::channel(QUEUE);
            let flow = Flow::new(Arc::clone(line), Arc::clone(front), viewer, back);
            line.tasks.spawn(line.closing.clone().run_until_cancelled_owned(flow.run(datagrams)));
            flows.entry(viewer).insert_entry(sender).into_mut()
        }
    };
    flow.try_send(Bytes::copy_from_slice(datagram)).is_ok()
}

/// The datagrams of one viewer's socket.
struct Flow {
    line: Arc<Line>,
    front: Arc<Front>,
    viewer: Viewer,
    back: UdpSocket,
    /// What is under way in both directions, soonest first. Bounded by the ways.
    under_way: BinaryHeap<Reverse<Datagram>>,
    count: u64,
}

/// A datagram under way. Ordered by when it arrives, then as they came.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Datagram {
    at: Instant,
    number: u64,
    to_viewer: bool,
    contents: Bytes,
}

impl Flow {
    fn new(line: Arc<Line>, front: Arc<Front>, viewer: Viewer, back: UdpSocket) -> Self {
        Self { line, front, viewer, back, under_way: BinaryHeap::new(), count: 0 }
    }

    async fn run(mut self, mut from_viewer: mpsc::Receiver<Bytes>) {
        let mut buffer = vec![0; LARGEST + 1];
        let mut silent = clock::now();
        loop {
            let next = self.under_way.peek().map_or(silent + IDLE, |Reverse(datagram)| datagram.at);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {
                    let now = clock::now();
                    if self.under_way.is_empty() && now >= silent + IDLE {
                        return;
                    }
                    self.deliver(now);
                    continue;
                }
                contents = from_viewer.recv() => match contents {
                    Some(contents) => self.take(false, contents),
                    None => return,
                },
                received = self.back.recv(&mut buffer) => match received {
                    Ok(size) if size <= LARGEST => self.take(true, Bytes::copy_from_slice(&buffer[..size])),
                    Ok(_) => self.line.to_viewer.udp_dropped(),
                    // The SFU's port is closed: it is about to end, or starts anew.
                    Err(error) => tracing::debug!(%error, "UDP towards the SFU"),
                },
            }
            silent = clock::now();
        }
    }

    fn lane(&self, to_viewer: bool) -> &Lane {
        if to_viewer { &self.line.to_viewer } else { &self.line.from_viewer }
    }

    /// A datagram enters the line.
    fn take(&mut self, to_viewer: bool, contents: Bytes) {
        let now = clock::now();
        let lane = self.lane(to_viewer);
        let verdict = lane.way.lock().packet(now, contents.len());
        let Verdict::Arrives(at) = verdict else { return lane.udp_dropped() };
        self.count += 1;
        self.under_way.push(Reverse(Datagram { at, number: self.count, to_viewer, contents }));
        if at <= now {
            self.deliver(now);
        }
    }

    fn due(&mut self, now: Instant) -> Option<Datagram> {
        let soonest = self.under_way.peek_mut().filter(|soonest| soonest.0.at <= now)?;
        Some(PeekMut::pop(soonest).0)
    }

    /// Sends on what has passed the line by now.
    fn deliver(&mut self, now: Instant) {
        while let Some(Datagram { to_viewer, contents, .. }) = self.due(now) {
            let lane = self.lane(to_viewer);
            let passes = {
                let mut way = lane.way.lock();
                way.arrived(contents.len());
                way.lets_udp_pass()
            };
            let sent = passes
                && if to_viewer {
                    self.front.send(self.viewer, &contents).is_ok()
                } else {
                    SockRef::from(&self.back).send(&contents).is_ok()
                };
            if sent { lane.udp_arrived(&self.line, contents.len()) } else { lane.udp_dropped() }
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // What was under way when the flow ended is so no longer: the line's allowance is shared.
        for Reverse(datagram) in self.under_way.drain() {
            let lane = if datagram.to_viewer { &self.line.to_viewer } else { &self.line.from_viewer };
            lane.way.lock().arrived(datagram.contents.len());
        }
    }
}
