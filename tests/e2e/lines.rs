//! Demo lines of a real server: a viewer's own bad network, through which all that it watches passes.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::channel::{Channel, Heard, Viewer};
use bicast_tests::hls;
use bicast_tests::http::{self, Response};
use bicast_tests::numbers::Numbers;
use bicast_tests::peer::{Kind, RtpViewer, viewer_offer};
use bicast_tests::process::Process;
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::scene::FEED;

const LOCAL: IpAddr = LOOPBACK[0];
const PICTURE: [&str; 5] = ["--test-pattern", "--size", "320x180", "--bitrate", "200k"];

/// So many ports in a row that nobody else has, TCP and UDP, over both families. Below those that the system gives by itself.
fn free_ports(count: u16) -> anyhow::Result<String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 500)? * 20;
    let is_free = |port: u16| {
        LOOPBACK.iter().all(|ip| {
            let address = SocketAddr::new(*ip, port);
            TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
        })
    };
    for _ in 0..500 {
        let first = 20_000 + (begin + NEXT.fetch_add(count, Ordering::Relaxed)) % 12_000;
        if (first..first + count).all(is_free) {
            return Ok(format!("{first}-{}", first + count - 1));
        }
    }
    anyhow::bail!("no {count} free ports in a row")
}

async fn with_lines(count: u16) -> anyhow::Result<Server> {
    let ports = format!("demo.ports={}", free_ports(count)?);
    Server::start_with(&["--demo", "--set", &ports]).await
}

async fn running() -> anyhow::Result<(Server, Process)> {
    let server = with_lines(4).await?;
    let publisher = server.publish(FEED, &PICTURE)?;
    server.hls_plays(FEED).await?;
    server.feed_is(FEED, "the feed is live", |feed| feed["paths"]["realtime"]["available"] == true).await?;
    Ok((server, publisher))
}

async fn ask(server: &Server, method: Method, path: &str, body: &str) -> anyhow::Result<Response> {
    let kind = (!body.is_empty()).then_some("application/json");
    http::request(method, &server.url(&format!("/v1/demo/lines{path}")), kind, body.to_owned()).await
}

/// A line as a page has it.
struct Line<'a> {
    server: &'a Server,
    id: String,
    port: u16,
    origin: String,
}

impl<'a> Line<'a> {
    async fn make(server: &'a Server, network: &str) -> anyhow::Result<Self> {
        let answer = ask(server, Method::POST, "", network).await?;
        anyhow::ensure!(answer.status == 201, "{}: {}", answer.status, answer.text());
        let line = answer.json()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned).with_context(|| format!("{line:#}"));
        let (id, origin) = (text("id")?, text("origin")?);
        anyhow::ensure!(answer.header("location") == format!("/v1/demo/lines/{id}"));
        let port = u16::try_from(line["port"].as_u64().context("no port")?)?;
        Ok(Self { server, id, port, origin })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    async fn change(&self, network: &str) -> anyhow::Result<Value> {
        ask(self.server, Method::PATCH, &format!("/{}", self.id), network).await?.success()?.json()
    }

    async fn shown(&self) -> anyhow::Result<Value> {
        ask(self.server, Method::GET, &format!("/{}", self.id), "").await?.success()?.json()
    }

    /// A counter, as in `toViewer/udpPackets`.
    async fn passed(&self, name: &str) -> anyhow::Result<u64> {
        count(&self.shown().await?, name)
    }

    /// Waits until a counter has reached this.
    async fn has_passed(&self, name: &str, least: u64) -> anyhow::Result<u64> {
        wait::until(&format!("{name} is {least}"), GENEROUS, || async {
            Ok(Some(self.passed(name).await?).filter(|count| *count >= least))
        })
        .await
    }
}

fn count(line: &Value, name: &str) -> anyhow::Result<u64> {
    line.pointer(&format!("/passed/{name}")).and_then(Value::as_u64).with_context(|| format!("{line:#}"))
}

