//! One publisher's session: a task that owns the transport and the receiver, and writes to the feed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bicast_shared::feed::bus::{FeedPublisher, PublishError, Upstream};
use bicast_shared::feed::info::PublisherInfo;
use bicast_shared::id::FeedId;
use bicast_shared::time::ProgramTime;
use tokio::sync::{mpsc, oneshot};

use super::config::IngestConfig;
use super::core::answer::{Local, restart_fragment};
use super::core::negotiate::Negotiation;
use super::core::receiver::{Output, Receiver};
use super::counts::Reported;
use super::standby::Waiting;
use super::transport::{Input, Transmit, Transport};
use crate::core::demux::{Ignored, Kind};
use crate::core::fragment::Fragment;
use crate::core::ice::Credentials;
use crate::handshake::Failure;
use crate::http::{etag, random_name};
use crate::port::{Datagram, Owner, Registration, Via};
use crate::shared::Shared;
use crate::tcp::Refused;
use crate::tcp::authentic::Authentic;

/// Datagrams waiting for the session. 20 ms of 50 Mbit/s; what does not fit is dropped, counted and repaired by NACK.
pub(crate) const INBOX: usize = 512;
/// Datagrams taken before sending and timers have their turn.
const BATCH: usize = 64;
/// How often the counters go to the metrics.
const REPORT: Duration = Duration::from_secs(1);

/// What HTTP asks of a session.
#[derive(Debug)]
pub(crate) enum Command {
    /// A PATCH: the fragment and what `If-Match` said.
    Patch { fragment: Fragment, if_match: String, reply: oneshot::Sender<Patched> },
    /// A DELETE. The reply comes when the feed is offline.
    Leave { reply: oneshot::Sender<()> },
}

/// What became of a PATCH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Patched {
    /// The candidates were taken.
    Trickled,
    /// ICE restarted: the fragment and the new entity tag.
    Restarted { fragment: String, etag: String },
    /// `If-Match` names another ICE session; this is the current one's entity tag.
    Mismatch { etag: String },
    /// A restart that changes no credentials.
    NothingNew,
}

/// Everything a session is made of.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: IngestConfig,
    pub(crate) feed: FeedId,
    pub(crate) agent: Option<String>,
    pub(crate) since: ProgramTime,
    /// Whether it waits where the feed has a publisher; otherwise it leaves.
    pub(crate) may_wait: bool,
    pub(crate) decided: Negotiation,
    pub(crate) local: Local,
    pub(crate) transport: Transport,
    pub(crate) registration: Registration,
    pub(crate) inbox: (mpsc::Sender<Datagram>, mpsc::Receiver<Datagram>),
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    NotConnected,
    WrongCertificate,
    HandshakeFailed,
    Silent,
    SaidGoodbye,
    Deleted,
    FeedEnded,
    Taken,
    Displaced,
    Closing,
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "not-connected",
            Self::WrongCertificate => "wrong-certificate",
            Self::HandshakeFailed => "handshake-failed",
            Self::Silent => "silent",
            Self::SaidGoodbye => "goodbye",
            Self::Deleted => "deleted",
            Self::FeedEnded => "feed-ended",
            Self::Taken => "feed-taken",
            Self::Displaced => "displaced",
            Self::Closing => "closing",
        }
    }
}

