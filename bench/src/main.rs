//! The cost of the fan-out: CPU per packet and viewer of our path, against the floor, in one interleaved run.
//!
//! `floor` does only what cannot be left out; `path` is a real worker with connected viewers. Both send the same frames
//! to sockets that nobody reads, on one thread, in turns of one frame each, so that whatever else the machine does hits
//! both alike. The figure to watch is the ratio; nanoseconds depend on the machine.

mod floor;

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use bicast_sfu::fanout::{Fanout, STREAM};
use bicast_shared::clock;
use bicast_shared::id::Epoch;
use bicast_shared::packet::{MediaPacket, Stamp};
use bicast_shared::time::MediaTime;
use bytes::Bytes;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::floor::Floor;

/// Measures CPU per packet and viewer of the fan-out against the floor.
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
    let sinks: Vec<UdpSocket> = (0..args.viewers)
        .map(|_| UdpSocket::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .context("cannot open a socket per viewer (ulimit -n?)")?;
    let remotes: Vec<SocketAddr> = sinks.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let mut path = Fanout::new(UdpSocket::bind("127.0.0.1:0")?, &remotes)?;
    let mut floor = Floor::new(UdpSocket::bind("127.0.0.1:0")?, &remotes)?;
    let mut source = Source { frame: 0, packets: args.packets, payload: args.payload };

    // Join, and go past the packets that carry the playout extension.
    while source.frame * args.packets < 400 || path.is_behind() {
        path.forward(clock::now(), &mut source.next());
        while path.is_behind() {
            std::thread::sleep(std::time::Duration::from_millis(1));
            path.tick(clock::now());
        }
    }
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
        let start = thread_nanos();
        let now = clock::now();
        path.forward(now, &mut packets);
        path.tick(now);
        paths.push((thread_nanos() - start) / per_frame);
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
    let mut ratios: Vec<f64> = paths.iter().zip(&floors).map(|(path, floor)| path / floor).collect();
    Ok(Report {
        viewers: args.viewers,
        packets_per_frame: args.packets,
        packet_bytes: args.payload + 28,
        frames: args.frames,
        ratio: quantile(&mut ratios, 0.5),
        floor: figures(&mut floors, floor.dropped),
        path: figures(&mut paths, sent.1 - before.1),
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

/// CPU time of this thread, in nanoseconds.
fn thread_nanos() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Frames of equal packets, a keyframe first.
struct Source {
    frame: usize,
    packets: usize,
    payload: usize,
}

impl Source {
    fn next(&mut self) -> Vec<MediaPacket> {
        let first = self.frame * self.packets;
        let frame = self.frame;
        self.frame += 1;
        (0..self.packets).map(|n| self.packet(frame, first + n, n + 1 == self.packets)).collect()
    }

    fn packet(&self, frame: usize, sequence: usize, marker: bool) -> MediaPacket {
        let media_time = MediaTime(900_000 + frame as i64 * 3_000);
        MediaPacket {
            key: STREAM,
            stamp: Stamp {
                epoch: Epoch(0),
                bus_sequence: sequence as u64,
                sequence: sequence as i64,
                media_time,
                decode_time: None,
                map_version: 0,
                program_time: bicast_shared::time::ProgramTime::default(),
                keyframe: frame == 0,
                segment: None,
                segment_start: MediaTime(0),
            },
            marker,
            payload: Bytes::from(vec![if frame == 0 { 0x65 } else { 0x61 }; self.payload]),
            orientation: None,
            received: clock::now(),
        }
    }
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
    )
}
