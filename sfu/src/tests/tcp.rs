//! Viewers over TCP, and what else comes to the TCP port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rtc_shared::tcp_framing::frame_packet;

use super::*;
use crate::core::stun::tests::check as stun_check;
use crate::tcp::Refused;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_packet_with_its_media_time_over_tcp_and_ipv4() {
    whole_path("127.0.0.1", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_every_packet_with_its_media_time_over_tcp_and_ipv6() {
    whole_path("::1", true).await;
}

/// The number of the packet in the feed: what `Source` writes into its payload.
fn number(packet: &Received) -> u32 {
    u32::from_be_bytes(packet.payload[1..5].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_reads_too_slowly_loses_whole_frames_and_harms_nobody() {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(5).await;
    let (slow, _) = rig.watch_by_tcp().await;
    let (tcp, _) = rig.watch_by_tcp().await;
    let (udp, _) = rig.watch(true, 0).await;
    source.run(60).await;
    slow.listens(false);
    source.run(600).await;
    slow.listens(true);
    // It goes on with a keyframe that comes once its line is free.
    source.run(400).await;
    let end = source.stamped.iter().rfind(|packet| packet.key == VIDEO).unwrap().payload.to_vec();
    for (name, viewer) in [("over TCP", &tcp), ("over UDP", &udp), ("slow", &slow)] {
        viewer.until(name, |seen| seen.video.iter().any(|p| p.payload == end)).await;
    }
    for viewer in [tcp, udp] {
        let count = check(&viewer.take().0, &source.expected(VIDEO), &end);
        assert!(count >= 1_060 * usize::from(SLICES), "{count} packets: all since it joined");
    }
    let (video, audio) = slow.take();
    let mut jumps = 0;
    for pair in video.windows(2) {
        assert_eq!(pair[1].sequence_number, pair[0].sequence_number.wrapping_add(1));
        if number(&pair[1]) != number(&pair[0]) + 1 {
            jumps += 1;
            assert!(pair[0].marker, "the last frame before the jump is whole: {}", number(&pair[0]));
            assert_eq!(pair[1].payload[0], 0x67, "a keyframe is the first after it");
        }
    }
    assert!(jumps > 0, "it did fall behind");
    assert!(video.len() < 1_060 * usize::from(SLICES));
    assert!(!audio.is_empty());
    rig.sfu.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_whose_connection_breaks_comes_back_over_another() {
    let rig = Rig::new("127.0.0.1").await;
    let mut source = rig.publish();
    source.run(5).await;
    let (viewer, _) = rig.watch_by_tcp().await;
    source.run(100).await;
    let before = source.frame;
    viewer.break_connection();
    let mut back = false;
    for _ in 0..1_600 {
        source.run(1).await;
        back = viewer.videos().iter().any(|packet| number(packet) > (before + 300) * u32::from(SLICES));
        if back {
            break;
        }
    }
    assert!(back, "pictures come again");
    let video = viewer.take().0;
    let first = video.iter().position(|packet| number(packet) > (before + 5) * u32::from(SLICES)).unwrap();
    assert_eq!(video[first].payload[0], 0x67, "from a keyframe on");
    rig.viewers(1).await;
    rig.sfu.shutdown().await;
}

/// Sends bytes over a new connection. Gives what comes back before it is closed.
fn knock(rig: &Rig, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(rig.sfu.tcp_addrs()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // One that is reset is closed as well.
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("still open: {error}"),
        _ => answer,
    }
}

/// Waits until as many were refused for a reason.
async fn refused(rig: &Rig, reason: Refused, count: u64) {
    for _ in 0..500 {
        if rig.sfu.refused(reason) >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(rig.sfu.refused(reason), count, "{reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn connections_that_are_nobodys_are_closed_and_counted() {
    let rig = Rig::new("127.0.0.1").await;
    let _source = rig.publish();
    let reply = rig.post(CHROMIUM).await;
    let ours = reply.header("etag").trim_matches('"').to_owned();
    let check = |username: &str, password: &str| frame_packet(&stun_check(username, password, true, false));
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Refused::BadFrame),
        (frame_packet(&[22, 254, 253, 0, 0]), Refused::NotACheck),
        (frame_packet(&[0; 40]), Refused::NotACheck),
        (check("nobody:EsAw", "guess"), Refused::UnknownUfrag),
        (check(&format!("{ours}:EsAw"), "guess"), Refused::NotAuthentic),
    ];
    for (bytes, reason) in cases {
        let before = rig.sfu.refused(reason);
        assert!(knock(&rig, &bytes).is_empty(), "strangers get no answer: {reason:?}");
        refused(&rig, reason, before + 1).await;
    }
    // One that says nothing at all, and one that does not even stay.
    let since = clock::now();
    let silent = knock(&rig, &[]);
    assert!(silent.is_empty() && clock::now() - since >= Duration::from_secs(4));
    refused(&rig, Refused::Silent, 1).await;
    drop(TcpStream::connect(rig.sfu.tcp_addrs()[0]).unwrap());
    refused(&rig, Refused::Closed, 1).await;
    rig.sfu.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_than_allowed_are_kept() {
    let limits = Limits { tcp_connections: 1, ..Limits::default() };
    let rig = Rig::with("127.0.0.1", |config| config.limits = limits).await;
    let mut source = rig.publish();
    source.run(5).await;
    let (viewer, reply) = rig.watch_by_tcp().await;
    let ufrag = reply.header("etag").trim_matches('"').to_owned();
    let check = frame_packet(&stun_check(&format!("{ufrag}:x"), "guess", true, false));
    assert!(knock(&rig, &check).is_empty());
    refused(&rig, Refused::Full, 1).await;
    viewer.take();
    source.run(100).await;
    viewer.until("pictures", |seen| !seen.video.is_empty()).await;
    rig.sfu.shutdown().await;
}

#[tokio::test]
async fn tcp_may_be_off_or_have_a_port_of_its_own_and_follows_udp_otherwise() {
    let off = Rig::with("127.0.0.1", |config| config.tcp_port = TcpPort::Off).await;
    let _source = off.publish();
    assert!(off.sfu.tcp_addrs().is_empty());
    assert!(!off.post(CHROMIUM).await.text.contains("tcptype"));
    let rig = Rig::with("127.0.0.1", |config| config.tcp_port = TcpPort::Port(0)).await;
    let _source = rig.publish();
    let port = rig.sfu.tcp_addrs()[0].port();
    let answer = rig.post(CHROMIUM).await.text;
    assert!(answer.contains(&format!(" 127.0.0.1 {port} typ host tcptype passive\r\n")), "{answer}");
    let public = Rig::with("127.0.0.1", |config| {
        config.public_addresses = vec!["203.0.113.9".parse().unwrap()];
    })
    .await;
    let _source = public.publish();
    let answer = public.post(CHROMIUM).await.text;
    let tcp: Vec<&str> = answer.lines().filter(|line| line.contains("tcptype")).collect();
    let port = public.sfu.tcp_addrs()[0].port();
    // And behind it the loopback that this client called it by.
    assert!(tcp.len() == 2 && tcp[0].contains(&format!("203.0.113.9 {port} ")), "{tcp:?}");
    assert!(tcp[1].contains(&format!("127.0.0.1 {port} ")), "{tcp:?}");
    // The same as UDP's, unless somebody else has that one: where any port will do, that is no error.
    let mut same = false;
    for _ in 0..20 {
        let rig = Rig::with("127.0.0.1", |_| ()).await;
        same |= rig.sfu.tcp_addrs()[0].port() == rig.sfu.udp_addrs()[0].port();
    }
    assert!(same, "never once in twenty times");
    // In use: the message names the setting.
    let taken = Config {
        udp_port: 0,
        tcp_port: TcpPort::Port(port),
        bind: vec!["127.0.0.1".parse().unwrap()],
        ..Config::default()
    };
    let error = Sfu::start(taken, off.bus.clone()).await.err().unwrap().to_string();
    assert!(error.contains("sfu.tcp_port") && error.contains(&port.to_string()), "{error}");
}
