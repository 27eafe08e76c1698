//! The talk with a running server: whether it is ready, and a publisher's session that ends before it begins.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::core::reply::Reply;
use bicast_publish::whip::{Session, Whip};
use bicast_publish::{Error, Token};
use hyper::Method;
use rand::Rng as _;
use serde::Deserialize;

use super::core::check::Checker;
use super::core::outcome::Probed;
use super::core::report::{Area, Finding, Level};
use super::core::sdp::{Answer, Candidate, Transport, offer};
use super::probe::probe;

/// How long an answer over HTTP may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that is to be examined.
pub(super) struct Server {
    endpoint: Endpoint,
    whip: Whip,
    feed: String,
    /// What its name stands for.
    pub(super) addresses: Vec<IpAddr>,
}

/// Who is at the address.
pub(super) enum Presence {
    /// A bicast, and the UDP addresses that it listens on.
    Bicast { findings: Vec<Finding>, udp: Vec<SocketAddr> },
    /// An HTTP server that does not say so.
    Something(Finding),
    /// Nobody who speaks HTTP. `free`: nothing listens there at all.
    Nothing { why: String, free: bool },
}

/// What `/readyz` says.
#[derive(Deserialize)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) reasons: Vec<String>,
    udp: Vec<SocketAddr>,
}

impl Server {
    /// Resolves the name of the server at `endpoint`, whose path does not matter.
    ///
    /// # Errors
    /// The finding that there is no such.
    pub(super) async fn find(endpoint: &Endpoint, token: Option<Token>) -> Result<Self, Finding> {
        let feed = format!("doctor-{}", name(8).to_lowercase());
        let place = endpoint.resolve(&format!("/whip/{feed}")).unwrap_or_else(|| endpoint.clone());
        let whip = Whip::new(place, token).map_err(|error| problem("reachable", first_line(&error)))?;
        let addresses = whip.servers().await;
        if addresses.is_empty() {
            let text = format!("The name of {} does not stand for any address here.", endpoint.origin());
            return Err(problem("name", text).next("Correct --url, or the name's records in the DNS."));
        }
        Ok(Self { endpoint: endpoint.clone(), whip, feed, addresses })
    }

    /// Asks whether it is ready.
    pub(super) async fn presence(&self) -> Presence {
        let url = self.endpoint.resolve("/readyz").unwrap_or_else(|| self.endpoint.clone());
        match self.whip.ask(Method::GET, &url, PATIENCE).await {
            Ok(reply) => self.readiness(&reply),
            Err(Error::Unreachable { reason, .. }) => {
                let free = reason.contains("refused");
                Presence::Nothing { why: reason, free }
            }
            Err(error) => Presence::Nothing { why: first_line(&error), free: false },
        }
    }

    fn readiness(&self, reply: &Reply) -> Presence {
        let origin = self.endpoint.origin();
        let Ok(told) = serde_json::from_slice::<Ready>(&reply.body) else {
            let text = format!(
                "{origin}/readyz answers {}, but not as bicast does: another program, or a proxy.",
                reply.status
            );
            return Presence::Something(
                new("ready", Level::Warning, text).next("See whether --url has bicast's host and port."),
            );
        };
        let mut findings = vec![match told.ready {
            true => new("ready", Level::Ok, format!("{origin} is ready.")),
            false => problem("ready", format!("{origin} is not ready: {}", line(&told.reasons.join(" ")))),
        }];
        if origin.starts_with("http:") && !self.addresses.iter().all(IpAddr::is_loopback) {
            let text = "It is asked over http: browsers publish from https pages only.";
            findings.push(
                new("https", Level::Note, text)
                    .next("Put TLS in front (docs/deployment.md), then use https."),
            );
        }
        Presence::Bicast { findings, udp: told.udp }
    }

    /// Begins a session as an encoder would, asks every address of the answer, and ends it. `own` are the UDP addresses
    /// that the server listens on, where it is on this machine: where peers are told none of its loopback, that is asked
    /// too, because it answers whatever the network does.
    pub(super) async fn rehearse(
        &self,
        own: impl Iterator<Item = SocketAddr>,
    ) -> (Vec<Finding>, Option<Vec<Probed>>) {
        let ufrag = name(8);
        let text = offer(rand::random::<u32>() >> 1, &ufrag, &name(24), &fingerprint());
        let session = match self.whip.publish(&text).await {
            Ok(session) => session,
            Err(error) => return (vec![self.refused(&error)], None),
        };
        let probed = match Answer::parse(&session.answer) {
            Ok(answer) => ask(&answer, &ufrag, own).await,
            Err(error) => Err(error.to_string()),
        };
        let mut findings = vec![self.end(&session).await];
        let probes =
            probed.map_err(|why| findings.push(problem("answer", format!("It cannot be asked: {why}."))));
        (findings, probes.ok())
    }