impl Session {
    /// Runs until the publisher leaves or is gone, then gives up its place.
    pub(crate) async fn run<P>(self, place: P) {
        let mut running = Running::new(self);
        let (end, reply) = running.run().await;
        running.finish(end);
        drop(running);
        // Before the answer to a DELETE: whoever gets it may publish under the same name at once.
        drop(place);
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

struct Running {
    session: Session,
    receiver: Receiver,
    publisher: Option<FeedPublisher>,
    waiting: Option<Waiting>,
    began: Instant,
    alive: Instant,
    next_report: Instant,
    reported: Reported,
    former_registration: Option<Registration>,
    /// TCP connections that are the publisher's.
    connections: Authentic,
}

/// What happened.
enum Event {
    Datagram(Datagram),
    Command(Command),
    Upstream(Upstream),
    /// A standby publisher's turn has come; false when the feed has ended instead.
    Turn(bool),
    Timeout,
    Closing,
}

impl Running {
    fn new(session: Session) -> Self {
        let now = clock::now();
        let receiver = Receiver::new(now, rand::random(), &session.decided);
        Self {
            session,
            receiver,
            publisher: None,
            waiting: None,
            began: now,
            alive: now,
            next_report: now + REPORT,
            reported: Reported::default(),
            former_registration: None,
            connections: Authentic::default(),
        }
    }

    async fn run(&mut self) -> (End, Option<oneshot::Sender<()>>) {
        loop {
            match self.next().await {
                Event::Datagram(datagram) => {
                    if let Some(end) = self.datagrams(datagram) {
                        return (end, None);
                    }
                }
                Event::Command(Command::Patch { fragment, if_match, reply }) => {
                    let patched = self.patch(fragment, &if_match);
                    let _ = reply.send(patched);
                }
                Event::Command(Command::Leave { reply }) => return (End::Deleted, Some(reply)),
                Event::Upstream(Upstream::Keyframe(tracks)) => self.receiver.request_keyframe(&tracks),
                Event::Upstream(Upstream::Leave) | Event::Turn(false) => return (End::FeedEnded, None),
                Event::Upstream(Upstream::Displaced) => return (End::Displaced, None),
                Event::Turn(true) => {
                    tracing::info!(feed = %self.session.feed, "the standby publisher takes over at its next keyframe");
                }
                Event::Closing => return (End::Closing, None),
                Event::Timeout => {}
            }
            let now = clock::now();
            self.receiver.handle_timeout(now);
            self.session.transport.handle_timeout(now);
            let wanted = self.waiting.as_mut().map(|waiting| waiting.poll_keyframe_request(now));
            if let Some(tracks) = wanted.filter(|tracks| !tracks.is_empty()) {
                self.receiver.request_keyframe(&tracks);
            }
            self.deliver();
            self.send();
            if let Some(end) = self.overdue(now) {
                return (end, None);
            }
        }
    }

    async fn next(&mut self) -> Event {
        // Never in the past, so that a timer that cannot be served does not become a busy loop.
        let wake = self.wake().max(clock::now() + Duration::from_millis(1));
        let publisher = &mut self.publisher;
        let upstream = async {
            match publisher {
                Some(publisher) => publisher.upstream().await,
                None => std::future::pending().await,
            }
        };
        let waiting = &mut self.waiting;
        let turn = async {
            match waiting {
                Some(waiting) => waiting.turn().await,
                None => std::future::pending().await,
            }
        };
        let session = &mut self.session;
        tokio::select! {
            biased;
            () = session.shared.closing.cancelled() => Event::Closing,
            Some(command) = session.commands.recv() => Event::Command(command),
            // Before the datagrams: a keyframe request must not wait for a lull.
            upstream = upstream => Event::Upstream(upstream),
            turn = turn => Event::Turn(turn),
            Some(datagram) = session.inbox.1.recv() => Event::Datagram(datagram),
            () = tokio::time::sleep_until(wake.into()) => Event::Timeout,
        }
    }

    fn wake(&self) -> Instant {
        let standby = self.waiting.as_ref().and_then(Waiting::poll_timeout);
        let timers = [self.receiver.poll_timeout(), self.session.transport.poll_timeout(), standby];
        let patience = if self.is_connected() {
            self.alive + self.session.settings.silence_timeout()
        } else {
            self.began + self.session.settings.connect_timeout()
        };
        timers.into_iter().flatten().fold(patience.min(self.next_report), Instant::min)
    }

    const fn is_connected(&self) -> bool {
        self.publisher.is_some() || self.waiting.is_some()
    }

    /// Takes a datagram and those that wait behind it.
    fn datagrams(&mut self, first: Datagram) -> Option<End> {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(datagram) = next else { break };
            if let Some(end) = self.datagram(&datagram) {
                return Some(end);
            }
            next = self.session.inbox.1.try_recv().ok();
        }
        // One that was taken from the queue must not be lost to the end of the batch.
        next.and_then(|datagram| self.datagram(&datagram))
    }

    fn datagram(&mut self, datagram: &Datagram) -> Option<End> {
        let now = datagram.received;
        let Session { transport, shared, .. } = &mut self.session;
        let stranger = match datagram.via {
            Via::Tcp(id) if !self.connections.contains(id) => Some(id),
            _ => None,
        };
        // Over TCP, too, nothing counts before a check was authentic.
        let input = match (stranger, Kind::of(&datagram.bytes)) {
            (Some(_), Some(Kind::Dtls | Kind::Rtp)) => Err(Ignored::UnknownAddress),
            _ => transport.handle_datagram(now, datagram, &shared.identity),
        };
        let input = match input {
            Ok(input) => input,
            Err(reason) => {
                shared.port.ignore(datagram.via, reason);
                if let Some(id) = stranger {
                    shared.port.refuse(Refused::NotAuthentic, datagram.remote);
                    shared.port.disconnect(id);
                }
                return None;
            }
        };
        match input {
            Input::Nothing => return None,
            Input::Checked { remote, restarted } => {
                match datagram.via {
                    Via::Udp => {
                        if !self.session.registration.knows(remote) {
                            tracing::debug!(feed = %self.session.feed, %remote, "publisher checked a path");
                        }
                        self.session.registration.learn(remote);
                    }
                    Via::Tcp(id) => {
                        let in_use = self.session.transport.connection();
                        if let Some(oldest) = self.connections.add(id, in_use) {
                            self.session.shared.port.disconnect(oldest);
                        }
                    }
                }
                if restarted {
                    self.former_registration = None;
                }
            }
            Input::Failed(Failure::WrongCertificate) => return Some(End::WrongCertificate),
            Input::Failed(_) => return Some(End::HandshakeFailed),
            Input::Connected => {
                self.send();
                if let Some(end) = self.connected() {
                    return Some(end);
                }
            }
            Input::Closed => return Some(End::SaidGoodbye),
            Input::Rtp(packet) => self.receiver.handle_rtp(now, packet),
            Input::Rtcp(packets) => self.receiver.handle_rtcp(now, &packets),
        }
        self.alive = self.alive.max(now);
        self.deliver();
        None
    }

    /// The handshake is complete: from here on media can come, so the feed begins.
    fn connected(&mut self) -> Option<End> {
        if self.is_connected() {
            return None;
        }
        let session = &self.session;
        let address = session.transport.remote().map(|remote| remote.to_string());
        let info = PublisherInfo {
            protocol: "whip".into(),
            agent: session.agent.clone(),
            address: address.clone(),
            since: session.since,
        };
        match session.shared.bus.publish(&session.feed, session.decided.tracks(), info.clone()) {
            Ok(publisher) => {
                let took = clock::now().saturating_duration_since(self.began);
                tracing::info!(
                    feed = %session.feed,
                    address = address.as_deref().unwrap_or("-"),
                    agent = session.agent.as_deref().unwrap_or("-"),
                    took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    "publisher connected"
                );
                self.publisher = Some(publisher);
                None
            }
            Err(PublishError::AlreadyPublished) if session.may_wait => {
                let Some(standby) = session.shared.bus.stand_by(&session.feed, info) else {
                    // It has left between the two questions.
                    return self.connected();
                };
                tracing::info!(feed = %session.feed, address = address.as_deref().unwrap_or("-"), "a publisher stands by");
                self.waiting = Some(Waiting::new(standby, session.decided.tracks()));
                None
            }
            Err(PublishError::AlreadyPublished) => Some(End::Taken),
            Err(error) => {
                tracing::warn!(feed = %session.feed, %error, "the feed does not take this publisher");
                Some(End::Taken)
            }
        }
    }

    /// Hands on what the packets led to.
    fn deliver(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            if let Some(waiting) = &mut self.waiting {
                let Some((mut publisher, first)) = waiting.handle(output) else { continue };
                first.into_iter().for_each(|output| write(&mut publisher, output));
                tracing::info!(feed = %self.session.feed, "a publisher has taken over");
                (self.publisher, self.waiting) = (Some(publisher), None);
            } else if let Some(publisher) = &mut self.publisher {
                write(publisher, output);
            }
        }
    }

