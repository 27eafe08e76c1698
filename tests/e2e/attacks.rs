//! Peers that do harm, beside others that do not: these lose nothing, the server does not grow, and it counts what it refused.

use std::future::Future;

use bicast_tests::http;
use bicast_tests::numbers::Numbers;
use bicast_tests::peer::{Received, RtpViewer};
use bicast_tests::raw::{self, RawPublisher, RawViewer};
use bicast_tests::server::{LOOPBACK, Server};
use bicast_tests::wait::{self, GENEROUS};
use futures_util::future::join_all;
use tokio::net::UdpSocket;

use crate::scene::{self, FEED};

/// What an attack may make the server's memory grow by, in MiB. The tests' build keeps more than a release does.
const GROWTH_MIB: f64 = 48.0;
/// STUN's magic cookie and the kinds of message that matter here.
const BINDING_REQUEST: [u8; 2] = [0, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A server with two workers, a publisher, two honest viewers, and one that can do anything.
struct Field {
    server: Server,
    publisher: RawPublisher,
    honest: [RtpViewer; 2],
    wicked: RawViewer,
}

impl Field {
    async fn with(arguments: &[&str]) -> anyhow::Result<Self> {
        let server = Server::start_with(&[&["--set", "sfu.workers=2"], arguments].concat()).await?;
        let publisher = RawPublisher::connect(&server.url(&format!("/whip/{FEED}"))).await?;
        server.feed_is(FEED, "the feed is live", |feed| feed["state"] == "live").await?;
        let honest = [scene::viewer(&server).await?, scene::viewer(&server).await?];
        let wicked = RawViewer::connect(&server.url(&format!("/whep/{FEED}"))).await?;
        wicked.goes_on(60).await?;
        Ok(Self { server, publisher, honest, wicked })
    }

    /// Waits until so many were refused for this reason.
    async fn refuses(&self, reason: &str, count: f64) -> anyhow::Result<()> {
        wait::until(&format!("{count} are refused as {reason}"), GENEROUS, || async {
            let refused = self.server.metric_of("bicast_udp_ignored_total", ("reason", reason)).await?;
            anyhow::ensure!(refused >= count, "{refused} so far");
            Ok(Some(()))
        })
        .await
    }

    fn resident_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    }

    /// Runs an attack; the honest viewers have everything of the time before, during and after it.
    async fn endures<F: Future<Output = anyhow::Result<()>>>(
        &self,
        attack: impl FnOnce() -> F,
    ) -> anyhow::Result<()> {
        let before = self.resident_mib()?;
        attack().await?;
        let grown = self.resident_mib()? - before;
        assert!(grown < GROWTH_MIB, "the server has grown by {grown:.1} MiB");
        for viewer in &self.honest {
            let had = viewer.video().len();
            wait::until("an honest viewer's picture goes on, and nothing is missing", GENEROUS, || async {
                let packets = viewer.video();
                anyhow::ensure!(packets.len() > had + 60, "{} packets after {had}", packets.len());
                anyhow::ensure!(missing(&packets) == 0, "{} of {} packets", missing(&packets), packets.len());
                Ok(Some(()))
            })
            .await?;
        }
        // And it takes in who comes now.
        let late = RawViewer::connect(&self.server.url(&format!("/whep/{FEED}"))).await?;
        late.goes_on(30).await?;
        self.server.check_unharmed().await
    }
}

/// How many sequence numbers are missing between the first and the last.
fn missing(packets: &[Received]) -> usize {
    packets.iter().map(|packet| packet.sequence).collect::<Numbers>().missing()
}

async fn stranger() -> anyhow::Result<UdpSocket> {
    Ok(UdpSocket::bind((LOOPBACK[0], 0)).await?)
}

/// A check as anybody can write it who knows the names but not the password.
fn forged_check(username: &str, number: u32) -> Vec<u8> {
    let padded = username.len().next_multiple_of(4);
    let mut attributes = vec![0, 6];
    attributes.extend(u16::try_from(username.len()).unwrap_or(0).to_be_bytes());
    attributes.extend(username.bytes());
    attributes.resize(4 + padded, 0);
    // USE-CANDIDATE, and a MESSAGE-INTEGRITY out of thin air.
    attributes.extend([0, 0x25, 0, 0, 0, 8, 0, 20]);
    attributes.extend([0x5a; 20]);
    let mut check = BINDING_REQUEST.to_vec();
    check.extend(u16::try_from(attributes.len()).unwrap_or(0).to_be_bytes());
    check.extend(COOKIE);
    check.extend([0; 8]);
    check.extend(number.to_be_bytes());
    check.extend(attributes);
    check
}

