//! Tokens in paths: `/t/{token}/hls/…` is `/hls/…` with that token. Players fetch segments without headers of their own (iOS), and all
//! addresses in playlists are relative, so one text serves everybody and every request carries the token.

use axum::extract::{OriginalUri, Request};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// The token that a request's path began with.
#[derive(Clone)]
pub(super) struct PathToken(pub(super) String);

/// Takes the token out of the path, before any route is looked for. Only HLS may have it there: addresses end up in logs.
pub(crate) fn take_out(mut request: Request) -> Request {
    let taken = split(request.uri()).map(|(token, rest)| (token.to_owned(), rest));
    if let Some((token, rest)) = taken {
        *request.uri_mut() = rest.clone();
        request.extensions_mut().insert(OriginalUri(rest));
        request.extensions_mut().insert(PathToken(token));
    }
    request
}

fn split(uri: &Uri) -> Option<(&str, Uri)> {
    let whole = uri.path_and_query()?.as_str();
    let (token, _) = whole.strip_prefix("/t/")?.split_once('/')?;
    let rest = whole.get("/t/".len() + token.len()..).filter(|rest| rest.starts_with("/hls/"))?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse::<PathAndQuery>().ok()?);
    Some((token, Uri::from_parts(parts).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_out_of_paths_of_hls_only() {
        let told = |uri: &str| {
            let uri: Uri = uri.parse().unwrap();
            split(&uri).map(|(token, rest)| format!("{token} {rest}"))
        };
        assert_eq!(told("/t/a.b.c/hls/x/y.m3u8?q=1").as_deref(), Some("a.b.c /hls/x/y.m3u8?q=1"));
        assert_eq!(
            told("https://h:1/t/a.b.c/hls/x").as_deref(),
            Some("a.b.c https://h:1/hls/x"),
            "as HTTP/2 has them"
        );
        assert_eq!(told("/t//hls/x").as_deref(), Some(" /hls/x"), "an empty one is one that is refused");
        for other in [
            "/t/a.b.c/v1/feeds",
            "/t/a.b.c/whip/x",
            "/t/a.b.c",
            "/t/",
            "/hls/x",
            "/t/a/t/b/hls/x",
            "/tt/a/hls/x",
        ] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
