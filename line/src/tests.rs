//! Lines over real sockets on loopback, in front of a gateway of the tests' own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{any, post};
use bicast_shared::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::core::network::Network;
use crate::{Gateway, Lines};

const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ANSWER: &str = "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host\r\na=candidate:2 1 tcp 1 127.0.0.1 8189 typ host tcptype passive\r\n";

/// A gateway that echoes datagrams, tells what headers came, and answers WHEP. Lines in front of it on a port that is free.
async fn lines() -> Lines {
    let udp = UdpSocket::bind(HERE).await.unwrap();
    let sfu = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while let Ok((size, from)) = udp.recv_from(&mut buffer).await {
            let _ = udp.send_to(&buffer[..size], from).await;
        }
    });
    let tell = |headers: HeaderMap| async move { format!("{headers:?}") };
    let answer = || async { ([("content-type", "application/sdp")], ANSWER) };
    let app = Router::new().route("/whep/x", post(answer)).fallback(any(tell));
    let listener = TcpListener::bind(HERE).await.unwrap();
    let http = vec![listener.local_addr().unwrap()];
    tokio::spawn(async move { axum::serve(listener, app).await });
    let free = std::net::TcpListener::bind(HERE).unwrap().local_addr().unwrap().port();
    Lines::start(Gateway { http, udp: sfu }, free.to_string().parse().unwrap())
}

/// Sends a request as it stands and reads until the other end closes.
async fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn nobodys_line_is_removed_and_its_port_free() {
    let (lines, now) = (lines().await, clock::now());
    let line = lines.make(now, Network::default()).unwrap();
    assert!(lines.make(now, Network::default()).is_none(), "one port, one line");
    let seconds = Duration::from_secs;
    lines.sweep(now + seconds(119)).await;
    line.touch(now + seconds(100));
    lines.sweep(now + seconds(219)).await;
    assert!(lines.find(&line.id).is_some(), "somebody asked about it");
    lines.sweep(now + seconds(221)).await;
    assert!(lines.find(&line.id).is_none() && lines.all().is_empty());
    let next = lines.make(now, Network::default()).unwrap();
    assert_eq!(next.port, line.port);
    assert!(!lines.remove(&line.id).await && lines.remove(&next.id).await);
}

#[tokio::test]
async fn the_host_passes_and_what_concerns_one_connection_does_not() {
    let lines = lines().await;
    let line = lines.make(clock::now(), Network { delay_ms: 2, ..Network::default() }).unwrap();
    let told = ask(
        line.port,
        "GET /x HTTP/1.1\r\nHost: me.example:1\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n",
    )
    .await;
    for there in ["200 OK", "\"me.example:1\"", "\"x-forwarded-for\": \"127.0.0.1\""] {
        assert!(told.contains(there), "{there} is missing: {told}");
    }
    assert!(!told.contains("x-mine") && !told.contains("192.0.2.9"), "{told}");
    let refused = ask(line.port, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");

    let post = "POST /whep/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = ask(line.port, post).await;
    let own = format!("\r\n\r\nv=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 {} typ host\r\n", line.port);
    assert!(answer.ends_with(&own), "{answer}");
    let length = own.len() - 4;
    assert!(answer.to_ascii_lowercase().contains(&format!("content-length: {length}\r\n")), "{answer}");
    lines.close().await;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, line.port)).await.is_err());
}

#[tokio::test]
async fn so_many_sockets_and_no_more_are_served_and_large_datagrams_are_not() {
    let lines = lines().await;
    let line = lines.make(clock::now(), Network::default()).unwrap();
    let mut buffer = [0; 4_096];
    let mut held = Vec::new();
    for n in 0..32_u8 {
        let viewer = UdpSocket::bind(HERE).await.unwrap();
        viewer.connect((Ipv4Addr::LOCALHOST, line.port)).await.unwrap();
        viewer.send(&[n; 1_200]).await.unwrap();
        let size = viewer.recv(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..size], [n; 1_200], "each gets its own");
        held.push(viewer);
    }
    held[0].send(&[1; 3_000]).await.unwrap();
    let late = UdpSocket::bind(HERE).await.unwrap();
    late.send_to(b"late", (Ipv4Addr::LOCALHOST, line.port)).await.unwrap();
    // Behind both of them on the line's one socket.
    held[0].send(b"last").await.unwrap();
    let size = held[0].recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..size], b"last");
    let passed = line.passed();
    assert_eq!((passed.from_viewer.udp_packets, passed.from_viewer.udp_dropped), (33, 2), "{passed:?}");
    assert_eq!((passed.to_viewer.udp_packets, passed.to_viewer.udp_dropped), (33, 0), "{passed:?}");
}

#[tokio::test]
async fn what_is_under_way_when_udp_is_blocked_does_not_arrive() {
    let lines = lines().await;
    let line = lines.make(clock::now(), Network { delay_ms: 300, ..Network::default() }).unwrap();
    let viewer = UdpSocket::bind(HERE).await.unwrap();
    viewer.send_to(b"x", (Ipv4Addr::LOCALHOST, line.port)).await.unwrap();
    let blocked = serde_json::from_str(r#"{"udp": false}"#).unwrap();
    line.change(clock::now(), &blocked).unwrap();
    let dropped = async {
        while line.passed().from_viewer.udp_dropped == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dropped).await.unwrap();
    assert_eq!(line.passed().from_viewer.udp_packets, 0);
}