/// Waits until a viewer has received so many packets of video more.
async fn receives(viewer: &RtpViewer, more: usize) -> anyhow::Result<()> {
    let before = viewer.video().len();
    wait::until(&format!("{more} packets come"), GENEROUS, || async {
        Ok((viewer.video().len() >= before + more).then_some(()))
    })
    .await
}

#[tokio::test]
async fn media_takes_the_line_and_is_lost_and_blocked_there() -> anyhow::Result<()> {
    let (server, _publisher) = running().await?;
    for host in LOOPBACK {
        let url = server.url_on(host, "/v1/demo/lines");
        let made =
            http::request(Method::POST, &url, Some("application/json"), "{}").await?.success()?.json()?;
        let origin = made["origin"].as_str().context("no origin")?;
        let answer =
            http::post_sdp(&format!("{origin}/whep/{FEED}"), &viewer_offer().await?).await?.success()?;
        let text = answer.text();
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with("a=candidate:")).collect();
        let [only] = told.as_slice() else { anyhow::bail!("not one candidate: {told:?}") };
        let own = format!(" udp 2130706431 {LOCAL} {} typ host", made["port"]);
        assert!(only.ends_with(&own), "over {host}: {only} without {own}");
    }

    let line = Line::make(&server, "{}").await?;
    let viewer = RtpViewer::connect(&line.url(&format!("/whep/{FEED}")), LOCAL, &[Kind::Video]).await?;
    assert!(viewer.session.starts_with(&line.origin), "{}", viewer.session);
    receives(&viewer, 100).await?;
    let good = line.shown().await?;
    assert!(
        count(&good, "toViewer/udpPackets")? >= 100 && count(&good, "fromViewer/udpPackets")? > 0,
        "{good:#}"
    );
    assert_eq!((count(&good, "toViewer/udpDropped")?, count(&good, "fromViewer/udpDropped")?), (0, 0));
    let whole: Numbers = viewer.video().iter().map(|packet| packet.sequence).collect();
    assert_eq!(whole.missing(), 0, "of {}", whole.count());

    // Lost there, and seen so at both ends.
    let changed = line.change(r#"{"lossRatio": 0.3}"#).await?;
    assert_eq!(changed["network"]["lossRatio"], 0.3);
    let before = count(&changed, "toViewer/udpPackets")?;
    line.has_passed("toViewer/udpDropped", 100).await?;
    let lossy = line.shown().await?;
    let (lost, passed) =
        (count(&lossy, "toViewer/udpDropped")?, count(&lossy, "toViewer/udpPackets")? - before);
    let share = lost as f64 / (lost + passed) as f64;
    // More than 300 packets: five deviations are 0.13.
    assert!((0.17..0.43).contains(&share), "{lost} of {}", lost + passed);
    wait::until("the server hears of losses", GENEROUS, || async {
        let all = http::get(&server.url(&format!("/v1/feeds/{FEED}/viewers"))).await?.success()?.json()?;
        let lost = |one: &Value| {
            let session = &one["session"];
            session["lossRatio"].as_f64() > Some(0.02) && session["nacks"].as_u64() > Some(0)
        };
        let heard = all["viewers"].as_array().context("no list")?.iter().any(lost);
        if heard { Ok(Some(())) } else { anyhow::bail!("{all:#}") }
    })
    .await?;

    // Blocked: from the answer on not a packet, however many there are.
    let blocked = line.change(r#"{"lossRatio": 0, "udp": false}"#).await?;
    let dropped = count(&blocked, "toViewer/udpDropped")?;
    line.has_passed("toViewer/udpDropped", dropped + 30).await?;
    let still = line.shown().await?;
    for way in ["toViewer/udpPackets", "fromViewer/udpPackets"] {
        assert_eq!(count(&still, way)?, count(&blocked, way)?, "{way}");
    }
    // It was less than a second: neither end has given the connection up.
    line.change(r#"{"udp": true}"#).await?;
    receives(&viewer, 100).await?;
    viewer.leave().await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn a_rate_holds_back_what_is_too_much() -> anyhow::Result<()> {
    let (server, _publisher) = running().await?;
    let line = Line::make(&server, r#"{"rateKbps": 400}"#).await?;
    let path = "/v1/openapi.json";
    let whole = http::get(&server.url(path)).await?.success()?.body;
    let (began, mut bytes) = (clock::now(), 0);
    while bytes < 150_000 {
        let body = http::get(&line.url(path)).await?.success()?.body;
        assert_eq!(body, whole);
        bytes += body.len();
    }
    let seconds = clock::now().duration_since(began).as_secs_f64();
    let fastest = bytes as f64 * 8.0 / 400_000.0;
    assert!(seconds >= 0.99 * fastest, "{bytes} bytes in {seconds} s instead of {fastest}");
    assert!(line.passed("toViewer/tcpBytes").await? > bytes as u64);

    // 200 kbit/s of pictures do not fit into 64: what is too much is dropped, and what passes is the rate at most.
    line.change(r#"{"rateKbps": 64}"#).await?;
    let viewer = RtpViewer::connect(&line.url(&format!("/whep/{FEED}")), LOCAL, &[Kind::Video]).await?;
    line.has_passed("toViewer/udpDropped", 1).await?;
    let (began, before) = (clock::now(), line.passed("toViewer/udpBytes").await?);
    line.has_passed("toViewer/udpDropped", 100).await?;
    let passed = line.passed("toViewer/udpBytes").await? - before;
    let seconds = clock::now().duration_since(began).as_secs_f64();
    let most = 64_000.0 / 8.0 * (seconds + 0.3);
    assert!(passed as f64 <= most, "{passed} bytes in {seconds} s: more than {most}");

    // Without the limit everything comes again.
    let free = line.change(r#"{"rateKbps": null}"#).await?;
    assert_eq!(free["network"]["rateKbps"], Value::Null);
    let dropped = count(&free, "toViewer/udpDropped")?;
    receives(&viewer, 100).await?;
    assert_eq!(line.passed("toViewer/udpDropped").await?, dropped);
    viewer.leave().await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn hls_through_a_line_is_the_same_bytes() -> anyhow::Result<()> {
    let (server, _publisher) = running().await?;
    let line =
        Line::make(&server, r#"{"lossRatio": 0.1, "delayMs": 15, "jitterMs": 5, "rateKbps": 20000}"#).await?;
    let multivariant = format!("/hls/{FEED}/multivariant.m3u8");
    let (direct, through) = (server.url(&multivariant), line.url(&multivariant));
    assert_eq!(http::get(&through).await?.success()?.body, http::get(&direct).await?.success()?.body);
    let (renditions, ours) = (hls::renditions(&direct).await?, hls::renditions(&through).await?);
    assert_eq!(renditions.len(), ours.len());
    let (mut files, mut bytes) = (0, 0);
    for (direct, through) in renditions.iter().zip(&ours) {
        assert!(through.starts_with(&line.origin));
        let playlist = wait::until("a playlist is the same over both", GENEROUS, || async {
            let before = http::get(direct).await?.success()?.body;
            let through = http::get(through).await?.success()?.text();
            // It changes several times a second: only where it did not meanwhile can it be compared.
            let after = http::get(direct).await?.success()?.body;
            anyhow::ensure!(before == after, "it has changed");
            anyhow::ensure!(through.as_bytes() == before, "{through}");
            Ok(Some(through))
        });
        let playlist = hls::MediaPlaylist::parse(&playlist.await?)?;
        for segment in &playlist.segments {
            let uris = segment.uri.iter().chain(&segment.parts).chain([&segment.map]);
            for uri in uris {
                let whole = http::get(&hls::resolve(direct, uri)?).await?.success()?;
                let passed = http::get(&hls::resolve(through, uri)?).await?.success()?;
                assert_eq!(passed.body, whole.body, "{uri}");
                for header in ["content-type", "cache-control", "etag", "access-control-allow-origin"] {
                    assert_eq!(passed.header(header), whole.header(header), "{header} of {uri}");
                }
                files += 1;
                bytes += whole.body.len();
            }
        }
        // A request that waits for what is not there yet.
        let hinted = hls::hinted_part(&playlist.text)?;
        let next = format!("{through}?_HLS_msn={}&_HLS_part={}", hinted.0, hinted.1);
        let next = hls::hinted_part(&http::get(&next).await?.success()?.text())?;
        assert!(next > hinted, "{next:?} after {hinted:?}");
    }
    assert!(files > 10 && bytes > 50_000, "{files} files of {bytes} bytes");
    let shown = line.shown().await?;
    assert!(count(&shown, "toViewer/tcpBytes")? >= bytes as u64, "{shown:#}");
    assert!(count(&shown, "toViewer/tcpHeld")? > 0 && count(&shown, "fromViewer/tcpHeld")? > 0, "{shown:#}");
    assert_eq!(count(&shown, "toViewer/udpPackets")?, 0);

    // Pages of another origin may use it, and the pages themselves are there, too.
    let preflight = [("access-control-request-method", "PATCH"), ("origin", "http://localhost:8080")];
    let answer = http::request_with(Method::OPTIONS, &line.url("/whep/x/y"), &preflight, "").await?;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"));
    assert_eq!(http::get(&line.url("/")).await?.body, http::get(&server.url("/")).await?.body);
    Ok(())
}

#[tokio::test]
async fn the_event_channel_passes_and_ends_with_the_line() -> anyhow::Result<()> {
    let (server, _publisher) = running().await?;
    let line = Line::make(&server, r#"{"delayMs": 5}"#).await?;
    let viewer = Viewer::join(&server, FEED, "", None).await?;
    let events = viewer.joined["urls"]["events"].as_str().context("no events")?;
    let mut channel = Channel::open(&line.url(events)).await?;
    assert_eq!(channel.until("hello").await?["sequence"], 1);
    channel.say(r#"{"type":"report","path":"realtime","latencyMs":140.5}"#).await?;
    wait::until("its report is there", GENEROUS, || async {
        Ok((viewer.look(&server).await?["player"]["report"]["latencyMs"] == 140.5).then_some(()))
    })
    .await?;
    viewer.change(&server, r#"{"path": "hls"}"#).await?.success()?;
    assert_eq!(channel.until("decision").await?["decision"]["path"], "hls");

    // Server-Sent Events: what is said comes while the answer goes on.
    let mut stream = TcpStream::connect((LOCAL, line.port)).await?;
    let request =
        format!("GET {events}?after=1 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains("\"type\":\"decision\"") {
        let read = tokio::time::timeout(GENEROUS, stream.read(&mut buffer)).await??;
        anyhow::ensure!(read > 0, "it has ended: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }

    assert_eq!(ask(&server, Method::DELETE, &format!("/{}", line.id), "").await?.status, 204);
    loop {
        match channel.next().await? {
            Heard::Said(_) => {}
            Heard::Closed(frame) => break assert_eq!(frame, None, "cut, not closed in good order"),
        }
    }
    while tokio::time::timeout(GENEROUS, stream.read(&mut buffer)).await?.is_ok_and(|read| read > 0) {}
    assert!(TcpStream::connect((LOCAL, line.port)).await.is_err(), "the port is closed");
    assert_eq!(ask(&server, Method::GET, &format!("/{}", line.id), "").await?.status, 404);
    let again = Line::make(&server, "{}").await?;
    assert_eq!(again.port, line.port);
    assert_ne!(again.id, line.id);
    // Who ends the line through which it asks gets no answer, but it is ended.
    let own = again.url(&format!("/v1/demo/lines/{}", again.id));
    assert!(http::request(Method::DELETE, &own, None, "").await.is_err());
    wait::until("it is gone", GENEROUS, || async {
        Ok((ask(&server, Method::GET, &format!("/{}", again.id), "").await?.status == 404).then_some(()))
    })
    .await?;
    server.check_unharmed().await
}

#[tokio::test]
async fn lines_are_as_many_as_there_are_ports_and_bad_ones_are_refused() -> anyhow::Result<()> {
    let server = with_lines(16).await?;
    let kind = |answer: &Response| -> anyhow::Result<(u16, String)> {
        let problem = answer.json()?;
        anyhow::ensure!(problem["status"] == answer.status && problem["hint"].is_string(), "{problem}");
        let kind = problem["type"].as_str().context("no type")?.trim_start_matches("/problems/").to_owned();
        Ok((answer.status, kind))
    };
    for (body, what) in [
        (r#"{"lossRatio": 1.5}"#, "bad-network"),
        (r#"{"delayMs": 2001}"#, "bad-network"),
        (r#"{"rateKbps": 10}"#, "bad-network"),
        (r#"{"jitterMs": -1}"#, "bad-body"),
        (r#"{"udp": "no"}"#, "bad-body"),
        (r#"{"loss": 0.5}"#, "bad-body"),
        ("[", "bad-body"),
    ] {
        let answer = ask(&server, Method::POST, "", body).await?;
        assert_eq!(kind(&answer)?, (400, what.into()), "{body}");
    }
    let url = server.url("/v1/demo/lines");
    assert_eq!(http::request(Method::POST, &url, Some("text/plain"), "{}").await?.status, 415);
    let long = format!("{{{}}}", " ".repeat(5_000));
    assert_eq!(http::request(Method::POST, &url, Some("application/json"), long).await?.status, 413);
    assert_eq!(ask(&server, Method::GET, "", "").await?.success()?.json()?, json!({"lines": []}));

    let mut lines = vec![Line::make(&server, "").await?];
    for n in 1..16_u32 {
        lines.push(Line::make(&server, &format!(r#"{{"delayMs": {n}}}"#)).await?);
    }
    let full = ask(&server, Method::POST, "", "{}").await?;
    assert_eq!(kind(&full)?, (503, "no-line-free".into()));
    let listed = ask(&server, Method::GET, "", "").await?.success()?.json()?;
    let ports: Vec<u64> = listed["lines"]
        .as_array()
        .context("no list")?
        .iter()
        .filter_map(|line| line["port"].as_u64())
        .collect();
    assert_eq!(ports, lines.iter().map(|line| u64::from(line.port)).collect::<Vec<_>>());
    assert_eq!(server.metric("bicast_demo_lines").await?.to_string(), "16");

    let line = &lines[3];
    let before = line.shown().await?;
    assert_eq!(
        before["network"],
        json!({"lossRatio": 0.0, "delayMs": 3, "jitterMs": 0, "rateKbps": null, "udp": true})
    );
    let refused =
        ask(&server, Method::PATCH, &format!("/{}", line.id), r#"{"delayMs": 9, "lossRatio": 2}"#).await?;
    assert_eq!(kind(&refused)?, (400, "bad-network".into()));
    assert_eq!(line.shown().await?["network"], before["network"], "a refused change changes nothing");
    for (method, body) in [(Method::GET, ""), (Method::PATCH, "{}"), (Method::DELETE, "")] {
        assert_eq!(kind(&ask(&server, method, "/nosuch", body).await?)?, (404, "unknown-line".into()));
    }
    assert_eq!(ask(&server, Method::DELETE, &format!("/{}", line.id), "").await?.status, 204);
    assert_eq!(Line::make(&server, "{}").await?.port, line.port);
    server.check_unharmed().await
}

#[tokio::test]
async fn there_are_none_unless_somebody_asks_for_them() -> anyhow::Result<()> {
    let server = Server::start().await?;
    for (method, path) in [
        (Method::GET, ""),
        (Method::POST, ""),
        (Method::GET, "/x"),
        (Method::PATCH, "/x"),
        (Method::DELETE, "/x"),
    ] {
        let answer = ask(&server, method.clone(), path, "").await?;
        let problem = answer.json()?;
        assert_eq!(
            (answer.status, &problem["type"]),
            (404, &json!("/problems/lines-off")),
            "{method} {path}"
        );
        assert!(problem["hint"].as_str().context("no hint")?.contains("--demo"), "{problem}");
    }
    assert!(!server.process.output().contains("demo lines"), "{}", server.process.output());
    let server = with_lines(1).await?;
    assert!(server.process.output().contains("demo lines are on"), "{}", server.process.output());
    Ok(())
}
