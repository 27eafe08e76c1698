//! A viewer's event channel: a WebSocket (RFC 6455) on which its player reports, too, or Server-Sent Events for who wants less.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bicast_shared::problem::Problem;
use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::viewers::{ViewerInPath, wants_events};
use crate::api;
use crate::api::channel::{PlayerMessage, ServerMessage};
use crate::api::viewers::Viewer;
use crate::core::refusals::refused;
use crate::core::roster::Refused;
use crate::desk::Line;

/// Bytes of a player's message. A full report has 300.
const LONGEST_MESSAGE: usize = 4 * 1024;
/// Channels that one viewer may have open: a player has one, and another while it comes back.
const CHANNELS: u32 = 4;
/// How often it is looked what has become of the feed.
const LOOK: Duration = Duration::from_millis(500);
/// How often a viewer is told the mapping again where it has only moved by what clocks drift.
const DRIFT: u32 = 20;
/// How often the other end is asked whether it is there.
const PING: u32 = 20;
/// A player that sends so many messages that could not be used is hung up on.
const PATIENCE: u32 = 100;
/// Messages that wait for a slow reader. It is hung up on when there are more: it comes back with `?after=` and is told them then.
const QUEUE: usize = 64;

/// From where on a channel goes on.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Since {
    after: Option<u64>,
}

