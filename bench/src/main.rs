//! The cost of the fan-out: CPU per packet and viewer of our path, against the floor and against the `webrtc` crate's
//! peer connections, in one interleaved run each.
//!
//! `floor` does only what cannot be left out; `path` is a real worker with connected viewers: history, statistics, timers,
//! sender reports, and what browsers say meanwhile. Both send the same frames to sockets that nobody reads, on one
//! thread, in turns of one frame each, so that whatever else the machine does hits both alike. The figures to watch are the
//! ratios; nanoseconds depend on the machine.

mod clocks;
mod floor;
mod path;
mod rival;
mod source;

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::Parser;
use serde::Serialize;

use crate::clocks::thread_nanos;
use crate::floor::Floor;
use crate::path::Path;
use crate::rival::Comparison;
use crate::source::Source;

/// Measures CPU per packet and viewer of the fan-out against the floor and against the webrtc crate.
#[derive(Debug, Parser)]
struct Args {
    /// Viewers
    #[arg(long, default_value_t = 500)]
    viewers: usize,
    /// Bytes of RTP payload in each packet
    #[arg(long, default_value_t = 1_172)]
    payload: usize,
    /// Packets in each frame: one visit to every viewer (2.5 Mbit/s at 30 frames a second have 9)
    #[arg(long, default_value_t = 9)]
    packets: usize,
    /// Frames measured of each kind
    #[arg(long, default_value_t = 600)]
    frames: usize,
    /// Peer connections of the webrtc crate to compare with; 0 leaves them out
    #[arg(long, default_value_t = 50)]
    rivals: usize,
    /// Frames of that comparison, in real time at 30 a second
    #[arg(long, default_value_t = 300)]
    rival_frames: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    viewers: usize,
    packets_per_frame: usize,
    packet_bytes: usize,
    frames: usize,
    floor: Figures,
    path: Figures,
    /// Median over the frames of path / floor of the same turn.
    ratio: f64,
    /// The webrtc crate's peer connections.
    rival: Option<Comparison>,
}

/// CPU of this thread per packet and viewer, in nanoseconds, user and system time together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    median_ns: f64,
    p25_ns: f64,
    p75_ns: f64,
    kpps_per_core: f64,
    /// Viewers of a 310 packets/s feed (2.5 Mbit/s and sound) that one core can send to.
    viewers_per_core: f64,
    dropped: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let report = measure(&args)?;
    if args.json {
        print(&serde_json::to_string_pretty(&report)?);
    } else {
        print(&table(&report));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is the product")]
fn print(text: &str) {
    println!("{text}");
}

fn measure(args: &Args) -> Result<Report> {
    ensure!(args.viewers > 0 && args.packets > 0 && args.frames > 0, "all counts must be at least 1");
    ensure!((16..=1_400).contains(&args.payload), "--payload must be 16 to 1400");
    let mut path = Path::new(args.viewers)?;
    let mut floor = Floor::new(UdpSocket::bind("127.0.0.1:0")?, &path.remotes()?)?;
    let mut source = Source::new(args.packets, args.payload);
    path.warm_up(&mut source)?;
    let before = path.sent();
    let per_frame = (args.viewers * args.packets) as f64;
    let (mut floors, mut paths) = (Vec::new(), Vec::new());
    for turn in 0..args.frames {
        let mut packets = source.next();
        let payloads: Vec<Bytes> = packets.iter().map(|packet| packet.payload.clone()).collect();
        let timestamp = packets[0].stamp.media_time.rtp();
        let mut one_floor = || {
            let start = thread_nanos();
            floor.frame(timestamp, &payloads);
            floors.push((thread_nanos() - start) / per_frame);
        };
        // Who goes first changes: the second finds the caches the other left.
        if turn % 2 == 0 {
            one_floor();
        }
        paths.push(path.frame(&mut packets)? / per_frame);
        if turn % 2 == 1 {
            one_floor();
        }
    }
    let sent = path.sent();
    let expected = (args.frames * args.viewers * args.packets) as u64;
    ensure!(
        sent.0 - before.0 + sent.1 - before.1 >= expected,
        "the path sent {} of {expected} packets: it was not measured in full",
        sent.0 - before.0
    );
    let rival = (args.rivals > 0)
        .then(|| rival::compare(args.rivals, args.rival_frames, args.packets, args.payload))
        .transpose()?;
    let mut ratios: Vec<f64> = paths.iter().zip(&floors).map(|(path, floor)| path / floor).collect();
    Ok(Report {
        viewers: args.viewers,
        packets_per_frame: args.packets,
        packet_bytes: args.payload + 28,
        frames: args.frames,
        ratio: quantile(&mut ratios, 0.5),
        floor: figures(&mut floors, floor.dropped),
        path: figures(&mut paths, sent.1 - before.1),
        rival,
    })
}

fn figures(nanos: &mut [f64], dropped: u64) -> Figures {
    let median = quantile(nanos, 0.5);
    Figures {
        median_ns: median,
        p25_ns: quantile(nanos, 0.25),
        p75_ns: quantile(nanos, 0.75),
        kpps_per_core: 1e6 / median,
        viewers_per_core: 1e9 / median / 310.0,
        dropped,
    }
}

fn quantile(values: &mut [f64], at: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index, rounded down")]
    let index = ((values.len() - 1) as f64 * at) as usize;
    values[index]
}

fn table(report: &Report) -> String {
    let row = |name: &str, f: &Figures| {
        format!(
            "{name:<6} {:>9.0} {:>9.0} {:>9.0} {:>10.0} {:>14.0} {:>9}",
            f.p25_ns, f.median_ns, f.p75_ns, f.kpps_per_core, f.viewers_per_core, f.dropped
        )
    };
    format!(
        "{} viewers, {} packets of {} bytes per visit, {} frames each\n\
         CPU per packet and viewer:\n       {:>9} {:>9} {:>9} {:>10} {:>14} {:>9}\n{}\n{}\nratio {:.2}",
        report.viewers,
        report.packets_per_frame,
        report.packet_bytes,
        report.frames,
        "p25 ns",
        "median ns",
        "p75 ns",
        "kpps/core",
        "viewers/core",
        "dropped",
        row("floor", &report.floor),
        row("path", &report.path),
        report.ratio
    ) + &report.rival.as_ref().map_or_else(String::new, against)
}

fn against(rival: &Comparison) -> String {
    format!(
        "\n\n{} viewers, {} frames in real time, ours and webrtc's peer connections in turns:\n\
         webrtc {:>8.0} ns per packet and viewer ({:.1} % received)\nours   {:>8.0} ns\n{:.1} times less",
        rival.viewers,
        rival.frames,
        rival.webrtc_ns,
        rival.received * 100.0,
        rival.path_ns,
        rival.times_less
    )
}
