//! Peers whose every datagram is in the test's hands, on the load generator's stack: they can repeat what they sent, ask for
//! everything again, move to another address, and send what no honest peer sends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bicast_load::core::answer::Answer;
use bicast_load::core::feed::Shape;
use bicast_load::core::ice::{Credentials, Transmit};
use bicast_load::core::offer::{self, LocalEnd};
use bicast_load::core::publisher::{Manner, Publisher};
use bicast_load::core::rtp::{Head, Kind};
use bicast_load::core::transport::{Event, Identity, Start, Transport};
use bicast_shared::clock;
use parking_lot::{Mutex, RwLock};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::http;
use crate::numbers::Numbers;
use crate::server::LOOPBACK;
use crate::wait::{self, GENEROUS};

/// How often a peer looks whether it has got another socket.
const LOOK: Duration = Duration::from_millis(50);
/// Datagrams that a publisher remembers for those who want to send them again.
const KEPT: usize = 4_000;

/// A peer without its socket.
trait Core: Send + 'static {
    fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> Event;
    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Event;
    fn poll_timeout(&self) -> Instant;
}

/// A peer that runs by itself until it is dropped.
struct Running<C> {
    core: Arc<Mutex<C>>,
    socket: Arc<RwLock<Arc<UdpSocket>>>,
    server: SocketAddr,
    over: Arc<Mutex<Option<&'static str>>>,
    task: JoinHandle<()>,
}

impl<C> Drop for Running<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn socket(ip: IpAddr) -> anyhow::Result<Arc<UdpSocket>> {
    Ok(Arc::new(UdpSocket::bind((ip, 0)).await?))
}

/// What a peer is made of once its offer has been answered.
struct Answered {
    socket: Arc<UdpSocket>,
    answer: Answer,
    local: Credentials,
    identity: Arc<Identity>,
    session: String,
}

impl Answered {
    async fn by(url: &str, write: impl FnOnce(&LocalEnd<'_>) -> String) -> anyhow::Result<Self> {
        let socket = socket(LOOPBACK[0]).await?;
        let random = || {
            let state = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), url);
            format!("{state:016x}")
        };
        let local = Credentials { ufrag: random(), pwd: random() + &random() };
        let identity = Arc::new(Identity::generate()?);
        let end = LocalEnd {
            session: 1,
            credentials: &local,
            fingerprint: &identity.fingerprint,
            address: socket.local_addr()?,
        };
        let reply = http::post_sdp(url, &write(&end)).await?.success()?;
        let session = crate::hls::resolve(url, reply.header("location"))?;
        Ok(Self { socket, answer: Answer::parse(&reply.text())?, local, identity, session })
    }

    fn server(&self) -> anyhow::Result<SocketAddr> {
        let found = self.answer.reachable(self.socket.local_addr()?, Some(LOOPBACK[0]));
        found.first().copied().context("the answer has no candidate for us")
    }

    fn start(&self) -> anyhow::Result<Start<'_>> {
        Ok(Start {
            now: clock::now(),
            identity: Arc::clone(&self.identity),
            local: self.local.clone(),
            answer: &self.answer,
            candidates: vec![self.server()?],
            seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1).to_be_bytes(),
        })
    }

    fn run<C: Core>(&self, core: C) -> anyhow::Result<Running<C>> {
        let core = Arc::new(Mutex::new(core));
        let socket = Arc::new(RwLock::new(Arc::clone(&self.socket)));
        let over = Arc::default();
        let task = tokio::spawn(run(Arc::clone(&core), Arc::clone(&socket), Arc::clone(&over)));
        Ok(Running { core, socket, server: self.server()?, over, task })
    }
}

async fn run<C: Core>(
    core: Arc<Mutex<C>>,
    socket: Arc<RwLock<Arc<UdpSocket>>>,
    over: Arc<Mutex<Option<&'static str>>>,
) {
    let mut buffer = vec![0; 2_048];
    loop {
        let current = Arc::clone(&socket.read());
        let due = core.lock().poll_timeout().min(clock::now() + LOOK);
        let mut out = Vec::new();
        let event = tokio::select! {
            received = current.recv_from(&mut buffer) => match received {
                Ok((length, from)) => core.lock().handle(clock::now(), from, &buffer[..length], &mut out),
                Err(_) => Event::Nothing,
            },
            () = tokio::time::sleep_until(due.into()) => core.lock().handle_timeout(clock::now(), &mut out),
        };
        for transmit in out {
            let _ = current.send_to(&transmit.bytes, transmit.to).await;
        }
        if let Event::Over(why) = event {
            *over.lock() = Some(why);
            return;
        }
    }
}