/// Open a viewer's event channel
///
/// A WebSocket, or Server-Sent Events where `Accept` asks for `text/event-stream`. Messages are JSON objects with a `type` (schema
/// `ServerMessage`); over a WebSocket the player sends `PlayerMessage`s. Who comes back says the last `sequence` that it saw in `after`
/// (or in `Last-Event-ID`), and misses nothing.
#[utoipa::path(
    get, path = "/v1/feeds/{id}/viewers/{viewer}/events", tag = "viewers", operation_id = "openChannel",
    params(
        ("id" = String, Path, description = "The feed", example = "demo", pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"),
        ("viewer" = String, Path, description = "The viewer", example = "5f1d0c7e9a3b4f2d8c6976e5b5410415"),
        ("after" = Option<u64>, Query, description = "The last sequence number that was seen"),
    ),
    responses(
        (status = 101, description = "The WebSocket is open"),
        (status = 200, description = "Server-Sent Events, each one a `ServerMessage`", body = ServerMessage,
            content_type = "text/event-stream"),
        (status = 400, description = "Neither a WebSocket nor Server-Sent Events were asked for, or the query is wrong",
            body = api::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such viewer", body = api::Problem,
            content_type = "application/problem+json"),
        (status = 410, description = "It has ended", body = api::Problem, content_type = "application/problem+json"),
        (status = 429, description = "It has too many channels open", body = api::Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn open(
    State(shared): State<Shared>,
    ViewerInPath(feed, id): ViewerInPath,
    query: Result<Query<Since>, QueryRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = match query {
        Ok(Query(since)) => since.after.or(last_seen),
        Err(error) => return bad_channel(&error.body_text()).into_response(),
    };
    match shared.desk.viewer(&feed, &id) {
        Ok(viewer) if viewer.channels >= CHANNELS => return too_many().into_response(),
        Ok(_) => {}
        Err(why) => return refused(&feed, &id, why).into_response(),
    }
    let line = match shared.desk.line(&feed, &id) {
        Ok(line) => line,
        Err(why) => return refused(&feed, &id, why).into_response(),
    };
    match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(LONGEST_MESSAGE)
            .max_frame_size(LONGEST_MESSAGE)
            .on_upgrade(move |socket| talk(shared, line, after, socket)),
        Err(_) if wants_events(&headers) => stream(shared, line, after),
        Err(error) => bad_channel(&error.body_text()).into_response(),
    }
}

fn bad_channel(why: &str) -> Problem {
    Problem::new(400, "bad-channel", "Bad event channel", format!("No channel can be opened: {why}."))
        .hint("Open a WebSocket, or ask with Accept: text/event-stream; after is the last sequence number that was seen.")
}

fn too_many() -> Problem {
    Problem::new(
        429,
        "too-many-channels",
        "Too many channels",
        format!("A viewer may have {CHANNELS} channels open."),
    )
    .hint("Close one first.")
}

/// What a channel says, message by message.
struct Telling {
    shared: Shared,
    line: Line,
    told: u64,
    feed: Option<ServerMessage>,
    timeline: Option<api::Timeline>,
    probe: bool,
    looks: u32,
}

impl Telling {
    fn new(shared: Shared, line: Line) -> Self {
        Self { shared, line, told: 0, feed: None, timeline: None, probe: false, looks: 0 }
    }

    /// What is said first.
    fn begin(&mut self, after: Option<u64>) -> Result<Vec<ServerMessage>, Refused> {
        let viewer: Viewer = self.shared.desk.viewer(&self.line.feed, self.line.id.as_str())?;
        let sequence = self.shared.desk.newest(&self.line.id).ok_or(Refused::Unknown)?;
        // Who has seen nothing is told how it stands; who comes back also what it has missed.
        self.told = after.map_or(sequence, |after| after.min(sequence));
        let (missed_messages, missed) =
            self.shared.desk.news(&self.line.id, self.told).ok_or(Refused::Unknown)?;
        let mut first = vec![ServerMessage::Hello { sequence, missed, viewer: Box::new(viewer) }];
        first.extend(missed_messages);
        self.told = sequence;
        first.extend(self.look());
        Ok(first)
    }

    /// What is new of the viewer; the channel is over behind an `End`.
    fn news(&mut self) -> (Vec<ServerMessage>, bool) {
        let Some((messages, _)) = self.shared.desk.news(&self.line.id, self.told) else {
            return (Vec::new(), true);
        };
        self.told = messages.last().map_or(self.told, sequence_of);
        let over = matches!(messages.last(), Some(ServerMessage::End { .. }));
        (messages, over)
    }

    /// What is new of the feed.
    fn look(&mut self) -> Vec<ServerMessage> {
        let (feed, probe) = self.shared.desk.look(&self.line.feed, self.line.id.as_str());
        let mut news = Vec::new();
        if std::mem::replace(&mut self.probe, probe) != probe {
            news.push(ServerMessage::Probe { wanted: probe });
        }
        let Some(feed) = feed else { return news };
        if self.feed.as_ref() != Some(&feed.state) {
            self.feed = Some(feed.state.clone());
            news.push(feed.state.clone());
        }
        self.looks += 1;
        let moved = feed.timeline.as_ref().filter(|now| {
            self.timeline.as_ref().is_none_or(|told| {
                let drifted = told.version != now.version && self.looks.is_multiple_of(DRIFT);
                let jumped = (told.anchor_unix_ms - now.anchor_unix_ms).abs() > 5.0;
                drifted || jumped || told.tracks.len() != now.tracks.len()
            })
        });
        if let Some(timeline) = moved.cloned() {
            self.timeline = Some(timeline.clone());
            news.push(ServerMessage::Timeline { timeline });
        }
        news
    }
}

fn sequence_of(message: &ServerMessage) -> u64 {
    match message {
        ServerMessage::Decision { sequence, .. }
        | ServerMessage::JoinAgain { sequence, .. }
        | ServerMessage::End { sequence, .. }
        | ServerMessage::Hello { sequence, .. } => *sequence,
        ServerMessage::Feed { .. }
        | ServerMessage::Timeline { .. }
        | ServerMessage::Probe { .. }
        | ServerMessage::Problem { .. } => 0,
    }
}

fn text(message: &ServerMessage) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// Speaks over a WebSocket until either end has had enough.
async fn talk(shared: Shared, line: Line, after: Option<u64>, mut socket: WebSocket) {
    let mut bell = line.bell.clone();
    let mut telling = Telling::new(shared, line);
    let Ok(first) = telling.begin(after) else { return };
    if tell(&mut socket, &first).await.is_err() {
        return;
    }
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut since_ping, mut answered, mut bad) = (0, true, 0);
    let (code, why) = loop {
        let (messages, over) = tokio::select! {
            rung = bell.changed() => {
                if rung.is_err() {
                    break (close_code::NORMAL, "the viewer is forgotten");
                }
                telling.news()
            }
            _ = looks.tick() => {
                since_ping += 1;
                if since_ping == PING {
                    if !std::mem::take(&mut answered) {
                        break (close_code::AWAY, "no pong came");
                    }
                    since_ping = 0;
                    if socket.send(Message::Ping(axum::body::Bytes::new())).await.is_err() {
                        return;
                    }
                }
                (telling.look(), false)
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    answered = true;
                    let problem = hear(&telling, text.as_str());
                    bad += u32::from(problem.is_some());
                    if bad > PATIENCE {
                        break (close_code::POLICY, "too many messages that could not be used");
                    }
                    (problem.into_iter().collect(), false)
                }
                Some(Ok(Message::Binary(_))) => break (close_code::UNSUPPORTED, "messages are text"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => { answered = true; continue }
                Some(Ok(Message::Close(_))) | None => return,
                Some(Err(error)) => {
                    tracing::debug!(%error, "event channel");
                    return;
                }
            }
        };
        if tell(&mut socket, &messages).await.is_err() {
            return;
        }
        if over {
            break (close_code::NORMAL, "the viewer has ended");
        }
    };
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: why.into() }))).await;
}

