//! The packet path alone, for measuring: a worker with connected viewers, without its thread.
//!
//! Everything on the path is the real thing: history, rewriting, sealing, runs, counters, timers, sender reports, and what
//! viewers say meanwhile (receiver reports, consent checks), read from the socket as the worker's thread reads it. Only the
//! handshake is left out: each viewer is given random keys by the constructor that the handshake uses.

mod peers;

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::feed::owner::RtpInput;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::feed::settings::FeedSettings;
use bicast_shared::id::{FeedId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ClockRate;
use bytes::Bytes;
use parking_lot::Mutex;
use quinn_udp::RecvMeta;
use rtc_srtp::config::SessionKeys;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::peers::Peer;
use crate::config::Config;
use crate::core::answer::{LocalEnd, Wishes, negotiate, write};
use crate::core::candidates::{Candidate, Transport};
use crate::core::ice::Credentials;
use crate::core::sdp::Offer;
use crate::error::Error;
use crate::port::{Owner, Port};
use crate::shared::{Identity, Shared};
use crate::socket::Socket;
use crate::status::WorkerReport;
use crate::worker::Worker;
use crate::worker::seat::{Seats, Session};

/// A browser's offer: what the viewers agree to.
const OFFER: &str = include_str!("core/fixtures/chromium-offer.sdp");
const H264: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

/// The stream that is fanned out.
pub const STREAM: StreamKey = StreamKey::new(TrackId(0), bicast_shared::id::RenditionId(0));

/// Receive buffers of the socket, each for what the kernel coalesced.
const BUFFERS: usize = 8;
const BUFFER: usize = 65_536;

/// A worker with connected viewers of one video stream.
pub struct Fanout {
    worker: Worker,
    feed: FeedId,
    /// Another handle to the worker's socket, to be read.
    socket: Socket,
    buffers: Vec<u8>,
    peers: Vec<Peer>,
    /// Counts that were published already.
    published: (u64, u64, u64),
    _publisher: FeedPublisher,
}

impl Fanout {
    /// One viewer at each address, all sent to from `socket`.
    ///
    /// # Errors
    /// What a worker cannot do without: a socket, a certificate.
    pub fn new(socket: UdpSocket, viewers: &[SocketAddr]) -> Result<Self, Error> {
        let now = clock::now();
        let feed: FeedId = "bench".parse().map_err(|_| Error::NothingToBind)?;
        let bus = FeedBus::new(FeedSettings::default(), RingLimits::default());
        let tracks = vec![TrackInfo::single(TrackId(0), Codec::H264, ClockRate::VIDEO, 0, H264.into())];
        let info =
            PublisherInfo { protocol: "bench".into(), agent: None, address: None, since: clock::utc() };
        let mut publisher = bus.publish(&feed, tracks, info).map_err(|_| Error::NothingToBind)?;
        // With its first packet a feed has a clock, without which no sender report could be made.
        publisher.rtp(now, STREAM, first_packet());
        let socket = Socket::new(socket)?;
        let readable = socket.duplicate()?;
        let port = Port::new(vec![socket.duplicate()?], Vec::new(), Vec::new(), Vec::new());
        let shared = Arc::new(Shared {
            config: Config::default(),
            bus,
            port,
            identity: Identity::generate()?,
            door: std::sync::OnceLock::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let report: Arc<Mutex<WorkerReport>> = Arc::default();
        let mut worker = Worker::new(0, shared.clone(), vec![socket], report, Arc::new(Notify::new()));
        let seats = Seats::default();
        let mut peers = Vec::new();
        for (n, remote) in viewers.iter().enumerate() {
            peers.push(insert(&mut worker, now, &publisher, &shared, &seats, n, *remote)?);
        }
        Ok(Self {
            worker,
            feed,
            socket: readable,
            buffers: vec![0; BUFFERS * BUFFER],
            peers,
            published: (0, 0, 0),
            _publisher: publisher,
        })
    }

    /// Where its viewers send to.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    /// What a browser says once a second: a receiver report.
    pub fn report(&mut self, viewer: usize) -> Option<Vec<u8>> {
        self.peers.get_mut(viewer)?.report()
    }

    /// What a browser says every 2.5 s: a consent check.
    pub fn check(&mut self, viewer: usize) -> Option<Vec<u8>> {
        self.peers.get_mut(viewer)?.check()
    }

    /// Takes what has come from viewers, as the worker's thread does.
    pub fn receive(&mut self, now: Instant) {
        let mut meta = [RecvMeta::default(); BUFFERS];
        loop {
            let mut buffers: Vec<IoSliceMut<'_>> =
                self.buffers.chunks_mut(BUFFER).map(IoSliceMut::new).collect();
            let Ok(count) = self.socket.receive(&mut buffers, &mut meta) else { return };
            for (meta, buffer) in meta.iter().zip(self.buffers.chunks(BUFFER)).take(count) {
                let local = self.socket.local_for(meta.dst_ip);
                for datagram in buffer[..meta.len.min(BUFFER)].chunks(meta.stride.max(1)) {
                    self.worker.receive(now, local, meta.addr, datagram);
                }
            }
        }
    }

    /// Publishes its counts, as the worker does once a second.
    pub fn publish_counts(&mut self) {
        self.published = self.sent();
        self.worker.publish_counts();
    }

    /// Gives every viewer these packets of [`STREAM`], as the stream's reader does.
    pub fn forward(&mut self, now: Instant, packets: &mut Vec<MediaPacket>) {
        self.worker.take_and_forward(now, &self.feed, STREAM, packets, false);
    }

    /// Does what has become due, as the timer task does.
    pub fn tick(&mut self, now: Instant) {
        self.worker.handle_timeout(now);
    }

    /// Whether any viewer is still behind (just joined).
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.worker.is_behind()
    }

    /// Packets handed to the kernel, packets that it did not take, and system calls, so far.
    #[must_use]
    pub const fn sent(&self) -> (u64, u64, u64) {
        let (before, since) = (self.published, self.worker.sent());
        (before.0 + since.0, before.1 + since.1, before.2 + since.2)
    }
}

/// Takes a viewer in that has just connected, and returns its end.
fn insert(
    worker: &mut Worker,
    now: Instant,
    publisher: &FeedPublisher,
    shared: &Shared,
    seats: &Seats,
    n: usize,
    remote: SocketAddr,
) -> Result<Peer, Error> {
    let failed = |why: &str| Error::Certificate(why.to_owned());
    let (feed, local) = (publisher.feed(), worker.local());
    let offer = Offer::parse(OFFER).map_err(|error| failed(&error.to_string()))?;
    let agreement = negotiate(
        &offer,
        &feed.info(),
        Wishes { playout: feed.info().settings.playout, rendition: None },
        rand::random::<u32>,
    )
    .map_err(|_| failed("the offer was refused"))?;
    let id = format!("viewer-{n}");
    let end = LocalEnd {
        session: 0,
        ufrag: &id,
        pwd: peers::PASSWORD,
        fingerprint: &shared.identity.fingerprint,
        candidates: &[Candidate { address: local, transport: Transport::Udp }],
        stream: feed.id().as_str(),
    };
    // Not sent to anybody; a viewer costs its answer, too.
    let _ = write(&offer, &agreement, &end);
    let session = Session {
        feed: feed.id().clone(),
        worker: 0,
        etag: String::new(),
        remote_ufrag: String::new(),
        grant: None,
        label: None,
    };
    let seat = seats.take(clock::now(), &shared.config.limits, id.clone(), session);
    let (seat, _) = seat.map_err(|_| failed("no seat is left"))?;
    let registration = shared.port.register(&id, Owner::Worker(0));
    let random = |len: usize| (0..len).map(|_| rand::random::<u8>()).collect::<Vec<u8>>();
    let keys = SessionKeys {
        local_master_key: random(16),
        local_master_salt: random(12),
        remote_master_key: random(16),
        remote_master_salt: random(12),
    };
    let ssrc = agreement.tracks.first().map_or(0, |track| track.spec.ssrc);
    let peer = Peer::new(&id, ssrc, &keys, &shared.identity.crypto).ok_or_else(|| failed("no SRTP keys"))?;
    let credentials = Credentials::new(&id, peers::PASSWORD, peers::NAME);
    worker
        .insert_connected(now, feed, id, agreement, registration, credentials, seat, keys, remote)
        .ok_or_else(|| failed("no SRTP keys"))?;
    Ok(peer)
}

/// The beginning of a keyframe.
fn first_packet() -> RtpInput {
    RtpInput {
        sequence_number: 0,
        timestamp: 0,
        marker: true,
        payload: Bytes::from_static(&[0x65, 0x88]),
        orientation: None,
        composition_offset: None,
    }
}
