//! All roles in one process: the feed bus, the rooms on it, and one HTTP server in front of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bicast_line::Lines;
use bicast_packager::Packager;
use bicast_sfu::Sfu;
use bicast_shared::feed::bus::FeedBus;
use bicast_shared::feed::ring::RingLimits;
use bicast_shared::status::PackagerStatus;
use bicast_signaling::Signaling;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::auth::{self, Auth, KeysError};
use crate::config::Config;
use crate::http::app::{Rules, app};
use crate::http::health::{self, Readiness};
use crate::http::listen::listen;
use crate::http::pages::Pages;
use crate::http::server::Server;
use crate::http::tls::{Tls, TlsError};
use crate::load;
use crate::metrics::Metrics;
use crate::openapi;

/// How long a room may take to end before the next step is taken without it.
const ROOM_ENDS_WITHIN: Duration = Duration::from_secs(3);
/// How long connections may take to finish the answers they are giving.
const CONNECTIONS_END_WITHIN: Duration = Duration::from_secs(1);

/// A running gateway.
pub struct Gateway {
    bus: FeedBus,
    sfu: Arc<Sfu>,
    packager: Packager,
    packaged: watch::Receiver<std::sync::Arc<PackagerStatus>>,
    lines: Option<Lines>,
    server: Server,
    readiness: Readiness,
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    drain: Duration,
    access: Access,
    /// Ends what keeps keys fresh and sessions within their rights.
    _auth: DropGuard,
}

/// Who may use a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Who has a token.
    Tokens,
    /// Everybody on this machine.
    Local,
    /// Everybody who can reach it.
    Open,
}

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An HTTP address could not be listened on.
    #[error("{}", explain_http(*address, error))]
    Http {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said. The message says it already.
        error: io::Error,
    },
    /// Others than this machine could reach it, and there are no keys.
    #[error("{}", explain_no_keys(*address))]
    NoKeys {
        /// An address that others can reach.
        address: SocketAddr,
    },
    /// The keys could not be loaded.
    #[error(transparent)]
    Keys(KeysError),
    /// There is no certificate for HTTPS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The kernel does not have this congestion control.
    #[error(
        "the congestion control {algorithm:?} (setting http.tcp.congestion_control) cannot be had: {error}.\n  `sysctl net.ipv4.tcp_available_congestion_control` lists what this kernel has; others are modules: `modprobe tcp_{algorithm}`."
    )]
    CongestionControl {
        /// Its name.
        algorithm: String,
        /// What the system said.
        error: io::Error,
    },
    /// The WebRTC side could not start.
    #[error("{}", explain_sfu(.0))]
    Sfu(bicast_sfu::Error),
    /// The folder for stored segments cannot be used.
    #[error(
        "{0}.\n  Choose another: `bicast serve --set packager.dvr.directory=FOLDER`, BICAST_PACKAGER__DVR__DIRECTORY, or `directory` under [packager.dvr] in bicast.toml; empty stores nothing"
    )]
    Dvr(#[from] bicast_packager::DvrError),
    /// The listeners could not be asked for their addresses.
    #[error("cannot read the addresses of the HTTP listeners: {0}")]
    Addresses(io::Error),
}

impl Gateway {
    /// Opens everything: the HTTP listeners first, so that a port in use is said before anything else happens. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// An address in use or not allowed, no keys where others can reach it, and settings that a room refuses.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let _ = Metrics::global();
        let access = access(config)?;
        let finish = CancellationToken::new();
        let auth = Auth::start(&config.auth, &finish).map_err(StartError::Keys)?;
        let listeners = listen(&config.http.listen, &config.http.tcp)?;
        let secure = listen(&config.http.tls.listen, &config.http.tcp)?;
        let bus = FeedBus::new(config.feed_policy(), RingLimits::default());
        let sfu = Arc::new(Sfu::start(config.sfu.clone(), bus.clone()).await.map_err(StartError::Sfu)?);
        let packager = Packager::start(config.packager.clone(), auth.classes().clone(), bus.clone()).await?;
        let packaged = packager.status();
        let signaling = Signaling::new(
            &config.signaling,
            bus.clone(),
            sfu.status(),
            packager.status(),
            Some(sfu.viewers()),
        )
        .ask_about_times(packager.timeline());
        let viewers = signaling.viewers();
        sfu.ask_at_the_door(viewers.door());

