//! How fast a part that many wait for is with all of them, beside a bare sender.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bicast_load::core::stamp;
use bicast_shared::clock;
use bicast_tests::figures::quantile;
use bicast_tests::hls;
use serde::Serialize;

use super::answers::playlist_request;
use super::bare::Bare;
use super::pool::Pool;
use super::{Args, Target};

/// Every request has been with the server for so long before the part is complete: else its round does not count.
const AHEAD_NANOS: u64 = 200_000_000;
/// A blocking answer that came sooner was not waited for: its part may be about to be complete.
const WAITED: Duration = Duration::from_millis(20);
/// No part takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// At the 99th percentile, of what the bare sender needs, at most.
const MOST: f64 = 1.5;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    clients: u16,
    parts: u32,
    /// Rounds in which the part was complete before everybody had asked for it.
    discarded: u32,
    part_bytes: usize,
    bicast: Times,
    bare: Times,
    /// Of the 99th percentiles.
    ratio: f64,
    met: bool,
}

/// Milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(mut nanos: Vec<f64>) -> Self {
        nanos.sort_by(f64::total_cmp);
        let at = |percent| quantile(&nanos, percent) / 1e6;
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let row = |name: &str, one: &Times| {
            format!("{name:<8} {:>10.2} {:>10.2} {:>10.2}", one.p50, one.p99, one.max)
        };
        format!(
            "Part complete to last byte, {} clients that wait, {} parts of some {} bytes ({} more not counted)\n\
             {:>19} {:>10} {:>10}\n{}\n{}\n{:.2} x the bare sender at p99; bar: {MOST}: {}",
            self.clients,
            self.parts,
            self.part_bytes,
            self.discarded,
            "p50 ms",
            "p99 ms",
            "max ms",
            row("bicast", &self.bicast),
            row("bare", &self.bare),
            self.ratio,
            if self.met { "met" } else { "MISSED" }
        )
    }
}

/// `GET` on a connection that is kept.
pub(crate) fn request(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: gzip\r\nuser-agent: bench\r\n\r\n")
        .into()
}

/// One connection that follows the live edge.
pub(crate) struct Steady {
    stream: TcpStream,
    address: SocketAddr,
    playlist: String,
    /// What is hinted.
    next: (u64, u64),
}

