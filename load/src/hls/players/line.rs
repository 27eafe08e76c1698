//! A client's connections: HTTP/2 where TLS agrees on it, one for all that the client does; else HTTP/1.1, kept alive, one for
//! each playlist that it follows.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderValue, RANGE, USER_AGENT};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::args::HlsArgs;
use crate::hls::core::edge::{Address, Origin};
use crate::hls::tls;

/// For one answer, to its last byte. Longer than any blocking request may take: three target durations of ten seconds.
const TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A playlist or an initialization section as it comes.
const LARGEST: usize = 4 << 20;
/// Other answers are read to their end so that the connection can be used again, if they are no larger.
const LARGEST_ERROR: u64 = 1 << 20;
const AGENT: &str = concat!("bicast-bench/", env!("CARGO_PKG_VERSION"));

/// Why a request brought nothing; short, to be counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The answer has another status than 200 or 206.
    Status(u16),
    /// No whole answer.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "HTTP {status}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

fn broken(error: &dyn std::error::Error) -> Failure {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Failure::Broken(cause.to_string())
}

/// What the connections of all clients have in common.
pub(crate) struct Net {
    tls: Arc<ClientConfig>,
    /// A token, and the only origin that gets it: playlists name others, too.
    authorization: Option<(Arc<Origin>, HeaderValue)>,
    /// Addresses by host and port: asking the resolver for each client would measure the resolver.
    known: Mutex<Vec<((String, u16), SocketAddr)>>,
}

impl Net {
    /// # Errors
    /// Where there are no certificates to check a server with, or the token cannot be in a header.
    pub(crate) fn new(args: &HlsArgs) -> anyhow::Result<Self> {
        let mut tls = tls::config(args.insecure, args.url.scheme() == "https")?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Every client is somebody else, who cannot go on with another's session.
        tls.resumption = Resumption::disabled();
        let header = |token: &String| HeaderValue::from_str(&format!("Bearer {token}"));
        let authorization = args.token.as_ref().map(header).transpose();
        let authorization = authorization.context("the token has characters that no header can carry")?;
        let authorization =
            Address::of(&args.url).zip(authorization).map(|(home, header)| (home.origin, header));
        Ok(Self { tls: Arc::new(tls), authorization, known: Mutex::default() })
    }

    async fn tcp(&self, origin: &Origin) -> std::io::Result<TcpStream> {
        let key = (origin.host.clone(), origin.port);
        let known = self.known.lock().iter().find(|(name, _)| *name == key).map(|(_, address)| *address);
        let stream = match known {
            Some(address) => TcpStream::connect(address).await?,
            None => {
                // Tries one address after the other: the one that answers is every client's.
                let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await?;
                self.known.lock().push((key, stream.peer_addr()?));
                stream
            }
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Failure> {
        let tcp = self.tcp(origin).await.map_err(|error| broken(&error))?;
        if !origin.secure {
            return one(tcp).await;
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(|error| broken(&error))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let tls = tls.map_err(|error| broken(&error))?;
        if tls.get_ref().1.alpn_protocol() == Some(b"h2") { two(tls).await } else { one(tls).await }
    }
}

type One = http1::SendRequest<Empty<Bytes>>;
type Two = http2::SendRequest<Empty<Bytes>>;

enum Sender {
    One(One),
    Two(Two),
}

async fn one<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Sender, Failure> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    Ok(Sender::One(sender))
}

async fn two<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<Sender, Failure> {
    let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| broken(&error))?;
    tokio::spawn(connection);
    Ok(Sender::Two(sender))
}

type Shared = Arc<tokio::sync::Mutex<Vec<(Arc<Origin>, Two)>>>;

/// A client's connections for one of its playlists. They close when it is dropped.
pub(crate) struct Line {
    net: Arc<Net>,
    /// For all playlists of the client.
    shared: Shared,
    own: Vec<(Arc<Origin>, One)>,
}

impl Line {
    pub(crate) fn new(net: &Arc<Net>) -> Self {
        Self { net: Arc::clone(net), shared: Shared::default(), own: Vec::new() }
    }

    /// For another playlist of the same client.
    pub(crate) fn beside(&self) -> Self {
        Self { net: Arc::clone(&self.net), shared: Arc::clone(&self.shared), own: Vec::new() }
    }

