//! `bicast-bench-packaging`: what packaging a feed costs, and how soon it can be played.
//!
//! - **CPU.** One feed, 1280x720, 30 frames/s, 2.5 Mbit/s, nobody who watches over HTTP: bicast's packager (LL-HLS with parts) beside
//!   `ffmpeg -c copy -f hls -hls_segment_type fmp4`, which get the same RTP packets. They come from a WebRTC viewer of a bicast
//!   server, whose CPU is told, too.
//! - **Start.** From the sending of a publisher's first keyframe to a playlist that lists it, asked for by a player that was there before.
//! - **Memory.** What each further feed adds to the server's memory, beside the media that its playlists list.

mod cost;
mod memory;
mod start;

use bicast_tests::figures::print;
use clap::Parser;
use serde::Serialize;

/// Measures what packaging costs.
#[derive(Debug, Parser)]
struct Args {
    /// Seconds for which CPU is counted
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    seconds: u64,
    /// Publishers that are started, one after the other
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    starts: u32,
    /// Feeds whose memory is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=200))]
    feeds: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    cost: cost::Report,
    start: start::Report,
    memory: memory::Report,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let start = start::measure(args.starts).await?;
    let memory = memory::measure(args.feeds).await?;
    let cost = cost::measure(args.seconds).await?;
    let report = Report { cost, start, memory };
    print(&if args.json {
        serde_json::to_string_pretty(&report)?
    } else {
        format!("{}\n{}\n{}", report.cost.text(), report.start.text(), report.memory.text())
    });
    Ok(())
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
