//! What can go wrong, in words that say the next step.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::samples::BadTable;

/// Why publishing did not begin or did not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No HTTP connection.
    #[error(
        "cannot reach {origin}: {reason}.\n  Is the server running there? Start one with `bicast serve`, or correct --whip."
    )]
    Unreachable {
        /// Scheme, host and port.
        origin: String,
        /// What the system says.
        reason: String,
    },
    /// The server did not answer in time.
    #[error("{origin} did not answer within {} s.\n  Is it overloaded, or is a firewall between? --retry keeps trying.", .after.as_secs())]
    NoAnswer {
        /// Scheme, host and port.
        origin: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer is not SDP.
    #[error(
        "{url} is not a WHIP endpoint: it does not answer with SDP.\n  A bicast server has it at http://HOST:8080/whip/FEED."
    )]
    NotWhip {
        /// The address.
        url: String,
    },
    /// 401 or 403 without a token.
    #[error("{origin} wants to know who publishes: give --token TOKEN (or set BICAST_TOKEN).")]
    TokenNeeded {
        /// Scheme, host and port.
        origin: String,
    },
    /// 401 or 403 with a token.
    #[error(
        "the token was refused: {detail}.\n  Check that it is for this feed, allows publishing and has not expired."
    )]
    TokenRefused {
        /// What the server says.
        detail: String,
    },
    /// 404 or 405.
    #[error(
        "there is no WHIP endpoint at {url}: {detail}.\n  A bicast server has it at http://HOST:8080/whip/FEED; FEED is 1 to 64 of A-Z a-z 0-9 - _ ."
    )]
    NoEndpoint {
        /// The address.
        url: String,
        /// What the server says.
        detail: String,
    },
    /// 409: the feed has a publisher.
    #[error(
        "the feed is taken: {detail}.\n  Stop the other publisher, publish to another feed, or use --retry to wait until it leaves."
    )]
    Taken {
        /// What the server says.
        detail: String,
    },
    /// 429 or 5xx.
    #[error("the server cannot take it now ({status}): {detail}.\n  --retry keeps trying.")]
    Unavailable {
        /// The status code.
        status: u16,
        /// What the server says.
        detail: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Any other refusal.
    #[error("the server refused to take the feed ({status}): {detail}.")]
    Refused {
        /// The status code.
        status: u16,
        /// What the server says.
        detail: String,
    },
    /// More redirects than anybody needs.
    #[error("{0} sends from one address to the next without end: correct --whip.")]
    Redirects(String),
    /// The answer does not take a track.
    #[error("the server does not take the {kind}: its answer leaves {codec} out.\n  {next}")]
    TrackRefused {
        /// `video` or `audio`.
        kind: &'static str,
        /// What was offered.
        codec: String,
        /// What to do about it.
        next: &'static str,
    },
    /// ICE or DTLS did not finish.
    #[error("the server answered, but no media connection came up within {} s.\n  Its UDP port (8189 by default) must be reachable from here: check firewalls, and `public_addresses` in its configuration.", .0.as_secs())]
    NoMedia(Duration),
    /// The media connection broke.
    #[error(
        "the connection was lost: the server stopped answering.\n  --retry publishes again when it is back."
    )]
    Lost,
    /// A file that cannot be opened.
    #[error("cannot read {path}: {source}.")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that is no MP4.
    #[error("{path} is not an MP4 file that can be played: {reason}.\n  Make one of it: ffmpeg -i {path} -c:v libx264 -g 50 -bf 0 -c:a aac -movflags +faststart out.mp4", path = .path.display())]
    NotMp4 {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A fragmented MP4.
    #[error("{path} is a fragmented MP4, which cannot be played in a loop.\n  Rewrite it without loss: ffmpeg -i {path} -c copy -movflags +faststart out.mp4", path = .path.display())]
    Fragmented {
        /// The file.
        path: PathBuf,
    },
    /// A file with neither H.264 nor AAC.
    #[error("{path} has nothing to publish: {reason}.\n  {next}", path = .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        reason: String,
        /// What to do about it.
        next: String,
    },
    /// Contradicting tables.
    #[error("{path}: {source}.\n  ffmpeg may repair it: ffmpeg -i {path} -c copy -movflags +faststart out.mp4", path = .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which table.
        source: BadTable,
    },
    /// A codec library failed.
    #[error("{what} failed: {reason}.")]
    Codec {
        /// Which encoder or decoder.
        what: &'static str,
        /// What it says.
        reason: String,
    },
    /// The WebRTC library failed.
    #[error("WebRTC: {0}.")]
    WebRtc(#[from] webrtc::error::Error),
    /// A wrong combination of options.
    #[error("{0}")]
    Options(String),
}

impl Error {
    /// Whether trying again may help: what the other side can change, in contrast to what must be changed here.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::NoAnswer { .. }
                | Self::Taken { .. }
                | Self::Unavailable { .. }
                | Self::NoMedia(_)
                | Self::Lost
        )
    }

    /// When the server wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Unavailable { retry_after, .. } = self { *retry_after } else { None }
    }

    pub(crate) fn codec(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Codec { what, reason: reason.to_string() }
    }
}