/// How long a reader may take for what is sent to it.
const TAKES: Duration = Duration::from_secs(10);

async fn tell(socket: &mut WebSocket, messages: &[ServerMessage]) -> Result<(), ()> {
    for message in messages {
        let sent = tokio::time::timeout(TAKES, socket.send(Message::Text(text(message).into()))).await;
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(()),
            Err(_) => {
                metrics::counter!("bicast_channels_dropped_total", "reason" => "slow").increment(1);
                return Err(());
            }
        }
    }
    Ok(())
}

/// Takes a message of the player; what is wrong with it, where something is.
fn hear(telling: &Telling, text: &str) -> Option<ServerMessage> {
    let desk = &telling.shared.desk;
    let message: PlayerMessage = match serde_json::from_str(text) {
        Ok(message) => message,
        Err(error) => {
            desk.could_not_read();
            return Some(ServerMessage::Problem {
                detail: format!("The message cannot be used: {error}."),
                hint: "Send {\"type\": \"report\", ...} or {\"type\": \"switched\", ...}.".into(),
            });
        }
    };
    match desk.said(&telling.line.feed, telling.line.id.as_str(), &message) {
        Ok(()) => None,
        Err(why) => {
            let problem = refused(&telling.line.feed, telling.line.id.as_str(), why);
            Some(ServerMessage::Problem { detail: problem.detail, hint: problem.hint.unwrap_or_default() })
        }
    }
}

/// Server-Sent Events.
fn stream(shared: Shared, line: Line, after: Option<u64>) -> Response {
    let bell = line.bell.clone();
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut telling = Telling::new(shared, line);
    match telling.begin(after) {
        Ok(first) => {
            for message in first {
                let _ = sender.try_send(message);
            }
        }
        Err(why) => return refused(&telling.line.feed, telling.line.id.as_str(), why).into_response(),
    }
    tokio::spawn(feed_stream(telling, bell, sender));
    let mut response = Sse::new(Told(receiver)).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells until the reader is gone, is too slow, or the viewer has ended.
async fn feed_stream(
    mut telling: Telling,
    mut bell: watch::Receiver<u64>,
    sender: mpsc::Sender<ServerMessage>,
) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (messages, over) = tokio::select! {
            rung = bell.changed() => if rung.is_ok() { telling.news() } else { return },
            _ = looks.tick() => (telling.look(), false),
            () = sender.closed() => return,
        };
        for message in messages {
            if sender.try_send(message).is_err() {
                metrics::counter!("bicast_channels_dropped_total", "reason" => "slow").increment(1);
                return;
            }
        }
        if over {
            return;
        }
    }
}

/// The messages as events.
struct Told(mpsc::Receiver<ServerMessage>);

impl Stream for Told {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|message| {
            message.map(|message| {
                let event = Event::default().data(text(&message));
                // `Last-Event-ID` of who comes back.
                Ok(match sequence_of(&message) {
                    0 => event,
                    sequence => event.id(sequence.to_string()),
                })
            })
        })
    }
}