    /// Sends what has to be sent.
    fn send(&mut self) {
        while let Some(compound) = self.receiver.poll_rtcp() {
            self.session.transport.send_rtcp(&compound);
        }
        while let Some(transmit) = self.session.transport.poll_transmit() {
            // A full buffer or an unreachable publisher: what matters is sent again, by us or by the publisher.
            let Transmit { via, local, remote, bytes } = transmit;
            if let Err(error) = self.session.shared.port.send(via, local, remote, &bytes) {
                if let (Via::Tcp(id), io::ErrorKind::NotConnected) = (via, error.kind()) {
                    self.connections.remove(id);
                    self.session.transport.lose(id);
                }
                metrics::counter!("bicast_ingest_send_errors_total").increment(1);
                tracing::debug!(feed = %self.session.feed, %remote, %error, "cannot send");
            }
        }
    }

    fn overdue(&mut self, now: Instant) -> Option<End> {
        if now >= self.next_report {
            self.next_report = now + REPORT;
            self.reported.publish(&self.receiver.counters(now));
        }
        let settings = &self.session.settings;
        if self.is_connected() {
            let silent = now.saturating_duration_since(self.alive) >= settings.silence_timeout();
            silent.then_some(End::Silent)
        } else {
            let late = now.saturating_duration_since(self.began) >= settings.connect_timeout();
            late.then_some(End::NotConnected)
        }
    }