#[tokio::test]
async fn forged_checks_steal_no_stream_and_cost_nobody_anything() -> anyhow::Result<()> {
    let field = Field::with(&[]).await?;
    let thief = stranger().await?;
    let server = field.wicked.server();
    let known = format!("{}:{}", field.wicked.remote.ufrag, field.wicked.local.ufrag);
    field
        .endures(|| async {
            for number in 0..10_000_u32 {
                // With names that are right, with names that nobody has, and with no shape at all.
                thief.send_to(&forged_check(&known, number), server).await?;
                thief.send_to(&forged_check(&format!("nobody{number}:x"), number), server).await?;
                thief.send_to(&[&BINDING_REQUEST[..], &number.to_be_bytes()].concat(), server).await?;
                if number % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            field.refuses("bad-integrity", 50.0).await?;
            field.refuses("unknown-ufrag", 1_000.0).await?;
            field.refuses("bad-stun", 1_000.0).await
        })
        .await?;
    // Who had the name lives on: those checks came from elsewhere.
    field.wicked.goes_on(60).await?;
    let mut came = [0; 2_048];
    while let Ok((length, _)) = thief.try_recv_from(&mut came) {
        assert!(came[0] <= 3, "{length} bytes of something that is no STUN went to a stranger");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_sent_once_is_not_taken_again() -> anyhow::Result<()> {
    let field = Field::with(&[]).await?;
    let elsewhere = stranger().await?;
    let nack = field.wicked.nack(17)?;
    let media = field.publisher.sent();
    assert!(media.len() > 100, "{} datagrams of media", media.len());
    field
        .endures(|| async {
            for _ in 0..20 {
                for datagram in media.iter().take(500) {
                    field.publisher.send(datagram).await?;
                    elsewhere.send_to(datagram, field.wicked.server()).await?;
                }
                for _ in 0..20 {
                    field.wicked.send(&nack).await?;
                    elsewhere.send_to(&nack, field.wicked.server()).await?;
                }
                tokio::task::yield_now().await;
            }
            field.refuses("unknown-address", 1_000.0).await?;
            field.refuses("undecryptable", 100.0).await
        })
        .await
}

#[tokio::test]
async fn who_asks_for_everything_for_ever_gets_a_bounded_share() -> anyhow::Result<()> {
    let field = Field::with(&[]).await?;
    let before = field.server.metric("bicast_viewer_retransmissions_total").await?;
    field
        .endures(|| async {
            for _ in 0..500 {
                let nack = field.wicked.nack(400)?;
                field.wicked.send(&nack).await?;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            Ok(())
        })
        .await?;
    // It asked for 200,000 packets of some 60 a second.
    let again = field.server.metric("bicast_viewer_retransmissions_total").await? - before;
    assert!((500.0..20_000.0).contains(&again), "{again} packets were sent again");
    Ok(())
}

#[tokio::test]
async fn a_flood_from_a_viewer_is_cut_and_starves_nobody() -> anyhow::Result<()> {
    let field = Field::with(&[]).await?;
    let nack = field.wicked.nack(17)?;
    let (mut report, mut handshake) = (nack.clone(), vec![0x5a; 1_200]);
    report.truncate(20);
    handshake[..13].copy_from_slice(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0xa3]);
    let garbage = [0xff; 300];
    field
        .endures(|| async {
            for n in 0..100_000_u32 {
                let datagram: &[u8] = match n % 4 {
                    0 => &nack,
                    1 => &report,
                    2 => &handshake,
                    _ => &garbage,
                };
                field.wicked.send(datagram).await?;
                if n % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            field.refuses("flood", 1_000.0).await?;
            field.refuses("garbage", 1_000.0).await
        })
        .await
}

#[tokio::test]
async fn half_open_handshakes_by_the_thousand_leave_room_for_honest_ones() -> anyhow::Result<()> {
    let field = Field::with(&["--set", "sfu.limits.handshakes=300"]).await?;
    let url = field.server.url(&format!("/whep/{FEED}"));
    let offer = bicast_tests::peer::viewer_offer().await?;
    field
        .endures(|| async {
            // Those that get as far as the first message of DTLS, and say nothing more. A place of a moment ago is nobody else's,
            // so that the others are refused.
            let (mut begun, mut refused) = (0, 0);
            for _ in 0..50 {
                let some = join_all((0..20).map(|_| raw::half_open(&url))).await;
                let these = some.iter().filter(|result| result.is_ok()).count();
                (begun, refused) = (begun + these, refused + some.len() - these);
            }
            assert!(begun >= 300, "{begun} handshakes have begun");
            // And those that only say that they will come.
            for _ in 0..2_000 {
                let status = http::post_sdp(&url, &offer).await?.status;
                assert!(status == 201 || status == 503, "{status}");
                refused += usize::from(status == 503);
            }
            let gone = field.server.metric("bicast_viewer_handshake_failures_total").await?;
            anyhow::ensure!(refused > 0 || gone > 1_000.0, "{refused} were refused, {gone} had to go");
            // While the flood is at rest for as long as a handshake is everybody's, there is room again.
            wait::until("an honest viewer is let in", GENEROUS, || async {
                RawViewer::connect(&url).await.map(Some)
            })
            .await?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_viewer_that_moves_goes_on_without_a_new_session() -> anyhow::Result<()> {
    let field = Field::with(&[]).await?;
    for _ in 0..6 {
        field.wicked.move_away().await?;
        field.wicked.goes_on(60).await?;
    }
    assert_eq!(field.wicked.forged(), 0);
    field.server.check_unharmed().await
}
