//! The packet path alone, for measuring: a worker with connected viewers, without its thread.
//!
//! Everything on the path is the real thing: history, rewriting, sealing, runs, counters, timers. Only the handshake is
//! left out: each viewer is given random keys by the constructor that the handshake uses.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedBus, FeedPublisher};
use bicast_shared::feed::info::{FeedSettings, PublisherInfo};
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::id::{FeedId, StreamKey, TrackId};
use bicast_shared::media::{Codec, TrackInfo};
use bicast_shared::packet::MediaPacket;
use bicast_shared::time::ClockRate;
use parking_lot::Mutex;
use rtc_srtp::config::SessionKeys;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::core::answer::{LocalEnd, negotiate, write};
use crate::core::candidates::{Candidate, Transport};
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

/// A worker with connected viewers of one video stream.
pub struct Fanout {
    worker: Worker,
    feed: FeedId,
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
        let publisher = bus.publish(&feed, tracks, info).map_err(|_| Error::NothingToBind)?;
        let socket = Socket::new(socket)?;
        let local = socket.local();
        let port = Port::new(vec![socket.duplicate()?], Vec::new(), Vec::new(), Vec::new());
        let shared = Arc::new(Shared {
            config: Config::default(),
            bus,
            port,
            identity: Identity::generate()?,
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let report: Arc<Mutex<WorkerReport>> = Arc::default();
        let mut worker = Worker::new(0, shared.clone(), vec![socket], report, Arc::new(Notify::new()));
        let seats = Seats::default();
        for (n, remote) in viewers.iter().enumerate() {
            let failed = |why: &str| Error::Certificate(why.to_owned());
            let offer = Offer::parse(OFFER).map_err(|error| failed(&error.to_string()))?;
            let source = publisher.feed().info();
            let agreement = negotiate(&offer, &source, shared.config.playout, rand::random::<u32>)
                .map_err(|_| failed("the offer was refused"))?;
            let end = LocalEnd {
                session: 0,
                ufrag: "",
                pwd: "",
                fingerprint: &shared.identity.fingerprint,
                candidates: &[Candidate { address: local, transport: Transport::Udp }],
                stream: feed.as_str(),
            };
            // Not sent to anybody; a viewer costs its answer, too.
            let _ = write(&offer, &agreement, &end);
            let id = format!("viewer-{n}");
            let session =
                Session { feed: feed.clone(), worker: 0, etag: String::new(), remote_ufrag: String::new() };
            let seat = seats
                .take(&shared.config.limits, id.clone(), session)
                .map_err(|_| failed("no seat is left"))?;
            let registration = shared.port.register(&id, Owner::Worker(0));
            let random = |len: usize| (0..len).map(|_| rand::random::<u8>()).collect::<Vec<u8>>();
            let keys = SessionKeys {
                local_master_key: random(16),
                local_master_salt: random(12),
                remote_master_key: random(16),
                remote_master_salt: random(12),
            };
            worker
                .insert_connected(
                    now,
                    publisher.feed(),
                    id,
                    agreement,
                    registration,
                    seat,
                    keys,
                    local,
                    *remote,
                )
                .ok_or_else(|| failed("no SRTP keys"))?;
        }
        Ok(Self { worker, feed, _publisher: publisher })
    }

    /// Gives every viewer these packets of [`STREAM`], as the stream's reader does.
    pub fn forward(&mut self, now: Instant, packets: &mut Vec<MediaPacket>) {
        self.worker.forward(now, &self.feed, STREAM, packets, false);
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
    pub fn sent(&self) -> (u64, u64, u64) {
        self.worker.sent()
    }
}
