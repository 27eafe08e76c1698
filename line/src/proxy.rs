//! HTTP/1.1 through a line: passed on to the gateway and back as it is, but for the answers that tell where media goes.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{Method, Request, Response, StatusCode, Uri, Version};
use axum::response::IntoResponse as _;
use bicast_shared::problem::Problem;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{DuplexStream, copy_bidirectional};

use crate::core::sdp;
use crate::line::Line;

/// A connection without a request for so long is closed. Longer than the gateway's own patience, because a line is slow.
const HEADER_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a request's header, as in the gateway.
const HEADER_BYTES: usize = 64 << 10;
/// Who a proxy asks for.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Connections to the gateway that wait for the next request, and for how long: less than the gateway lets them.
const IDLE_CONNECTIONS: usize = 8;
const IDLE_FOR: Duration = Duration::from_secs(5);
/// Bytes of an answer of WHEP. The gateway's have some kilobytes.
const LARGEST_ANSWER: usize = 256 << 10;
/// What is said from one end of a connection to the other, and is not passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The addresses of a connection's two ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Which of ours it came to.
    pub(crate) local: IpAddr,
    pub(crate) peer: IpAddr,
}

/// Serves the connections of a line that came to one address.
pub(crate) struct Proxy {
    pub(crate) line: Arc<Line>,
    gateway: SocketAddr,
    client: Client<HttpConnector, Incoming>,
}

impl Proxy {
    /// Passes on to the gateway's listener at this address.
    pub(crate) fn new(line: Arc<Line>, gateway: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            // The viewer's own: addresses that the gateway tells have to lead through the line.
            .set_host(false)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .build(connector);
        Self { line, gateway, client }
    }

    /// Speaks HTTP/1.1 with a viewer whose bytes have passed the line, to the end of the connection.
    pub(crate) async fn serve(self: &Arc<Self>, stream: DuplexStream, ends: Ends) {
        let proxy = Arc::clone(self);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.pass(request, ends).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WITHIN)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, port = self.line.port, "HTTP on a demo line");
        }
    }

    /// Passes one request on and its answer back.
    async fn pass(&self, mut request: Request<Incoming>, ends: Ends) -> Response<Body> {
        let Some(uri) = self.uri_for(request.uri()) else {
            let detail = "The request names no path.";
            return Problem::new(400, "bad-request", "Bad request", detail)
                .hint("Ask for what you would ask the gateway for.")
                .into_response();
        };
        let tells_media = tells_media(request.method(), request.uri().path());
        let upgrade = switch_to(request.headers());
        let viewer = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        take_out_hop_by_hop(headers);
        // The gateway counts viewers by their addresses; what one says itself about that is hearsay.
        if let Ok(peer) = HeaderValue::try_from(ends.peer.to_string()) {
            headers.insert(FORWARDED_FOR, peer);
        }
        // Answered here: hyper tells the viewer to go on as soon as its body is read.
        headers.remove(header::EXPECT);
        if tells_media {
            // It has to be read.
            headers.remove(header::ACCEPT_ENCODING);
        }
        put_upgrade(headers, upgrade);
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => return unreachable(&error),
        };
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let gateway = switches.then(|| hyper::upgrade::on(&mut response));
        let upgrade = switches.then(|| switch_to(response.headers())).flatten();
        take_out_hop_by_hop(response.headers_mut());
        put_upgrade(response.headers_mut(), upgrade);
        if let (Some(viewer), Some(gateway)) = (viewer, gateway) {
            let both = async move {
                let (Ok(viewer), Ok(gateway)) = tokio::join!(viewer, gateway) else { return };
                let (mut viewer, mut gateway) = (TokioIo::new(viewer), TokioIo::new(gateway));
                if let Err(error) = copy_bidirectional(&mut viewer, &mut gateway).await {
                    tracing::debug!(%error, "an upgraded connection on a demo line");
                }
            };
            self.line.tasks.spawn(self.line.closing.clone().run_until_cancelled_owned(both));
        }
        let response = response.map(Body::new);
        if tells_media && response.status().is_success() {
            return self.through_line(response, ends.local).await;
        }
        response
    }

    /// The same path and query at the gateway.
    fn uri_for(&self, asked: &Uri) -> Option<Uri> {
        let target = asked.path_and_query().filter(|target| target.as_str().starts_with('/'));
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.gateway.to_string())
            .path_and_query(target.cloned().unwrap_or(PathAndQuery::from_static("/")))
            .build()
            .ok()
            .filter(|_| target.is_some())
    }

    /// An answer of WHEP whose only candidate is the line.
    async fn through_line(&self, response: Response<Body>, local: IpAddr) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let answer = match axum::body::to_bytes(body, LARGEST_ANSWER).await {
            Ok(answer) => answer,
            Err(error) => return unreachable(&error),
        };
        let Ok(text) = std::str::from_utf8(&answer) else {
            return unreachable(&"its answer is not UTF-8");
        };
        let ips = &self.line.ips;
        let reaches = |ip: IpAddr| {
            ips.iter().any(|own| *own == ip || own.is_unspecified() && own.is_ipv4() == ip.is_ipv4())
        };
        let text = sdp::through_line(text, self.line.port, local, reaches);
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        Response::from_parts(head, Body::from(text))
    }
}

/// Whether the answer to a request tells where media goes: of a WHEP session's beginning, and of its ICE restart.
fn tells_media(method: &Method, path: &str) -> bool {
    matches!(*method, Method::POST | Method::PATCH) && path.starts_with("/whep/")
}

/// The protocol that a request wants to switch to.
fn switch_to(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get_all(header::CONNECTION).iter().any(|value| {
        let words = value.to_str().unwrap_or_default().split(',');
        words.into_iter().any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
    });
    headers.get(header::UPGRADE).filter(|_| wanted).cloned()
}

fn put_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
}

fn take_out_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn unreachable(why: &dyn std::fmt::Display) -> Response<Body> {
    let detail = format!("The gateway behind this demo line did not answer: {why}.");
    Problem::new(502, "bad-gateway", "Bad gateway", detail)
        .hint("Ask the gateway itself, without the line.")
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_between_two_ends_is_not_passed_on() {
        let mut some = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("host", "localhost:8200"),
            ("range", "bytes=0-"),
        ]);
        take_out_hop_by_hop(&mut some);
        assert_eq!(some, headers(&[("host", "localhost:8200"), ("range", "bytes=0-")]));
    }

    #[test]
    fn an_upgrade_is_one_only_where_the_connection_says_so() {
        let of =
            |pairs| switch_to(&headers(pairs)).map(|value| value.to_str().unwrap_or_default().to_owned());
        assert_eq!(
            of(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]).as_deref(),
            Some("websocket")
        );
        assert_eq!(of(&[("connection", "keep-alive"), ("upgrade", "h2c")]), None);
        assert_eq!(of(&[("connection", "upgrade")]), None);
    }

    #[test]
    fn only_answers_of_whep_tell_media() {
        assert!(tells_media(&Method::POST, "/whep/demo"));
        assert!(tells_media(&Method::PATCH, "/whep/demo/session"));
        for (method, path) in [
            (Method::GET, "/whep/demo"),
            (Method::DELETE, "/whep/demo/x"),
            (Method::POST, "/whip/demo"),
            (Method::POST, "/whepx"),
        ] {
            assert!(!tells_media(&method, path), "{method} {path}");
        }
    }
}