    fn patch(&mut self, fragment: Fragment, if_match: &str) -> Patched {
        let current = etag(&self.session.local.ufrag);
        let any = if_match.trim() == "*";
        if !any && !if_match.split(',').any(|tag| tag.trim() == current) {
            return Patched::Mismatch { etag: current };
        }
        let before = (&self.session.decided.ufrag, &self.session.decided.pwd);
        match fragment.credentials {
            Some((ufrag, pwd)) if (&ufrag, &pwd) != before => self.restart(ufrag, pwd),
            // `*` is how a restart is asked for (RFC 9725, 4.3.3).
            None if any && fragment.candidates == 0 => Patched::NothingNew,
            _ => Patched::Trickled,
        }
    }

    fn restart(&mut self, remote_ufrag: String, remote_pwd: String) -> Patched {
        let session = &mut self.session;
        (session.decided.ufrag, session.decided.pwd) = (remote_ufrag, remote_pwd);
        session.local.ufrag = random_name(12);
        session.local.pwd = random_name(32);
        session.transport.restart(Credentials::new(
            &session.local.ufrag,
            &session.local.pwd,
            &session.decided.ufrag,
        ));
        let owner = Owner::Peer(session.inbox.0.clone());
        let registration = session.shared.port.register(&session.local.ufrag, owner);
        self.former_registration = Some(std::mem::replace(&mut session.registration, registration));
        tracing::debug!(feed = %session.feed, "ICE restarts");
        Patched::Restarted {
            fragment: restart_fragment(&session.decided, &session.local),
            etag: etag(&session.local.ufrag),
        }
    }

    fn finish(&mut self, end: End) {
        let now = clock::now();
        self.session.transport.close(now);
        self.send();
        let counters = self.receiver.counters(now);
        self.reported.publish(&counters);
        self.reported.clear();
        metrics::counter!("bicast_ingest_sessions_total", "end" => end.name()).increment(1);
        let feed = &self.session.feed;
        if self.is_connected() {
            tracing::info!(
                %feed,
                end = end.name(),
                packets = counters.packets,
                lost = counters.lost,
                recovered = counters.recovered,
                nacks = counters.nacks,
                unknown = counters.unknown_ssrc + counters.unknown_payload_type,
                "publisher left"
            );
        } else if end == End::WrongCertificate {
            tracing::warn!(%feed, "a publisher's certificate is not the one of its offer: somebody is between, or its software is broken");
        } else {
            tracing::info!(%feed, end = end.name(), "publisher did not come");
        }
    }
}

/// Writes to the feed what was received.
fn write(publisher: &mut FeedPublisher, output: Output) {
    match output {
        Output::Rtp { now, key, input } => publisher.rtp(now, key, input),
        Output::SenderReport { now, key, ntp, rtp_timestamp } => {
            publisher.sender_report(now, key, ntp, rtp_timestamp);
        }
        Output::Broken(track) => publisher.feed().request_keyframe(track),
    }
}
