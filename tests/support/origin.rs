//! An LL-HLS origin of the test's own making: its media says nothing, but it comes in real time, can be waited for, and has the
//! trouble that the test wants.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a part is.
pub const PART: Duration = Duration::from_millis(250);
/// Parts in a segment.
const PARTS: u64 = 4;
/// Segments listed with their parts.
const LISTED: u64 = 6;
/// Bytes of a part.
pub const PART_BYTES: usize = 10_000;

/// What kind of origin it is.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Whether its playlist can be waited for.
    pub blocks: bool,
    /// What goes wrong.
    pub trouble: Trouble,
}

/// What goes wrong with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// After so many requests that waited, nothing comes for so long.
    Stops(u64, Duration),
    /// After so many requests that waited, there is one part that is listed in time and given so much later.
    Late(u64, Duration),
    /// A part of each segment is answered with 404.
    Loses,
}

struct Feed {
    manner: Manner,
    /// Parts that are there, of the whole feed.
    parts: watch::Sender<u64>,
    waited: AtomicU64,
    /// The first part after the trouble began.
    marked: OnceLock<u64>,
    /// How often each part was given, by its place in the feed.
    served: Mutex<BTreeMap<u64, u64>>,
}

/// A running origin. Dropping it ends it.
pub struct Origin {
    address: SocketAddr,
    feed: Arc<Feed>,
    _tasks: JoinSet<()>,
}

impl Origin {
    /// Starts one whose feed has run for some seconds.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(manner: Manner) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let feed = Arc::new(Feed {
            manner,
            parts: watch::Sender::new(PARTS * LISTED),
            waited: AtomicU64::new(0),
            marked: OnceLock::new(),
            served: Mutex::default(),
        });
        let routes = Router::new()
            .route("/media.m3u8", get(playlist))
            .route("/{name}", get(part))
            .with_state(Arc::clone(&feed));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(Arc::clone(&feed)));
        tasks.spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, feed, _tasks: tasks })
    }

    /// Its media playlist.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/media.m3u8", self.address)
    }

    /// The part that a late origin gave late, or the first after it had stopped: its place in the feed.
    #[must_use]
    pub fn marked(&self) -> Option<u64> {
        self.feed.marked.get().copied()
    }

    /// How often each part was given, by its place in the feed.
    #[must_use]
    pub fn served(&self) -> BTreeMap<u64, u64> {
        self.feed.served.lock().clone()
    }
}

async fn run(feed: Arc<Feed>) {
    loop {
        tokio::time::sleep(PART).await;
        if let Trouble::Stops(after, time) | Trouble::Late(after, time) = feed.manner.trouble
            && feed.marked.get().is_none()
            && feed.waited.load(Ordering::Relaxed) >= after
        {
            feed.marked.get_or_init(|| *feed.parts.borrow());
            if matches!(feed.manner.trouble, Trouble::Stops(..)) {
                tokio::time::sleep(time).await;
            }
        }
        feed.parts.send_modify(|parts| *parts += 1);
    }
}

async fn playlist(State(feed): State<Arc<Feed>>, RawQuery(query): RawQuery) -> Response {
    let number = |name: &str| {
        let text =
            query.as_deref()?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        text.parse::<u64>().ok()
    };
    let mut parts = feed.parts.subscribe();
    if let (Some(segment), Some(part)) = (number("_HLS_msn"), number("_HLS_part")) {
        let wanted = segment * PARTS + part;
        if parts.wait_for(|parts| *parts > wanted).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        feed.waited.fetch_add(1, Ordering::Relaxed);
    }
    let parts = *parts.borrow();
    text(feed.manner.blocks, parts).into_response()
}

fn text(blocks: bool, parts: u64) -> String {
    let (last, seconds) = (parts / PARTS, PART.as_secs_f64());
    let first = last.saturating_sub(LISTED);
    let control = if blocks { "CAN-BLOCK-RELOAD=YES," } else { "" };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:{control}PART-HOLD-BACK={}\n\
         #EXT-X-PART-INF:PART-TARGET={seconds}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n",
        seconds * 3.0
    );
    for segment in first..=last {
        let there = if segment == last { parts % PARTS } else { PARTS };
        for part in 0..there {
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "#EXT-X-PART:DURATION={seconds},URI=\"{segment}.{part}.m4s\",INDEPENDENT=YES");
        }
        if segment < last {
            let _ = writeln!(text, "#EXTINF:1.0,\n{segment}.m4s");
        }
    }
    text
}

async fn part(State(feed): State<Arc<Feed>>, Path(name): Path<String>) -> Response {
    let numbers = name.strip_suffix(".m4s").and_then(|name| {
        let (segment, part) = name.split_once('.')?;
        Some((segment.parse::<u64>().ok()?, part.parse::<u64>().ok()?))
    });
    match numbers {
        None if name == "init.mp4" => vec![0_u8; 700].into_response(),
        Some((_, 1)) if feed.manner.trouble == Trouble::Loses => StatusCode::NOT_FOUND.into_response(),
        Some((segment, part)) if segment * PARTS + part < *feed.parts.borrow() => {
            let place = segment * PARTS + part;
            if let Trouble::Late(_, time) = feed.manner.trouble
                && feed.marked.get() == Some(&place)
            {
                tokio::time::sleep(time).await;
            }
            *feed.served.lock().entry(place).or_default() += 1;
            vec![0_u8; PART_BYTES].into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