impl Steady {
    pub(crate) fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (address, playlist) = (target.address, target.playlist.clone());
        let mut one = Self { stream, address, playlist, next: (0, 0) };
        let text = one.get(&one.playlist.clone(), false)?;
        one.next = hls::hinted_part(&String::from_utf8(text)?)?;
        Ok(one)
    }

    fn get(&mut self, path: &str, gzip: bool) -> anyhow::Result<Vec<u8>> {
        let request = String::from_utf8(request(self.address, path))?;
        let request = if gzip { request } else { request.replace("accept-encoding: gzip\r\n", "") };
        self.stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        anyhow::ensure!(head.starts_with("http/1.1 200"), "{path}: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }

    /// Waits for the part that is hinted; another is hinted then.
    pub(crate) fn next(&mut self) -> anyhow::Result<()> {
        let (segment, part) = self.next;
        let path = format!("{}?_HLS_msn={segment}&_HLS_part={part}", self.playlist);
        let text = self.get(&path, false)?;
        self.next = hls::hinted_part(&String::from_utf8(text)?)?;
        Ok(())
    }

    /// Waits until a part has just become complete.
    fn fresh(&mut self) -> anyhow::Result<()> {
        loop {
            let asked = clock::now();
            self.next()?;
            if clock::now().saturating_duration_since(asked) >= WAITED {
                return Ok(());
            }
        }
    }

    /// A request for the newest playlist that is there, by its newest part.
    pub(crate) fn request(&self) -> Arc<[u8]> {
        let (segment, part) = self.next;
        // Directives ask for that part or anything later (6.2.5.2): the segment before is always there.
        let known = if part > 0 { (segment, part - 1) } else { (segment.saturating_sub(1), 0) };
        playlist_request(self.address, &self.playlist, known).into()
    }

    /// The playlist as it is now, zipped.
    pub(crate) fn zipped(&mut self) -> anyhow::Result<Vec<u8>> {
        let body = self.get(&self.playlist.clone(), true)?;
        anyhow::ensure!(body.starts_with(&[0x1f, 0x8b]), "the playlist is not zipped");
        Ok(body)
    }

    fn part_path(&self, (segment, part): (u64, u64)) -> anyhow::Result<String> {
        let folder = self.playlist.rsplit_once('/').context("no folder")?.0;
        Ok(format!("{folder}/{segment}.{part}.m4s"))
    }

    /// When the first packet of a part left the publisher, in nanoseconds since 1970.
    fn first_sent(&mut self, part: (u64, u64)) -> anyhow::Result<u64> {
        let path = self.part_path(part)?;
        let body = self.get(&path, false)?;
        body.windows(stamp::SIZE).find_map(stamp::read).context("a part without a time in it")
    }
}

fn utc() -> u64 {
    u64::try_from(clock::utc().unix_nanos()).unwrap_or(0)
}

/// When the last byte came at each client, in nanoseconds since 1970, and how many there were.
fn arrivals(pool: &mut Pool) -> anyhow::Result<(Vec<u64>, usize)> {
    let (mut all, mut bytes) = (Vec::with_capacity(pool.len()), 0);
    let until = clock::now() + PATIENCE;
    while all.len() < pool.len() {
        anyhow::ensure!(clock::now() < until, "{} of {} clients got the part", all.len(), pool.len());
        pool.turn(Duration::from_millis(100), |_, answer| {
            anyhow::ensure!(answer.status == 200, "{answer:?}");
            bytes = answer.bytes;
            all.push(utc());
            Ok(None)
        })?;
    }
    Ok((all, bytes))
}

pub(crate) fn measure(args: &Args, target: &Target, mut bare: Bare) -> anyhow::Result<Report> {
    let mut edge = Steady::connect(target)?;
    let count = usize::from(args.clients);
    let mut ours = Pool::connect(target.address, count)?;
    let mut theirs = Pool::connect(bare.address, count)?;
    let (mut bicast, mut floor) = (Vec::new(), Vec::new());
    let (mut part_bytes, mut parts, mut discarded) = (0, 0, 0);
    while parts < args.parts {
        anyhow::ensure!(
            discarded <= args.parts,
            "the server takes so long for {count} requests that the part is there before: longer parts (--part) or fewer clients"
        );
        edge.fresh()?;
        let wanted = request(target.address, &edge.part_path(edge.next)?);
        ours.ask_all(&wanted)?;
        let asked = utc();
        let (arrived, bytes) = arrivals(&mut ours)?;
        bare.send(bytes)?;
        let (bare_arrived, _) = arrivals(&mut theirs)?;
        let began = bare.began()?;
        // The part is complete when the next one's first frame is there: that frame tells when it was sent.
        edge.next()?;
        let following = edge.next;
        edge.next()?;
        let complete = edge.first_sent(following)?;
        if asked + AHEAD_NANOS > complete {
            discarded += 1;
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "less than seconds")]
        let since = |from: u64, all: Vec<u64>| all.into_iter().map(move |at| at.saturating_sub(from) as f64);
        bicast.extend(since(complete, arrived));
        floor.extend(since(began, bare_arrived));
        (part_bytes, parts) = (bytes, parts + 1);
    }
    let (bicast, bare) = (Times::of(bicast), Times::of(floor));
    let ratio = bicast.p99 / bare.p99;
    Ok(Report {
        clients: args.clients,
        parts,
        discarded,
        part_bytes,
        ratio,
        met: ratio <= MOST,
        bicast,
        bare,
    })
}