    async fn end(&self, session: &Session) -> Finding {
        let feed = &self.feed;
        let Some(url) = &session.url else {
            let text = "Its answer to WHIP has no Location: encoders cannot say that they leave.";
            return new("session", Level::Warning, text);
        };
        match self.whip.ask(Method::DELETE, url, PATIENCE).await {
            Ok(reply) if (200..300).contains(&reply.status) => new(
                "session",
                Level::Ok,
                format!("It gave {feed} a WHIP session, and ended it when told to."),
            ),
            Ok(reply) => {
                let text =
                    format!("The session of {feed} was not ended: DELETE {} answers {}.", url, reply.status);
                new("session", Level::Warning, text)
                    .next("It ends by itself; see what a proxy does to DELETE.")
            }
            Err(error) => {
                let text = format!("The session of {feed} was not ended: {}", first_line(&error));
                new("session", Level::Warning, text).next("It ends by itself.")
            }
        }
    }

    /// Why there was no session.
    fn refused(&self, error: &Error) -> Finding {
        let origin = self.endpoint.origin();
        match error {
            Error::TokenNeeded { .. } | Error::TokenRefused { .. } => {
                let text = "It wants to know who publishes: what it tells peers was not seen.";
                new("session", Level::Warning, text)
                    .next("Call this on the server itself, past what asks for a token.")
            }
            Error::NotWhip { .. } | Error::NoEndpoint { .. } | Error::Redirects(_) => problem(
                "session",
                format!("There is no bicast at {origin}: it has no WHIP endpoint under /whip/."),
            )
            .next("Correct --url: it is the address that `serve` prints, or that of the proxy in front."),
            Error::Unavailable { status, detail, .. } => {
                problem("session", format!("It gives no WHIP session ({status}): {detail}."))
                    .next("Try again when it is less busy, or see its log.")
            }
            Error::Refused { status, detail } => {
                problem("session", format!("It refuses a WHIP session ({status}): {detail}.")).next(
                    "See what stands between: a proxy must pass POST /whip/ with its body and its answer.",
                )
            }
            _ => problem("session", format!("It gives no WHIP session: {}", first_line(error))),
        }
    }
}

/// Asks all addresses at the same time.
async fn ask(
    answer: &Answer,
    our_ufrag: &str,
    own: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<Probed>, String> {
    let crypto = rtc::crypto::default_provider().map_err(|error| error.to_string())?;
    let checker = Checker::new(crypto, our_ufrag, &answer.ufrag, &answer.pwd, rand::random());
    let offered = answer.candidates.iter().map(|candidate| (*candidate, true));
    let has_loopback = answer.candidates.iter().any(|candidate| candidate.address.ip().is_loopback());
    let own = own.map(over_loopback).take(1).filter(|_| !has_loopback);
    let own = own.map(|address| (Candidate { transport: Transport::Udp, address }, false));
    let asking: Vec<_> = offered
        .chain(own)
        .map(|(candidate, offered)| (candidate, offered, tokio::spawn(probe(candidate, checker.clone()))))
        .collect();
    let mut probes = Vec::new();
    for (candidate, offered, outcome) in asking {
        let outcome = outcome.await.map_err(|error| error.to_string())?;
        probes.push(Probed::new(candidate, offered, outcome));
    }
    Ok(probes)
}

/// Where a process on this machine reaches a bound address.
fn over_loopback(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

fn new(check: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding::new(Area::Server, check, level, text)
}

fn problem(check: &'static str, text: impl Into<String>) -> Finding {
    new(check, Level::Problem, text)
}

/// The errors of the WHIP client say the next step of a publisher on their later lines.
fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What a server says, without anything that a terminal could take as a command.
fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// Letters and digits: what feeds, ufrags and ICE passwords may all be made of.
fn name(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// A SHA-256 fingerprint of no certificate.
fn fingerprint() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.map(|byte| format!("{byte:02X}")).join(":")
}
