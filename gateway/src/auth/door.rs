//! Which right each route wants, and the layer that asks for it before a room sees the request.

use std::sync::Arc;

use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bicast_shared::auth::{Act, DelayClasses, Grant, Named, Refusal, Unnamed};
use bicast_shared::client::Client;
use bicast_shared::problem::Problem;

use super::Auth;
use super::prefix::PathToken;

/// What a route wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Nothing: it tells nothing of any feed.
    Open,
    /// This, to the feed in its path.
    Feed(Act),
    /// This, to no feed in particular.
    All(Act),
}

/// The door of a route. One that is not known here is for administrators: a new route must not be open by oversight.
fn door(method: &Method, route: &str) -> Door {
    known(method, route).unwrap_or(Door::All(Act::Administer))
}

/// Whether a route, by its pattern, wants a token where there are keys.
pub(crate) fn is_guarded(method: &Method, route: &str) -> bool {
    door(method, route) != Door::Open
}

/// The door of a route by its pattern, where that is known.
fn known(method: &Method, route: &str) -> Option<Door> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let begins =
        |start: &str| route.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(match route {
        "/healthz" | "/readyz" | "/metrics" | "/v1/time" | "/v1/openapi.json" => Door::Open,
        // OPTIONS as well: its answer names TURN servers with their credentials. Browsers' preflights never come as far as here.
        _ if begins("/whip/{feed}") => Door::Feed(Act::Publish),
        _ if begins("/whep/{feed}") => Door::Feed(Act::WatchRealtime),
        _ if begins("/hls/{feed}") => Door::Feed(Act::WatchHls),
        "/v1/feeds/{id}" | "/v1/feeds/{id}/timeline" if reads => Door::Feed(Act::Read),
        "/v1/feeds/{id}/viewers" if *method == Method::POST => Door::Feed(Act::Join),
        // A viewer's address is its key: nobody can guess it, and who joined was asked for a token.
        _ if begins("/v1/feeds/{id}/viewers/{viewer}") => Door::Open,
        "/v1/feeds/{id}"
        | "/v1/feeds/{id}/audience"
        | "/v1/feeds/{id}/takeover"
        | "/v1/feeds/{id}/viewers" => Door::Feed(Act::Administer),
        "/v1/feeds" => Door::All(Act::Administer),
        "/v1/admission" | "/v1/status" | "/v1/demo/lines" | "/v1/demo/lines/{id}" => Door::All(Act::Govern),
        "/v1/tokens/{jti}" | "/v1/viewers/{sub}/tokens" => Door::All(Act::TakeBack),
        _ => return None,
    })
}

/// Lets in who may; the rooms find what was granted among the request's extensions.
pub(super) async fn guard(
    State(auth): State<Auth>,
    route: Option<MatchedPath>,
    params: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    client: Client,
    mut request: Request,
    next: Next,
) -> Response {
    // What matches no route are the demo's pages, which are for everybody, and 404.
    let Some(route) = route else { return next.run(request).await };
    let (act, named) = match door(request.method(), route.as_str()) {
        Door::Open => return next.run(request).await,
        Door::All(act) => (act, None),
        Door::Feed(act) => match feed_in(auth.classes(), params.ok().as_ref()) {
            Ok(named) => (act, Some(named)),
            Err(problem) => return (*problem).into_response(),
        },
    };
    let (feed, class) = named.map(|named| (named.feed, named.class.map(str::to_owned))).unzip();
    let class = class.flatten();
    let in_path = request.extensions_mut().remove::<PathToken>();
    let token =
        in_path.as_ref().map_or_else(|| bearer(request.headers()), |token| Ok(Some(token.0.as_bytes())));
    let answer = match token {
        Ok(token) => auth.admit(token, act, feed.as_ref()).await,
        Err(refusal) => Err(refusal),
    };
    let answer = answer.and_then(|grant| match grant {
        Some(grant) if act == Act::WatchHls => auth.may_stay(&grant, client.0).map(|()| Some(grant)),
        other => Ok(other),
    });
    // Sessions were decided when they began.
    let begins = act == Act::WatchHls || *request.method() == Method::POST;
    let answer = match answer {
        Ok(Some(grant)) if begins => auth.decide(&grant, act, feed.as_ref()).await.map(|()| Some(grant)),
        other => other,
    };
    let behind =
        |grant: &Grant| grant.delay.clone().filter(|own| act == Act::WatchHls && class.as_ref() != Some(own));
    let answer = match answer {
        Ok(Some(grant)) => match behind(&grant) {
            None => Ok(Some(grant)),
            // Where everybody begins, who must stay behind is shown where that is.
            Some(own) => match feed.as_ref().and_then(|feed| auth.classes().address(feed, &own)) {
                Some(address) if class.is_none() && is_entrance(route.as_str()) => {
                    return to(&address, request.uri());
                }
                _ => Err(Refusal::Delayed(own)),
            },
        },
        other => other,
    };
    match answer {
        Ok(grant) => {
            if let Some(grant) = grant {
                request.extensions_mut().insert(Arc::new(grant));
            }
            next.run(request).await
        }
        Err(refusal) => {
            refusal.count(act);
            tracing::debug!(
                act = act.name(),
                reason = refusal.name(),
                feed = feed.map(|id| id.to_string()),
                "refused"
            );
            refusal.into_response()
        }
    }
}

