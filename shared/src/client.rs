//! Who asks over HTTP.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;

/// Who asks: address and user agent, hashed. Behind a proxy of the operator's own the address is the last that it added to
/// X-Forwarded-For; from anybody else the header is hearsay, with which one client could count as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub u64);

/// Whether a peer can be a proxy of ours: on this machine or its private network (RFC 1918, RFC 4193, RFC 6598).
fn may_be_our_proxy(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback() || ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let mut hasher = DefaultHasher::new();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let forwarded = parts.headers.get("x-forwarded-for").filter(|_| peer.is_none_or(may_be_our_proxy));
        match forwarded.and_then(|list| list.as_bytes().rsplit(|b| *b == b',').next()) {
            Some(client) => client.trim_ascii().hash(&mut hasher),
            None => peer.hash(&mut hasher),
        }
        parts.headers.get(header::USER_AGENT).map(|agent| agent.as_bytes()).hash(&mut hasher);
        Ok(Self(hasher.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn who(peer: &str, forwarded: Option<&str>) -> u64 {
        let mut request = axum::http::Request::builder().uri("/");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let Ok(Client(who)) = Client::from_request_parts(&mut parts, &()).await;
        who
    }

    #[tokio::test]
    async fn only_a_proxy_of_ours_can_speak_for_others() {
        let proxied = |client| who("10.0.0.1", Some(client));
        assert_ne!(proxied("198.51.100.1").await, proxied("198.51.100.2").await);
        assert_eq!(
            proxied("192.0.2.9, 198.51.100.1").await,
            proxied("198.51.100.1").await,
            "what the proxy added"
        );
        let stranger = who("198.51.100.7", None).await;
        assert_eq!(who("198.51.100.7", Some("1.1.1.1")).await, stranger);
        assert_eq!(who("198.51.100.7", Some("2.2.2.2")).await, stranger);
    }
}