        let (http, https) = (addresses(&listeners)?, addresses(&secure)?);
        let tls = if https.is_empty() { None } else { Some(Tls::new(&config.http.tls, &https)?) };
        let (udp, tcp) = (sfu.udp_addrs(), sfu.tcp_addrs());
        let readiness = Readiness::new(http.clone(), udp.clone());
        let lines = demo_lines(&config.demo, &http, &udp);
        let signaling = signaling
            .describe(openapi::other_rooms())
            .describe(bicast_line::openapi())
            .guarded_by(auth::is_guarded);
        let routes = sfu
            .router()
            .merge(packager.router())
            .merge(signaling.router())
            .merge(bicast_line::router(lines.clone()))
            .merge(health::router(readiness.clone(), bus.clone()));
        let rules = Rules {
            readiness: readiness.clone(),
            request_timeout: Duration::from_secs_f64(config.http.request_timeout),
        };
        tokio::spawn(auth.clone().sweep(sfu.clone(), viewers.clone(), finish.clone()));
        tokio::spawn(load::follow(viewers, finish.clone()));
        let app = app(auth.guard(routes), Pages::new(&config.http.web_root), rules);
        let server = Server::start(listeners, tls.map(|tls| (tls, secure)), app, &config.http);
        let drain = Duration::from_secs_f64(config.http.drain);
        let _auth = finish.drop_guard();
        say(access);
        Ok(Self {
            bus,
            sfu,
            packager,
            packaged,
            lines,
            server,
            readiness,
            http,
            https,
            udp,
            tcp,
            drain,
            access,
            _auth,
        })
    }

    /// The addresses of the HTTP server, with the ports that the system chose where 0 was asked for.
    #[must_use]
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Who may use it.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The addresses of HTTPS; none where it is off.
    #[must_use]
    pub fn https_addrs(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The addresses of the WebRTC port.
    #[must_use]
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// The addresses of the TCP port for WebRTC peers without UDP; none where it is off.
    #[must_use]
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// The feed bus, for what runs in the same process.
    #[must_use]
    pub fn bus(&self) -> &FeedBus {
        &self.bus
    }

    /// Waits until a part of it has failed that it cannot go on without, if ever one does.
    pub async fn failed(&self) {
        self.sfu.failed().await;
    }

    /// Ends everything in order: no new sessions, publishers leave, playlists end while HTTP still serves them, peers
    /// are closed, then the listeners. Takes some seconds where a feed is on over HLS, and well under one otherwise. With a DVR
    /// playlists do not end: what they list is stored, and the next process goes on with them. Dropping the returned future
    /// ends the process's part at once.
    pub async fn shutdown(self) {
        tracing::info!("stopping: no new sessions are taken");
        self.readiness.drain();

        let stored = within(ROOM_ENDS_WITHIN, "packager", self.packager.hold()).await == Some(true);
        let on_air = if stored { 0 } else { self.feeds_over_hls() };
        if stored {
            tracing::info!("playlists are stored; the next process goes on with them");
        }

        let feeds = self.bus.close();
        tracing::info!(feeds, "publishers were told to leave");

        within(ROOM_ENDS_WITHIN, "packager", self.packager.shutdown()).await;
        if !stored {
            tracing::info!("playlists have ended");
        }
        if on_air > 0 && !self.drain.is_zero() {
            tracing::info!(
                feeds = on_air,
                seconds = self.drain.as_secs_f64(),
                "letting HLS players see the end"
            );
            tokio::time::sleep(self.drain).await;
        }

        within(ROOM_ENDS_WITHIN, "sfu", self.sfu.shutdown()).await;
        tracing::info!("WebRTC peers are closed");

        if let Some(lines) = &self.lines {
            lines.close().await;
        }
        self.server.stop(CONNECTIONS_END_WITHIN).await;
        tracing::info!("stopped");
    }

    /// Feeds whose playlists somebody may be following. Not those that are known to be watched: viewers behind a cache are
    /// not counted here, and one that has just come is not counted yet.
    fn feeds_over_hls(&self) -> usize {
        let packaged = self.packaged.borrow().clone();
        let feeds = self.bus.feeds();
        feeds.keys().filter(|id| packaged.feeds.get(id).is_some_and(|feed| feed.playable)).count()
    }
}

/// Who may use a gateway with these settings.
fn access(config: &Config) -> Result<Access, StartError> {
    let public = auth::first_public(config.http.listen.iter().chain(&config.http.tls.listen));
    match public {
        _ if config.auth.has_keys() => Ok(Access::Tokens),
        None => Ok(Access::Local),
        Some(_) if config.auth.open => Ok(Access::Open),
        Some(address) => Err(StartError::NoKeys { address }),
    }
}

/// Logs who may use it, where that is not a matter of tokens.
fn say(access: Access) {
    match access {
        Access::Tokens => {}
        Access::Local => {
            tracing::info!("no keys are set: everybody on this machine may publish, watch and end feeds");
        }
        Access::Open => {
            tracing::warn!("auth.open: everybody who can reach this server may publish, watch and end feeds");
        }
    }
}