/// Whether players begin there.
fn is_entrance(route: &str) -> bool {
    matches!(route, "/hls/{feed}/multivariant.m3u8" | "/hls/{feed}/standard.m3u8")
}

/// 307 to the same file of a class, for whoever asked: relative, so that a token in the path stays there.
fn to(address: &str, uri: &Uri) -> Response {
    let file = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("../{address}/{file}{query}");
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "private, no-store".to_owned())];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// What a path names, as the room will read it.
fn feed_in<'a>(classes: &'a DelayClasses, params: Option<&RawPathParams>) -> Result<Named<'a>, Box<Problem>> {
    let mut named = params.into_iter().flatten().filter(|(name, _)| matches!(*name, "feed" | "id"));
    let text = named.next().map(|(_, value)| value).unwrap_or_default();
    classes.read(text).map_err(|error| {
        Box::new(match error {
            Unnamed::Id(error) => Problem::bad_feed_id(&error),
            Unnamed::Space(feed) => Problem::unknown_feed(feed.as_str()),
        })
    })
}

/// The token of an `Authorization: Bearer` header (RFC 6750, 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Refusal::Malformed("there are two Authorization headers".into()));
    }
    Ok(first.and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_wants_its_right_and_an_unknown_one_the_most() {
        for (method, route, wanted) in [
            (Method::POST, "/whip/{feed}", Door::Feed(Act::Publish)),
            (Method::OPTIONS, "/whip/{feed}", Door::Feed(Act::Publish)),
            (Method::PATCH, "/whep/{feed}/{session}", Door::Feed(Act::WatchRealtime)),
            (Method::GET, "/hls/{feed}/{rendition}/{instance}/{file}", Door::Feed(Act::WatchHls)),
            (Method::HEAD, "/v1/feeds/{id}", Door::Feed(Act::Read)),
            (Method::GET, "/v1/feeds/{id}/timeline", Door::Feed(Act::Read)),
            (Method::DELETE, "/v1/feeds/{id}", Door::Feed(Act::Administer)),
            (Method::GET, "/v1/feeds/{id}/viewers", Door::Feed(Act::Administer)),
            (Method::POST, "/v1/feeds/{id}/viewers", Door::Feed(Act::Join)),
            (Method::GET, "/v1/feeds/{id}/audience", Door::Feed(Act::Administer)),
            (Method::DELETE, "/v1/feeds/{id}/viewers/{viewer}", Door::Open),
            (Method::GET, "/v1/feeds/{id}/viewers/{viewer}/events", Door::Open),
            (Method::PATCH, "/v1/admission", Door::All(Act::Govern)),
            (Method::GET, "/v1/feeds", Door::All(Act::Administer)),
            (Method::POST, "/v1/feeds", Door::All(Act::Administer)),
            (Method::POST, "/v1/demo/lines", Door::All(Act::Govern)),
            (Method::PATCH, "/v1/feeds/{id}", Door::Feed(Act::Administer)),
            (Method::POST, "/v1/feeds/{id}/timeline", Door::All(Act::Administer)),
            (Method::DELETE, "/v1/tokens/{jti}", Door::All(Act::TakeBack)),
            (Method::GET, "/v1/new", Door::All(Act::Administer)),
            (Method::GET, "/whipped", Door::All(Act::Administer)),
            (Method::GET, "/readyz", Door::Open),
        ] {
            assert_eq!(door(&method, route), wanted, "{method} {route}");
        }
    }

    #[test]
    fn every_described_route_is_known_here() {
        for (route, item) in crate::openapi::other_rooms().paths.paths {
            let text = serde_json::to_value(item).unwrap();
            for method in text.as_object().unwrap().keys() {
                let method: Method = method.to_uppercase().parse().unwrap();
                assert!(known(&method, &route).is_some(), "{method} {route}");
            }
        }
    }

    #[test]
    fn a_bearer_is_read_as_rfc_6750_writes_it() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|token| token.map(<[u8]>::to_vec)).map_err(|refusal| refusal.name())
        };
        assert_eq!(read(&["Bearer abc"]), Ok(Some(b"abc".to_vec())));
        assert_eq!(read(&["bearer  abc "]), Ok(Some(b"abc".to_vec())));
        assert_eq!(read(&["Basic YTpi"]), Ok(None));
        assert_eq!(read(&["Bearer"]), Ok(None));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["Bearer a", "Bearer b"]), Err("malformed"));
    }
}