impl<C: Core> Running<C> {
    fn current(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.socket.read())
    }

    fn check(&self) -> anyhow::Result<()> {
        let over = *self.over.lock();
        anyhow::ensure!(over.is_none(), "the connection is over: {}", over.unwrap_or_default());
        Ok(())
    }
}

/// A viewer.
pub struct RawViewer {
    running: Running<Watching>,
    /// The names that the server's answer gave to its end of ICE.
    pub remote: Credentials,
    /// The viewer's own end.
    pub local: Credentials,
    /// The session's URL.
    pub session: String,
    video: u32,
}

struct Watching {
    transport: Transport,
    /// Sequence numbers received, by SSRC.
    streams: BTreeMap<u32, Numbers>,
    /// Packets that were not authentic.
    forged: u64,
}

impl Core for Watching {
    fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> Event {
        if Kind::of(bytes) != Some(Kind::Rtp) {
            return self.transport.handle(now, from, bytes, out);
        }
        let Some(head) = Head::read(bytes) else { return Event::Nothing };
        if self.transport.open_rtp(bytes).is_none() {
            self.forged += 1;
            return Event::Nothing;
        }
        self.streams.entry(head.ssrc).or_default().take(head.sequence);
        Event::Nothing
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Event {
        self.transport.handle_timeout(now, out)
    }

    fn poll_timeout(&self) -> Instant {
        self.transport.poll_timeout()
    }
}

impl RawViewer {
    /// Watches `url` (`http://HOST:PORT/whep/FEED`). It is connected when this returns.
    ///
    /// # Errors
    /// Where the server refuses or no connection comes about.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let answered = Answered::by(url, offer::viewer).await?;
        let core =
            Watching { transport: Transport::new(answered.start()?), streams: BTreeMap::new(), forged: 0 };
        let video = answered.answer.tracks.iter().find(|track| track.is_video()).and_then(|track| track.ssrc);
        let viewer = Self {
            running: answered.run(core)?,
            remote: answered.answer.credentials.clone(),
            local: answered.local.clone(),
            session: answered.session,
            video: video.context("the answer has no SSRC of video")?,
        };
        wait::until("the viewer is connected", GENEROUS, || async {
            viewer.running.check()?;
            Ok(viewer.running.core.lock().transport.is_connected().then_some(()))
        })
        .await?;
        Ok(viewer)
    }

    /// Where the server takes its datagrams.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        self.running.server
    }

    /// How many packets of video it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.running.core.lock().streams.get(&self.video).map_or(0, Numbers::count)
    }

    /// Packets that came and were not authentic.
    #[must_use]
    pub fn forged(&self) -> u64 {
        self.running.core.lock().forged
    }

    /// Waits until it has `more` packets of video than now.
    ///
    /// # Errors
    /// Where they do not come.
    pub async fn goes_on(&self, more: usize) -> anyhow::Result<()> {
        let before = self.count();
        wait::until("the viewer's picture goes on", GENEROUS, || async {
            self.running.check()?;
            Ok((self.count() >= before + more).then_some(()))
        })
        .await
    }

    /// A sealed NACK for the last `count` packets of video that it has received.
    ///
    /// # Errors
    /// Before any came.
    pub fn nack(&self, count: usize) -> anyhow::Result<Vec<u8>> {
        let mut core = self.running.core.lock();
        let newest = core.streams.get(&self.video).and_then(Numbers::last);
        let newest = newest.context("no packet has come")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "modulo 2^16 is meant")]
        let wire = |back: usize| (newest - i64::try_from(back).unwrap_or(0)) as u16;
        let nacks = (0..count.div_ceil(17))
            .map(|n| NackPair { packet_id: wire(n * 17 + 16), lost_packets: 0xffff })
            .collect();
        let nack = TransportLayerNack { sender_ssrc: 1, media_ssrc: self.video, nacks };
        let mut out = Vec::new();
        core.transport.send_rtcp(&[Box::new(nack)], &mut out);
        Ok(out.pop().context("there are no keys")?.bytes)
    }

    /// Sends bytes to the server from where the viewer is.
    ///
    /// # Errors
    /// Where the socket refuses.
    pub async fn send(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.running.current().send_to(bytes, self.running.server).await?;
        Ok(())
    }

    /// Moves to another address, as a telephone that leaves the house. Its next check comes from there.
    ///
    /// # Errors
    /// Where there is no socket.
    pub async fn move_away(&self) -> anyhow::Result<()> {
        *self.running.socket.write() = socket(LOOPBACK[0]).await?;
        Ok(())
    }
}

