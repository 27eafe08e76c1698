//! Starting and ending: a port in use is told, a wrong setting is told, SIGTERM ends everything in order.

use std::net::{TcpListener, UdpSocket};

use bicast_tests::clip::Clip;
use bicast_tests::hls;
use bicast_tests::http;
use bicast_tests::playback::Playback;
use bicast_tests::server::Server;

use crate::scene::{self, FEED};

/// Fetches over and over, so that the last answers before the end are caught.
#[tokio::test]
async fn sigterm_ends_playlists_with_endlist_and_then_the_process() -> anyhow::Result<()> {
    let clip = Clip::open("small.mp4")?;
    let mut server = Server::start().await?;
    let mut publisher = scene::publisher(&server).await?;
    let playing = tokio::spawn(async move {
        // Runs into the shutdown on purpose: the connection breaks under it.
        let _ = Playback { pictures: 900, ..Playback::default() }.run(&clip, &mut publisher).await;
    });
    let multivariant = server.hls_plays(FEED).await?;
    let media = hls::renditions(&multivariant).await?.remove(0);
    let watching = tokio::spawn(async move {
        let mut ended = false;
        let mut failed = 0;
        while failed < 20 {
            match http::get(&media).await {
                Ok(answer) => ended |= answer.text().contains("#EXT-X-ENDLIST"),
                Err(_) => failed += 1,
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        ended
    });
    let status = server.stop().await?;
    assert!(status.success(), "{status}: {}", server.process.output());
    assert!(watching.await?, "no playlist ended with EXT-X-ENDLIST");
    playing.abort();
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_port() -> anyhow::Result<()> {
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    for (http_port, udp_port, wanted) in [
        (tcp.local_addr()?.port(), 0, tcp.local_addr()?.port()),
        (0, udp.local_addr()?.port(), udp.local_addr()?.port()),
    ] {
        let (mut process, _) = Server::spawn(http_port, udp_port, &[])?;
        let status = process.ended(bicast_tests::wait::GENEROUS).await?;
        let said = process.output();
        assert!(!status.success(), "it started on a port in use: {said}");
        assert!(said.contains(&wanted.to_string()), "the port {wanted} is not named: {said}");
    }
    Ok(())
}
