//! TCP connections through a line: every byte in order, when the line lets it arrive.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::core::way::{KEEPING, LARGEST_READ, SEGMENT, Stream};
use crate::line::{Lane, Line};
use crate::proxy::{Ends, Proxy};

/// Connections at the same time; further ones wait until one is closed. A browser opens six and one for each event channel.
const CONNECTIONS: usize = 64;
/// Bytes under way in a connection: what a receiver's window lets a sender send ahead.
const WINDOW_TO_VIEWER: usize = 256 << 10;
const WINDOW_FROM_VIEWER: usize = 64 << 10;
/// Bytes between a connection and the proxy.
const BETWEEN: usize = 16 << 10;

/// Serves a line's TCP port on one address, for as long as it is polled.
pub(crate) async fn accept(listener: TcpListener, proxy: Arc<Proxy>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (line, proxy) = (Arc::clone(&proxy.line), Arc::clone(&proxy));
                let closing = line.closing.clone();
                let connection = async move {
                    serve(stream, peer, proxy).await;
                    drop(place);
                };
                line.tasks.spawn(closing.run_until_cancelled_owned(connection));
            }
            Err(error) => {
                // One connection's own error, or no file descriptors left: the pause keeps the latter from spinning.
                tracing::debug!(%error, port = proxy.line.port, "accept on a demo line");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection until its end.
async fn serve(stream: TcpStream, peer: SocketAddr, proxy: Arc<Proxy>) {
    // What the line has let go must not wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY");
    }
    let local = stream.local_addr().map_or(peer.ip(), |address| address.ip());
    let line = Arc::clone(&proxy.line);
    let (near, far) = tokio::io::duplex(BETWEEN);
    let (mut from_viewer, mut to_viewer) = split(stream);
    let (mut from_proxy, mut to_proxy) = split(near);
    let up = pass(&line, &line.from_viewer, WINDOW_FROM_VIEWER, &mut from_viewer, &mut to_proxy);
    let down = pass(&line, &line.to_viewer, WINDOW_TO_VIEWER, &mut from_proxy, &mut to_viewer);
    // A viewer that has asked its last may still be answered; one that is gone may not. What was answered has to pass the line before the
    // end.
    let up = async {
        match up.await {
            Ok(()) => std::future::pending().await,
            Err(error) => error,
        }
    };
    let http = async {
        proxy.serve(far, Ends { local, peer: peer.ip() }).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = down => if let Err(error) = result { tracing::debug!(%error, %peer, "to a viewer on a demo line") },
        error = up => tracing::debug!(%error, %peer, "from a viewer on a demo line"),
        () = http => {}
    }
}

/// Passes bytes in one direction until their end, and tells the other side that it is the end.
///
/// # Errors
/// Those of both sides.
async fn pass(
    line: &Line,
    lane: &Lane,
    window: usize,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut stream = Stream::default();
    let mut under_way: VecDeque<(Instant, Bytes)> = VecDeque::new();
    let mut kept = 0;
    let mut buffer = vec![0; LARGEST_READ];
    let mut open = true;
    loop {
        let now = clock::now();
        // Without a timer where there is nothing to wait for: they are up to a millisecond late.
        while let Some((_, segment)) = under_way.pop_front_if(|(at, _)| *at <= now) {
            to.write_all(&segment).await?;
            kept -= segment.len() + KEEPING;
            lane.tcp_arrived(line, segment.len());
        }
        if !open && under_way.is_empty() {
            break;
        }
        let next = under_way.front().map(|(at, _)| *at);
        let (room_at, turn) = {
            let way = lane.way.lock();
            (way.room_at(now, &stream), way.turn())
        };
        let fits = open && kept < window;
        let wake = [next, room_at.filter(|_| fits)].into_iter().flatten().min();
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => {}
            read = from.read(&mut buffer[..turn]), if fits && room_at.is_none() => {
                let read = read?;
                open = read > 0;
                let now = clock::now();
                let mut way = lane.way.lock();
                for segment in buffer[..read].chunks(SEGMENT) {
                    let arrival = way.segment(now, &mut stream, segment.len());
                    if arrival.held {
                        lane.tcp_held();
                    }
                    kept += segment.len() + KEEPING;
                    under_way.push_back((arrival.at, Bytes::copy_from_slice(segment)));
                }
            }
        }
    }
    to.shutdown().await
}
