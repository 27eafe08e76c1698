//! `bicast-bench-hls`: what one core of the server gives to LL-HLS players, against what can be had at all.
//!
//! - **Answers.** Blocking playlist requests for what is there already, gzip, on connections that are kept, as fast as they are
//!   answered; in turns with nginx on the same core, which serves the same bytes from memory. Counted per second of the
//!   server's own CPU time, so that a load generator that is slower than nginx does not hide what nginx could do.
//! - **Delivery.** All clients have asked for the part that comes next, and wait. From the moment its last frame is known to be
//!   the last (the next one has left the publisher; its time is in the media) to the last byte at each client; in turns with a
//!   bare sender on the same core that writes as many bytes to as many sockets, from its first write.

mod answers;
mod bare;
mod delivery;
mod nginx;
mod pool;

use std::net::SocketAddr;

use anyhow::Context as _;
use bicast_load::procfs;
use bicast_tests::figures::print;
use bicast_tests::hls;
use bicast_tests::raw::RawPublisher;
use bicast_tests::server::Server;
use clap::{Parser, Subcommand};
use serde::Serialize;

const FEED: &str = "bench";

/// Measures what one core gives to LL-HLS players.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// Core of the servers
    #[arg(long, default_value_t = 0)]
    server_core: u32,
    /// Core of everything else
    #[arg(long, default_value_t = 1)]
    generator_core: u32,
    /// Connections that ask for playlists
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Turns of each server, of two seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    turns: u32,
    /// Clients that wait for a part
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// Parts that they wait for
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    parts: u32,
    /// Seconds of a part
    #[arg(long, default_value = "0.5")]
    part: String,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The bare sender; started by the benchmark itself
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        sockets: usize,
    },
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    answers: answers::Report,
    delivery: delivery::Report,
}

/// The server, its feed's playlist (its path), and where it is.
struct Target {
    address: SocketAddr,
    pid: u32,
    playlist: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Role::Bare { sockets }) = args.role {
        return bare::serve(sockets);
    }
    for core in [args.server_core, args.generator_core] {
        anyhow::ensure!(procfs::has_core(core), "this machine gives us no core {core}");
    }
    anyhow::ensure!(args.server_core != args.generator_core, "two cores are needed");
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(args))?;
    print(&report);
    Ok(())
}

async fn run(args: Args) -> anyhow::Result<String> {
    // What is started inherits the core.
    procfs::pin(args.server_core);
    let part = format!("feed.part_target={}", args.part);
    let server = Server::start_with(&["--set", &part]).await?;
    let bare = bare::Bare::start(usize::from(args.clients))?;
    procfs::pin(args.generator_core);
    let _publisher = RawPublisher::connect(&server.url(&format!("/whip/{FEED}"))).await?;
    let playlists = hls::renditions(&server.hls_plays(FEED).await?).await?;
    let playlist = hls::path(playlists.first().context("no rendition")?)?;
    let target = Target { address: server.http(), pid: server.process.id(), playlist };
    // The publisher goes on on this thread.
    let json = args.json;
    let measured = tokio::task::spawn_blocking(move || {
        let delivery = delivery::measure(&args, &target, bare)?;
        let answers = answers::measure(&args, &target)?;
        anyhow::Ok(Report { answers, delivery })
    });
    let report = measured.await??;
    server.check_unharmed().await?;
    Ok(if json { serde_json::to_string_pretty(&report)? } else { table(&report) })
}

fn table(report: &Report) -> String {
    format!("{}\n\n{}", report.answers.text(), report.delivery.text())
}