    /// Loads a playlist or an initialization section: its bytes, and whether they are zipped.
    pub(crate) async fn whole(&mut self, address: &Address) -> Result<(Bytes, bool), Failure> {
        let load = async {
            let response = self.ask(address, None).await?;
            let gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|value| value == "gzip");
            let mut body = response.into_body();
            let mut all = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken(&error))?;
                if let Some(data) = frame.data_ref() {
                    if all.len() + data.len() > LARGEST {
                        return Err(Failure::Broken(format!("more than {LARGEST} bytes")));
                    }
                    all.extend_from_slice(data);
                }
            }
            Ok((all.freeze(), gzip))
        };
        let loaded = tokio::time::timeout(TIMEOUT, load).await;
        self.checked(loaded.unwrap_or_else(|_| Err(too_late()))).await
    }

    /// Loads something and tells how many bytes it was.
    pub(crate) async fn media(
        &mut self,
        address: &Address,
        range: Option<(u64, u64)>,
    ) -> Result<u64, Failure> {
        let load = async {
            let response = self.ask(address, range).await?;
            count(response.into_body()).await
        };
        let loaded = tokio::time::timeout(TIMEOUT, load).await;
        self.checked(loaded.unwrap_or_else(|_| Err(too_late()))).await
    }

    /// After an answer that broke off a connection of HTTP/1.1 cannot be used again, and one of HTTP/2 may be as dead as
    /// its stream. What others have under way on that one goes on.
    async fn checked<T>(&mut self, loaded: Result<T, Failure>) -> Result<T, Failure> {
        if matches!(loaded, Err(Failure::Broken(_))) {
            self.own.clear();
            self.shared.lock().await.clear();
        }
        loaded
    }

    async fn ask(
        &mut self,
        address: &Address,
        range: Option<(u64, u64)>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = match self.send(address, range).await {
            // A kept connection that the server closed while the request was under way: players ask again, too.
            Err(Gone(true, _)) => self.send(address, range).await.map_err(|gone| gone.1)?,
            Err(Gone(false, failure)) => return Err(failure),
            Ok(response) => response,
        };
        let status = response.status().as_u16();
        if matches!(status, 200 | 206) {
            return Ok(response);
        }
        // What is read to its end leaves the connection usable.
        let small = response.headers().get(hyper::header::CONTENT_LENGTH);
        let small = small.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if small.is_some_and(|length| length <= LARGEST_ERROR) {
            let _ = count(response.into_body()).await;
        } else {
            self.own.clear();
        }
        Err(Failure::Status(status))
    }

    async fn send(
        &mut self,
        address: &Address,
        range: Option<(u64, u64)>,
    ) -> Result<Response<Incoming>, Gone> {
        let origin = &address.origin;
        self.own.retain(|(_, sender)| !sender.is_closed());
        if let Some((_, sender)) = self.own.iter_mut().find(|(known, _)| known == origin) {
            return send_one(sender, self.net.request(address, range, false)?, true).await;
        }
        if origin.secure {
            // Held while a connection is made: the client's other playlists wait for it instead of making one each.
            let mut shared = self.shared.lock().await;
            shared.retain(|(_, sender)| !sender.is_closed());
            let known = shared.iter().find(|(known, _)| known == origin).map(|(_, sender)| sender.clone());
            let (mut sender, kept) = match known {
                Some(sender) => (sender, true),
                None => match self.net.within(origin).await? {
                    Sender::Two(sender) => {
                        shared.push((Arc::clone(origin), sender.clone()));
                        (sender, false)
                    }
                    Sender::One(sender) => {
                        drop(shared);
                        return self.first(address, range, sender).await;
                    }
                },
            };
            drop(shared);
            let request = self.net.request(address, range, true)?;
            let asked = async {
                sender.ready().await?;
                sender.send_request(request).await
            };
            return asked.await.map_err(|error| Gone(kept && never_sent(&error), broken(&error)));
        }
        match self.net.within(origin).await? {
            Sender::One(sender) => self.first(address, range, sender).await,
            Sender::Two(_) => Err(Failure::Broken("HTTP/2 without TLS".into()).into()),
        }
    }

    async fn first(
        &mut self,
        address: &Address,
        range: Option<(u64, u64)>,
        mut sender: One,
    ) -> Result<Response<Incoming>, Gone> {
        let response = send_one(&mut sender, self.net.request(address, range, false)?, false).await?;
        self.own.push((Arc::clone(&address.origin), sender));
        Ok(response)
    }
}

/// A request without an answer: whether asking again on another connection is right, and why.
struct Gone(bool, Failure);

impl From<Failure> for Gone {
    fn from(failure: Failure) -> Self {
        Self(false, failure)
    }
}

fn never_sent(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message()
}

async fn send_one(
    sender: &mut One,
    request: Request<Empty<Bytes>>,
    kept: bool,
) -> Result<Response<Incoming>, Gone> {
    let asked = async {
        sender.ready().await?;
        sender.send_request(request).await
    };
    asked.await.map_err(|error| Gone(kept && never_sent(&error), broken(&error)))
}

impl Net {
    async fn within(&self, origin: &Origin) -> Result<Sender, Failure> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(origin)).await;
        connecting.unwrap_or_else(|_| {
            Err(Failure::Broken(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))
        })
    }

    fn request(
        &self,
        address: &Address,
        range: Option<(u64, u64)>,
        whole: bool,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let wrong = |error: hyper::http::Error| broken(&error);
        let path = PathAndQuery::from_maybe_shared(address.path.clone()).map_err(|error| broken(&error))?;
        let authority = &address.origin.authority;
        // HTTP/1.1 has the host in a header, HTTP/2 in the address.
        let mut request = if whole {
            let scheme = if address.origin.secure { Scheme::HTTPS } else { Scheme::HTTP };
            let authority = Authority::try_from(authority.as_str()).map_err(|error| broken(&error))?;
            let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
            Request::get(uri.map_err(wrong)?)
        } else {
            Request::get(Uri::from(path)).header(HOST, authority.as_str())
        };
        request = request.header(USER_AGENT, HeaderValue::from_static(AGENT));
        request = match range {
            Some((first, last)) => request.header(RANGE, format!("bytes={first}-{last}")),
            None => request.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
        };
        if let Some((_, token)) = self.authorization.as_ref().filter(|(home, _)| *home == address.origin) {
            request = request.header(AUTHORIZATION, token.clone());
        }
        request.body(Empty::new()).map_err(wrong)
    }
}

async fn count(mut body: Incoming) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn too_late() -> Failure {
    Failure::Broken(format!("no whole answer within {} s", TIMEOUT.as_secs()))
}
