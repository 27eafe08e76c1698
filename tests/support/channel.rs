//! A viewer that has joined, and its event channel, as a player has them.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Method;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::http;
use crate::server::Server;
use crate::wait::GENEROUS;

/// A viewer that has joined.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// What it was told when it joined.
    pub joined: Value,
    /// Its path under `/v1`.
    pub path: String,
}

impl Viewer {
    /// Joins a feed with this body and, where one is wanted, this token.
    ///
    /// # Errors
    /// Where it is not let in.
    pub async fn join(server: &Server, feed: &str, body: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let answer = join(server, feed, body, token).await?;
        anyhow::ensure!(answer.status == 201, "{}: {}", answer.status, answer.text());
        let (joined, path) = (answer.json()?, answer.header("location").to_owned());
        Ok(Self { joined, path })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.joined["viewer"]["id"].as_str().unwrap_or_default()
    }

    /// One of its addresses.
    ///
    /// # Errors
    /// Where it was not given one of this name.
    pub fn url(&self, server: &Server, name: &str) -> anyhow::Result<String> {
        let url = self.joined["urls"][name].as_str().with_context(|| format!("no {name} URL"))?;
        Ok(server.url(url))
    }

    /// How the API shows it.
    ///
    /// # Errors
    /// Where there is none any more.
    pub async fn look(&self, server: &Server) -> anyhow::Result<Value> {
        http::get(&server.url(&self.path)).await?.success()?.json()
    }

    /// Asks for a change (PATCH).
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn change(&self, server: &Server, body: &str) -> anyhow::Result<http::Response> {
        let headers = [("content-type", "application/json")];
        http::request_with(Method::PATCH, &server.url(&self.path), &headers, body.to_owned()).await
    }

    /// Opens its event channel.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn listen(&self, server: &Server, query: &str) -> anyhow::Result<Channel> {
        Channel::open(&format!("{}{query}", self.url(server, "events")?)).await
    }
}

/// Asks to join.
///
/// # Errors
/// Where no answer comes.
pub async fn join(
    server: &Server,
    feed: &str,
    body: &str,
    token: Option<&str>,
) -> anyhow::Result<http::Response> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let url = server.url(&format!("/v1/feeds/{feed}/viewers"));
    http::request_with(Method::POST, &url, &headers, body.to_owned()).await
}

/// An open event channel.
pub struct Channel<S = MaybeTlsStream<TcpStream>>(WebSocketStream<S>);

/// What came over a channel.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// A message.
    Said(Value),
    /// The other end has closed it, with this code and reason.
    Closed(Option<(u16, String)>),
}

impl Channel {
    /// Opens the channel at an `http:` URL.
    ///
    /// # Errors
    /// Where the server does not agree.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let url = url.replacen("http", "ws", 1);
        let (socket, _) = tokio_tungstenite::connect_async(url).await?;
        Ok(Self(socket))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    /// Opens the channel at a path over a connection of the test's own.
    ///
    /// # Errors
    /// Where the server does not agree.
    pub async fn over(stream: S, path: &str) -> anyhow::Result<Self> {
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://localhost{path}"), stream).await?;
        Ok(Self(socket))
    }

    /// What comes next.
    ///
    /// # Errors
    /// Where nothing does, or it is no JSON.
    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            let received = tokio::time::timeout(GENEROUS, self.0.next()).await.context("nothing is said")?;
            match received {
                Some(Ok(Message::Text(text))) => {
                    return Ok(Heard::Said(serde_json::from_str(text.as_str())?));
                }
                Some(Ok(Message::Close(frame))) => {
                    let told = frame.map(|frame| (u16::from(frame.code), frame.reason.to_string()));
                    return Ok(Heard::Closed(told));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(Heard::Closed(None)),
            }
        }
    }

    /// The next message of this type; others are passed over.
    ///
    /// # Errors
    /// Where it does not come before the channel closes.
    pub async fn until(&mut self, kind: &str) -> anyhow::Result<Value> {
        loop {
            match self.next().await? {
                Heard::Said(message) if message["type"] == kind => return Ok(message),
                Heard::Said(_) => {}
                Heard::Closed(why) => anyhow::bail!("no {kind} came before the channel closed: {why:?}"),
            }
        }
    }

    /// Waits until the other end has closed it, whatever is said before, and tells how.
    ///
    /// # Errors
    /// Where it stays open.
    pub async fn closed(&mut self) -> anyhow::Result<Option<(u16, String)>> {
        let deadline = tokio::time::Instant::now() + GENEROUS;
        loop {
            let next = tokio::time::timeout_at(deadline, self.next()).await;
            if let Heard::Closed(why) = next.context("the channel stays open")?? {
                return Ok(why);
            }
        }
    }

    /// The messages of this type that come within a time in which none should.
    ///
    /// # Errors
    /// Where one is no JSON.
    pub async fn within(&mut self, time: Duration, kind: &str) -> anyhow::Result<Vec<Value>> {
        let mut heard = Vec::new();
        let deadline = tokio::time::Instant::now() + time;
        while let Ok(next) = tokio::time::timeout_at(deadline, self.next()).await {
            match next? {
                Heard::Said(message) if message["type"] == kind => heard.push(message),
                Heard::Said(_) => {}
                Heard::Closed(_) => break,
            }
        }
        Ok(heard)
    }

    /// Says something.
    ///
    /// # Errors
    /// Where the channel is closed.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(text.to_owned())).await?)
    }

    /// Sends bytes, which no player does.
    ///
    /// # Errors
    /// Where the channel is closed.
    pub async fn send_bytes(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.0.send(Message::binary(bytes)).await?)
    }

    /// Goes away as a browser does.
    ///
    /// # Errors
    /// Where it is closed already.
    pub async fn close(mut self) -> anyhow::Result<()> {
        Ok(self.0.close(None).await?)
    }
}

/// The code of a channel that was closed on purpose.
#[must_use]
pub fn normal() -> u16 {
    CloseCode::Normal.into()
}
