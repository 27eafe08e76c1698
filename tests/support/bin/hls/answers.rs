//! How many blocking playlist requests a core answers, beside nginx.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bicast_load::procfs;
use bicast_shared::clock;
use bicast_tests::figures::quantile;
use parking_lot::Mutex;
use serde::Serialize;

use super::nginx::Nginx;
use super::pool::Pool;
use super::{Args, Target};
use crate::delivery::{Steady, request};

/// How long one server has its turn.
const TURN: Duration = Duration::from_secs(2);
/// Before it is measured in its turn.
const WARM: Duration = Duration::from_millis(200);
/// Answers for each second of a core, at least.
const LEAST: f64 = 20_000.0;
/// Of what nginx gives, at least.
const LEAST_SHARE: f64 = 0.5;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    connections: u16,
    body_bytes: usize,
    bicast: Figures,
    nginx: Figures,
    /// Median over the turns of bicast's answers for nginx's, per CPU second each.
    share: f64,
    met: bool,
}

/// Medians over the turns.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    per_core_second: f64,
    per_second: f64,
    /// Share of the core that the server used.
    core: f64,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    answers: f64,
    seconds: f64,
    cpu: f64,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let row = |name: &str, one: &Figures| {
            format!(
                "{name:<8} {:>16.0} {:>12.0} {:>11.0} %",
                one.per_core_second,
                one.per_second,
                one.core * 100.0
            )
        };
        format!(
            "Blocking playlist answers, {} connections, gzip, {} bytes\n         {:>16} {:>12} {:>13}\n{}\n{}\n\
             {:.2} of nginx; bar: {LEAST:.0} per core second and {LEAST_SHARE} of nginx: {}",
            self.connections,
            self.body_bytes,
            "per core second",
            "per second",
            "of the core",
            row("bicast", &self.bicast),
            row("nginx", &self.nginx),
            self.share,
            if self.met { "met" } else { "MISSED" }
        )
    }
}

pub(crate) fn measure(args: &Args, target: &Target) -> anyhow::Result<Report> {
    let mut edge = Steady::connect(target)?;
    edge.next()?;
    let body = edge.zipped()?;
    procfs::pin(args.server_core);
    let nginx = Nginx::start(&body);
    procfs::pin(args.generator_core);
    let nginx = nginx?;
    let count = usize::from(args.connections);
    let mut ours = Pool::connect(target.address, count)?;
    let mut theirs = Pool::connect(nginx.address, count)?;
    // What is asked for moves with the feed.
    let current = Arc::new(Mutex::new(edge.request()));
    let over = Arc::new(AtomicBool::new(false));
    let follow = {
        let (current, over) = (Arc::clone(&current), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                edge.next()?;
                *current.lock() = edge.request();
            }
            anyhow::Ok(())
        })
    };
    let measured = turns(args.turns, &mut ours, &mut theirs, target, &nginx, &current);
    over.store(true, Ordering::Relaxed);
    let followed = follow.join().map_err(|_| anyhow::anyhow!("the follower panicked"))?;
    let (ours, theirs) = measured?;
    followed?;
    let mut shares: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a.price() / b.price()).collect();
    shares.sort_by(f64::total_cmp);
    let (bicast, nginx, share) = (figures(&ours), figures(&theirs), quantile(&shares, 50));
    let met = bicast.per_core_second >= LEAST && share >= LEAST_SHARE;
    Ok(Report { connections: args.connections, body_bytes: body.len(), bicast, nginx, share, met })
}

type Request = Arc<Mutex<Arc<[u8]>>>;

fn turns(
    count: u32,
    ours: &mut Pool,
    theirs: &mut Pool,
    target: &Target,
    nginx: &Nginx,
    current: &Request,
) -> anyhow::Result<(Vec<Turn>, Vec<Turn>)> {
    let (mut bicast, mut others) = (Vec::new(), Vec::new());
    for _ in 0..count {
        bicast.push(turn(ours, target.pid, current)?);
        others.push(nginx.explain(turn(theirs, nginx.pid(), current))?);
    }
    Ok((bicast, others))
}

impl Turn {
    fn price(self) -> f64 {
        self.answers / self.cpu
    }
}

fn figures(turns: &[Turn]) -> Figures {
    let median = |of: fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 50)
    };
    Figures {
        per_core_second: median(|turn| turn.price()),
        per_second: median(|turn| turn.answers / turn.seconds),
        core: median(|turn| turn.cpu / turn.seconds),
    }
}

fn turn(pool: &mut Pool, pid: u32, current: &Request) -> anyhow::Result<Turn> {
    let used = || procfs::process(pid).map(|used| used.cpu).context("the server is gone");
    let begun = clock::now();
    let first = Arc::clone(&current.lock());
    pool.ask_all(&first)?;
    let (mut answers, mut from) = (0_u64, None);
    let mut under_way = pool.len();
    while under_way > 0 {
        let now = clock::now();
        if from.is_none() && now >= begun + WARM {
            (answers, from) = (0, Some((now, used()?)));
        }
        let going = now < begun + WARM + TURN;
        let request = Arc::clone(&current.lock());
        pool.turn(Duration::from_millis(100), |_, answer| {
            anyhow::ensure!(answer.status == 200 && answer.bytes > 0, "{answer:?}");
            answers += 1;
            if going {
                return Ok(Some(&request[..]));
            }
            under_way -= 1;
            Ok(None)
        })?;
    }
    let (since, cpu) = from.context("too short")?;
    let seconds = clock::now().saturating_duration_since(since).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    Ok(Turn { answers: answers as f64, seconds, cpu: used()? - cpu })
}

/// A request for the playlist at `path`, which may be waited for.
pub(crate) fn playlist_request(address: SocketAddr, path: &str, next: (u64, u64)) -> Vec<u8> {
    request(address, &format!("{path}?_HLS_msn={}&_HLS_part={}", next.0, next.1))
}
