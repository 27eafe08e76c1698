//! The description of the routes that signaling does not know: WHIP, WHEP, LL-HLS, and the gateway's own.

use utoipa::openapi::OpenApi;

/// A document to be merged into the one at `/v1/openapi.json`.
pub(crate) fn other_rooms() -> OpenApi {
    match serde_json::from_str(TEXT) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(%error, "the description of the media routes cannot be read");
            OpenApi::default()
        }
    }
}

const TEXT: &str = include_str!("../openapi/media.json");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_can_be_read() {
        let document: OpenApi = serde_json::from_str(TEXT).unwrap();
        let paths: Vec<&String> = document.paths.paths.keys().collect();
        assert!(paths.iter().any(|path| *path == "/whip/{feed}"), "{paths:?}");
    }
}