/// Bad networks for those who ask for them, where that is allowed.
fn demo_lines(config: &bicast_line::Config, http: &[SocketAddr], udp: &[SocketAddr]) -> Option<Lines> {
    let udp = *udp.first().filter(|_| config.lines)?;
    tracing::warn!(
        ports = %config.ports,
        "demo lines are on: whoever may administer this server can open ports on it (/v1/demo/lines)"
    );
    Some(Lines::start(bicast_line::Gateway { http: http.to_vec(), udp }, config.ports))
}

fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    listeners.iter().map(|listener| listener.local_addr().map_err(StartError::Addresses)).collect()
}

async fn within<T>(limit: Duration, room: &str, ending: impl Future<Output = T>) -> Option<T> {
    let ended = tokio::time::timeout(limit, ending).await;
    if ended.is_err() {
        tracing::warn!(room, seconds = limit.as_secs(), "does not end in time; going on without it");
    }
    ended.ok()
}

/// Says what to do where others could do everything.
fn explain_no_keys(address: SocketAddr) -> String {
    let port = address.port();
    format!(
        "no keys are set, and {address} can be reached by others than this machine: anybody could publish, watch and end feeds.
  Set a key, with which every door wants a token (`bicast token mint` makes them; docs/tokens.md):
    openssl rand -hex 32 > secret
    BICAST_AUTH__SECRET_FILE=secret bicast serve ...   or `secret_file`, `jwks_file`, `jwks_url` under [auth] in bicast.toml
  or listen on this machine only:
    bicast serve --http-listen 127.0.0.1:{port}
  or let everybody in:
    bicast serve --set auth.open=true   or BICAST_AUTH__OPEN, or `open` under [auth]"
    )
}

/// Says what to do about an HTTP address that cannot be had.
fn explain_http(address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    let other = |port: u16| {
        let flag = match ip.is_unspecified() {
            true => format!("--http-port {port}"),
            false => format!("--http-listen {}", SocketAddr::new(ip, port)),
        };
        choose(&format!("bicast serve {flag}"), "BICAST_HTTP__LISTEN", "listen", "http")
    };
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "HTTP port {port} on {ip} is already in use by another program.\n  Stop that program, or {}",
            other(next_port(port))
        ),
        io::ErrorKind::PermissionDenied => format!(
            "HTTP port {port} on {ip} is not allowed to this user: ports below 1024 need a privilege.\n  {}",
            capital(&other(8080))
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{ip} is not an address of this machine, so HTTP cannot listen on {address}.\n  {}",
            capital(&choose("bicast serve --http-listen IP:PORT", "BICAST_HTTP__LISTEN", "listen", "http"))
        ),
        _ => format!("HTTP cannot listen on {address}: {error}.\n  {}", capital(&other(next_port(port)))),
    }
}

/// Says what to do about a WebRTC address that cannot be had.
fn explain_sfu(error: &bicast_sfu::Error) -> String {
    let (address, source) = match error {
        bicast_sfu::Error::Bind { address, source } => (address, source),
        bicast_sfu::Error::Listen { address, source } => return explain_tcp(*address, source),
        other => return other.to_string(),
    };
    let (ip, port) = (address.ip(), address.port());
    let other = || {
        choose(
            &format!("bicast serve --udp-port {}", next_port(port)),
            "BICAST_SFU__UDP_PORT",
            "udp_port",
            "sfu",
        )
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => format!(
            "UDP port {port} on {ip} (WebRTC) is already in use by another program.\n  Stop that program, or {}",
            other()
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "{ip} is not an address of this machine, so WebRTC cannot listen on UDP {address}.\n  {}",
            capital(&choose("bicast serve --set sfu.bind=IP", "BICAST_SFU__BIND", "bind", "sfu"))
        ),
        _ => format!("WebRTC cannot listen on UDP {address}: {source}.\n  {}", capital(&other())),
    }
}

/// Says what to do about a TCP address for WebRTC that cannot be had.
fn explain_tcp(address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    let next = choose(
        &format!("bicast serve --set sfu.tcp_port={}", next_port(port)),
        "BICAST_SFU__TCP_PORT",
        "tcp_port",
        "sfu",
    );
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "TCP port {port} on {ip} (WebRTC where no UDP gets through) is already in use by another program.\n  Stop that program, or {next}"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "TCP port {port} on {ip} (WebRTC where no UDP gets through) is not allowed to this user: ports below 1024 need a privilege.\n  {}",
            capital(&next)
        ),
        _ => format!("WebRTC cannot listen on TCP {address}: {error}.\n  {}", capital(&next)),
    }
}

/// The three places where it can be set.
fn choose(command: &str, variable: &str, key: &str, section: &str) -> String {
    format!("choose another:\n    {command}\n    or {variable}, or `{key}` under [{section}] in bicast.toml")
}

fn capital(text: &str) -> String {
    text.replacen("choose", "Choose", 1)
}

fn next_port(port: u16) -> u16 {
    port.checked_add(1).unwrap_or(port - 1)
}