/// Begins a session and its handshake, and never goes on: a check, its answer, the ClientHello, silence.
///
/// # Errors
/// Where the server refuses, or does not answer the check.
pub async fn half_open(url: &str) -> anyhow::Result<()> {
    let answered = Answered::by(url, offer::viewer).await?;
    let mut transport = Transport::new(answered.start()?);
    let mut buffer = vec![0; 2_048];
    wait::until("a check is answered", GENEROUS, || {
        let mut out = Vec::new();
        transport.handle_timeout(clock::now(), &mut out);
        let socket = &answered.socket;
        if let Ok((length, from)) = socket.try_recv_from(&mut buffer) {
            transport.handle(clock::now(), from, &buffer[..length], &mut out);
        }
        let begun = out.iter().any(|transmit| Kind::of(&transmit.bytes) == Some(Kind::Dtls));
        for transmit in &out {
            let _ = socket.try_send_to(&transmit.bytes, transmit.to);
        }
        std::future::ready(Ok(begun.then_some(())))
    })
    .await
}

/// A publisher of a synthetic feed that keeps what it sent.
pub struct RawPublisher {
    running: Running<Publishing>,
    /// The session's URL.
    pub session: String,
}

struct Publishing {
    publisher: Publisher,
    /// Its last media as sent, with a number each.
    sent: Vec<Vec<u8>>,
}

impl Publishing {
    fn keep(&mut self, out: &[Transmit]) {
        for transmit in out {
            if matches!(Kind::of(&transmit.bytes), Some(Kind::Rtp | Kind::Rtcp)) && self.sent.len() < KEPT {
                self.sent.push(transmit.bytes.clone());
            }
        }
    }
}

impl Core for Publishing {
    fn handle(&mut self, now: Instant, from: SocketAddr, bytes: &[u8], out: &mut Vec<Transmit>) -> Event {
        self.publisher.handle(now, from, bytes, out)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Transmit>) -> Event {
        let event = self.publisher.handle_timeout(now, clock::utc(), out);
        self.keep(out);
        event
    }

    fn poll_timeout(&self) -> Instant {
        self.publisher.poll_timeout()
    }
}

impl RawPublisher {
    /// Publishes 15 pictures a second to `url` (`http://HOST:PORT/whip/FEED`), a keyframe every 2 s, 110 packets a second in all.
    ///
    /// # Errors
    /// Where the server refuses or no connection comes about.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let answered = Answered::by(url, |end| offer::publisher(end, true)).await?;
        let shape = Shape {
            packets_per_second: 60.0,
            frames_per_second: 15.0,
            keyframe_packets: 6,
            ..Shape::default()
        };
        let manner = Manner { deaf: false, pace: None, phase: Duration::ZERO };
        let core =
            Publishing { publisher: Publisher::new(answered.start()?, shape, manner), sent: Vec::new() };
        let publisher = Self { running: answered.run(core)?, session: answered.session };
        wait::until("the publisher is live", GENEROUS, || async {
            publisher.running.check()?;
            Ok(publisher.running.core.lock().publisher.is_live().then_some(()))
        })
        .await?;
        Ok(publisher)
    }

    /// The media datagrams that it has sent, sealed.
    #[must_use]
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.running.core.lock().sent.clone()
    }

    /// Sends bytes to the server from where the publisher is.
    ///
    /// # Errors
    /// Where the socket refuses.
    pub async fn send(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.running.current().send_to(bytes, self.running.server).await?;
        Ok(())
    }
}
