//! Accepts connections, serves them with HTTP/1.1 or HTTP/2 (h2c), and ends them.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use bicast_shared::clock;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::app::App;
use super::guard::{self, Guarded};
use super::pace::{Pace, Paced};
use super::tls::Tls;
use crate::config::HttpConfig;

/// Requests that one HTTP/2 connection may have open: a player has a handful.
const STREAMS: u32 = 128;
/// Bytes of a request's header over HTTP/2, and over HTTP/1.1.
const HEADER_BYTES: u32 = 32 * 1024;
const HEADER_BYTES_1: usize = 64 * 1024;
/// Streams that an HTTP/2 client may have opened and reset before they were looked at, and those that it may make the server reset; with
/// more it is hung up on (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 20;
const OWN_RESETS: usize = 128;
/// So many times in a stall's length it is looked whether a connection's answers move.
const LOOKS: u32 = 4;
/// How often an HTTP/2 client that says nothing is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How often it is said that connections cannot be accepted.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The listeners and their connections.
pub(crate) struct Server {
    tasks: TaskTracker,
    /// Asks the connections to end with the answer they are giving.
    finish: CancellationToken,
    /// Ends them now.
    abort: CancellationToken,
}

/// What every connection needs.
#[derive(Clone)]
struct Serving {
    app: App,
    builder: auto::Builder<TokioExecutor>,
    open_within: Duration,
    stall_after: Duration,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    finish: CancellationToken,
    abort: CancellationToken,
}

impl Server {
    /// Begins to serve `app` on all listeners, with TLS on those that are `secure`. Must be called inside a tokio runtime.
    pub(crate) fn start(
        listeners: Vec<TcpListener>,
        secure: Option<(Tls, Vec<TcpListener>)>,
        app: App,
        config: &HttpConfig,
    ) -> Self {
        let tasks = TaskTracker::new();
        let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
        let serving = Serving {
            app,
            builder: builder(config),
            open_within: Duration::from_secs_f64(config.header_timeout),
            stall_after: Duration::from_secs_f64(config.stall_timeout),
            places: Arc::new(Semaphore::new(config.max_connections)),
            tasks: tasks.clone(),
            finish: finish.clone(),
            abort: abort.clone(),
        };
        for listener in listeners {
            tasks.spawn(accept(listener, None, serving.clone()));
        }
        if let Some((tls, listeners)) = secure {
            for listener in listeners {
                tasks.spawn(accept(listener, Some(tls.clone()), serving.clone()));
            }
            tasks.spawn(tls.watch(finish.clone()));
        }
        Self { tasks, finish, abort }
    }

    /// Closes the listeners, lets connections finish the answers they are giving for at most `grace`, and ends them.
    pub(crate) async fn stop(self, grace: Duration) {
        self.finish.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::info!(connections = self.tasks.len(), "closing connections that have not finished");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

fn builder(config: &HttpConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs_f64(config.header_timeout))
        .max_buf_size(HEADER_BYTES_1);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

async fn accept(listener: TcpListener, tls: Option<Tls>, serving: Serving) {
    let mut warned: Option<Instant> = None;
    loop {
        let next = async {
            // A place first, a connection then: further ones wait in the kernel's backlog.
            let place = serving.places.clone().acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = serving.finish.cancelled() => return,
            accepted = next => accepted,
        };
        let Some((place, accepted)) = accepted else { return };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(stream, peer, tls.clone(), serving.clone());
                serving.tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // One connection's own error, or no file descriptors left: the pause keeps the latter from spinning.
                let now = clock::now();
                let quiet = warned.is_some_and(|at| now.duration_since(at) < WARN_EVERY);
                if is_out_of_files(&error) && !quiet {
                    warned = Some(now);
                    tracing::warn!(%error, "connections cannot be accepted: raise the limit of open files (ulimit -n)");
                } else {
                    tracing::debug!(%error, "accept");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    /// EMFILE and ENFILE, the same on all Unixes.
    const CODES: [i32; 2] = [24, 23];
    cfg!(unix) && error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

async fn serve(stream: TcpStream, peer: SocketAddr, tls: Option<Tls>, serving: Serving) {
    let gauge = metrics::gauge!("bicast_http_connections");
    metrics::counter!("bicast_http_connections_total").increment(1);
    gauge.increment(1.0);
    // Parts are small: Nagle's algorithm would hold each one's last bytes back for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY");
    }
    match tls {
        None => speak(stream, peer, serving).await,
        Some(tls) => {
            let shaken = tokio::time::timeout(serving.open_within, tls.acceptor().accept(stream));
            let shaken = tokio::select! {
                shaken = shaken => shaken,
                () = serving.abort.cancelled() => return gauge.decrement(1.0),
            };
            match shaken {
                Ok(Ok(stream)) => speak(stream, peer, serving).await,
                Ok(Err(error)) => {
                    metrics::counter!("bicast_tls_handshake_failures_total", "reason" => "refused")
                        .increment(1);
                    tracing::debug!(%error, %peer, "TLS handshake");
                }
                Err(_) => {
                    metrics::counter!("bicast_tls_handshake_failures_total", "reason" => "timeout")
                        .increment(1);
                }
            }
        }
    }
    gauge.decrement(1.0);
}

/// Speaks HTTP on a connection until its end.
async fn speak<S>(stream: S, peer: SocketAddr, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (app, pace) = (serving.app, Arc::new(Pace::default()));
    let answers = pace.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, pace) = (app.clone().oneshot(request), answers.clone());
        async move { answer.await.map(|response: Response<Body>| response.map(|body| Paced::new(body, &pace))) }
    });
    let stall_after = serving.stall_after;
    let io = TokioIo::new(Guarded::new(stream, serving.open_within, stall_after, pace.clone()));
    let mut connection = pin!(serving.builder.serve_connection_with_upgrades(io, service));
    let mut looks = tokio::time::interval(stall_after / LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut finishing = false;
    let outcome = loop {
        tokio::select! {
            outcome = connection.as_mut() => break outcome,
            () = serving.finish.cancelled(), if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = serving.abort.cancelled() => break Ok(()),
            _ = looks.tick() => {
                if pace.is_stalled(clock::now(), stall_after) {
                    break Err(guard::dropped("stalled").into());
                }
            }
        }
    };
    if let Err(error) = outcome {
        if let Some(reason) = misbehaved(&*error, &pace) {
            guard::count_dropped(reason);
        }
        tracing::debug!(%error, %peer, "connection");
    }
}

/// What a client did that hyper ended its connection for; none where it was only idle, or is gone.
fn misbehaved(error: &(dyn Error + 'static), pace: &Pace) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return match error {
                error if error.is_parse_too_large() => Some("large_header"),
                // The guard's own errors are timeouts, too, and were counted.
                error if error.is_timeout() && error.source().is_none() && pace.is_asking() => {
                    Some("slow_header")
                }
                _ => None,
            };
        }
        let error = cause.downcast_ref::<h2::Error>()?;
        (error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)).then_some("flood")
    })
}
