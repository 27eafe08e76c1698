//! What happens to a viewer: its network, its session, its reports, its feed, the server's room.

use std::collections::VecDeque;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::super::{Capacity, FeedState, IceState, Observation, Path, PlayerReport, ServerView, Shortage};

/// Something that is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Feed(FeedState),
    Capacity(Capacity),
    JoinAgain,
    Seen(Observation),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Good,
    /// Between good and bad.
    Fair,
    Lossy,
    Slow,
    Far,
    Uneven,
    Blocked,
    /// Good and lossy in turns of so many milliseconds.
    Flapping(u64),
}

/// How an end reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Reports come late by up to so many milliseconds, in their order.
    Late(u64),
    /// One in so many is missing.
    Missing(u32),
    /// What it says has nothing to do with the network, nor with what can be.
    Lying,
    Silent,
}

/// A viewer's world.
#[derive(Debug)]
pub(super) struct World {
    pub(super) feed: FeedState,
    pub(super) capacity: Capacity,
    network: Network,
    network_until: u64,
    server: Manner,
    player: Manner,
    manners_until: u64,
    /// Whether the line of a viewer on HLS is measured.
    probed: bool,
    layers: u8,
    feed_until: u64,
    capacity_until: u64,
    /// When the viewer's session began and when it was connected; none where it has no session.
    session: Option<(u64, Option<u64>)>,
    appears_at: Option<u64>,
    blocked_since: Option<u64>,
    server_every: u64,
    server_at: u64,
    player_at: u64,
    under_way: VecDeque<(u64, Observation)>,
    path: Option<Path>,
}

/// Mostly short, sometimes as long as the longest holds.
fn lasts(random: &mut StdRng) -> u64 {
    match random.random_range(0..20) {
        0..8 => random.random_range(200..8_000),
        8..18 => random.random_range(5_000..60_000),
        18 => random.random_range(60_000..400_000),
        _ => random.random_range(600_000..1_500_000),
    }
}

fn network(random: &mut StdRng) -> Network {
    match random.random_range(0..14) {
        0..5 => Network::Good,
        5 => Network::Fair,
        6..8 => Network::Lossy,
        8 => Network::Slow,
        9 => Network::Far,
        10 => Network::Uneven,
        11 => Network::Blocked,
        _ => Network::Flapping(random.random_range(500..12_000)),
    }
}

fn feed(random: &mut StdRng) -> FeedState {
    FeedState {
        realtime: random.random_ratio(9, 10),
        hls: random.random_ratio(9, 10),
        live: random.random_ratio(9, 10),
    }
}

fn capacity(random: &mut StdRng) -> Capacity {
    let shortages = [Shortage::Bitrate, Shortage::PacketRate, Shortage::Cpu, Shortage::Count];
    if random.random_ratio(5, 6) {
        Capacity::Granted
    } else {
        Capacity::Refused(shortages[random.random_range(0..4)])
    }
}

fn lie(random: &mut StdRng) -> Option<f64> {
    match random.random_range(0..10) {
        0 => Some(f64::NAN),
        1 => Some(f64::INFINITY),
        2 => Some(f64::NEG_INFINITY),
        3 => Some(-random.random::<f64>()),
        4 => Some(1e300),
        5 => Some(0.0),
        6 => Some(random.random_range(0.0..1.0)),
        7 => Some(random.random_range(0.0..60_000.0)),
        8 => Some(random.random_range(0.0..1e12)),
        _ => None,
    }
}

impl World {
    pub(super) fn new(random: &mut StdRng) -> Self {
        let always_whole = random.random_ratio(1, 2);
        let whole = FeedState { realtime: true, hls: true, live: true };
        Self {
            feed: if always_whole { whole } else { feed(random) },
            capacity: capacity(random),
            network: network(random),
            network_until: lasts(random),
            server: Manner::Honest,
            player: Manner::Honest,
            manners_until: lasts(random),
            probed: random.random_ratio(2, 3),
            layers: random.random_range(0..3),
            // Half of the feeds stay as they are, so that the rest can be seen for long.
            feed_until: if always_whole { u64::MAX } else { lasts(random) },
            capacity_until: lasts(random),
            session: None,
            appears_at: None,
            blocked_since: None,
            server_every: [200, 500, 1_000][random.random_range(0..3)],
            server_at: 0,
            player_at: 0,
            under_way: VecDeque::new(),
            path: None,
        }
    }

    /// Milliseconds until the next step: now and then the server is busy.
    pub(super) fn pause(&self, random: &mut StdRng) -> u64 {
        if random.random_ratio(1, 2_000) {
            random.random_range(1_000..8_000)
        } else {
            random.random_range(50..=400)
        }
    }

    /// What is told at this time to a server that has the viewer on this path.
    pub(super) fn step(&mut self, random: &mut StdRng, now: u64, path: Path) -> Vec<Event> {
        let mut events = Vec::new();
        self.change(random, now, &mut events);
        let had_session = self.session.is_some();
        self.connect(random, now, path);
        self.restart(random, now, &mut events);
        if had_session && self.session.is_none() {
            let closed = ServerView { ice: Some(IceState::Closed), ..ServerView::default() };
            events.push(Event::Seen(closed.into()));
        }
        let late = |manner, random: &mut StdRng| match manner {
            Manner::Late(most) => random.random_range(0..=most),
            _ => 0,
        };
        if now >= self.server_at {
            self.server_at = now + self.server_every;
            if let Some(view) = self.view(random, now) {
                self.under_way.push_back((now + late(self.server, random), view.into()));
            }
        }
        if now >= self.player_at {
            self.player_at = now + 1_000;
            if let Some(report) = self.report(random, now, path) {
                self.under_way.push_back((now + late(self.player, random), report.into()));
            }
        }
        while self.under_way.front().is_some_and(|(due, _)| *due <= now) {
            events.extend(self.under_way.pop_front().map(|(_, seen)| Event::Seen(seen)));
        }
        events
    }

    fn change(&mut self, random: &mut StdRng, now: u64, events: &mut Vec<Event>) {
        if now >= self.network_until {
            self.network = network(random);
            self.network_until = now + lasts(random);
        }
        if now >= self.manners_until {
            let manner = |random: &mut StdRng| match random.random_range(0..12) {
                0..7 => Manner::Honest,
                7 => Manner::Late(random.random_range(100..6_000)),
                8 => Manner::Missing(random.random_range(2..6)),
                9 | 10 => Manner::Lying,
                _ => Manner::Silent,
            };
            self.server = manner(random);
            self.player = manner(random);
            self.probed = random.random_ratio(5, 6);
            self.layers = random.random_range(0..3);
            self.manners_until = now + lasts(random);
        }
        if now >= self.feed_until {
            self.feed = feed(random);
            self.feed_until = now + lasts(random);
            events.push(Event::Feed(self.feed));
        }
        if now >= self.capacity_until {
            self.capacity = capacity(random);
            self.capacity_until = now + lasts(random);
            events.push(Event::Capacity(self.capacity));
        }
    }

    fn network(&self, now: u64) -> Network {
        match self.network {
            Network::Flapping(turn) if (now / turn).is_multiple_of(2) => Network::Good,
            Network::Flapping(_) => Network::Lossy,
            other => other,
        }
    }

    /// The viewer's session: begins a while after it was told to, connects where the network lets it.
    fn connect(&mut self, random: &mut StdRng, now: u64, path: Path) {
        let blocked = self.network(now) == Network::Blocked;
        if self.path != Some(path) {
            self.path = Some(path);
            // One in thirty never comes.
            let never = random.random_ratio(1, 30);
            self.appears_at = (!never).then(|| now + random.random_range(0..1_500));
        }
        let wanted = path == Path::Realtime || self.probed;
        match (&mut self.session, wanted) {
            (session, false) => *session = None,
            (session @ None, true) if self.appears_at.is_some_and(|at| at <= now) => {
                *session = Some((now, None));
            }
            (None, true) => {}
            (Some((began, connected)), true) => {
                if connected.is_none() && !blocked && now > *began + random.random_range(100..900) {
                    *connected = Some(now);
                }
            }
        }
        self.blocked_since = if blocked { self.blocked_since.or(Some(now)) } else { None };
    }

    /// Now and then the player closes its session and begins another, of itself or because the feed has another codec. One in ten never does.
    fn restart(&mut self, random: &mut StdRng, now: u64, events: &mut Vec<Event>) {
        if self.session.is_none() || !random.random_ratio(1, 400) {
            return;
        }
        self.session = None;
        let again = random.random_ratio(9, 10);
        self.appears_at = again.then(|| now + random.random_range(0..3_000));
        if random.random_ratio(1, 2) {
            events.push(Event::JoinAgain);
        }
    }

    fn ice(&self, now: u64) -> Option<IceState> {
        let (began, connected) = self.session?;
        let dark = self.blocked_since.map_or(0, |since| now - since.max(connected.unwrap_or(began)));
        Some(match connected {
            None if now < began + 100 => IceState::New,
            None if now > began + 20_000 => IceState::Failed,
            None => IceState::Checking,
            Some(_) if dark > 25_000 => IceState::Failed,
            Some(_) if dark > 1_000 => IceState::Disconnected,
            Some(_) => IceState::Connected,
        })
    }

    fn view(&self, random: &mut StdRng, now: u64) -> Option<ServerView> {
        let ice = self.ice(now);
        match self.server {
            Manner::Silent => return None,
            Manner::Missing(one_in) if random.random_ratio(1, one_in) => return None,
            Manner::Lying => {
                return Some(ServerView {
                    ice,
                    loss_ratio: lie(random),
                    nack_recovery: lie(random),
                    round_trip_ms: lie(random),
                    jitter_ms: lie(random),
                    estimate_bps: lie(random),
                    lowest_layer_bps: lie(random),
                    lower_layers: random.random_bool(0.5).then(|| random.random()),
                });
            }
            _ => {}
        }
        let ice = ice?;
        // Where nothing comes back, nothing is measured; the same where nobody publishes.
        if ice != IceState::Connected || self.network(now) == Network::Blocked || !self.feed.live {
            return Some(ServerView { ice: Some(ice), ..ServerView::default() });
        }
        let network = self.network(now);
        let mut between = |on: Network, from: f64, to: f64, otherwise: (f64, f64)| {
            Some(if network == on {
                random.random_range(from..to)
            } else {
                random.random_range(otherwise.0..otherwise.1)
            })
        };
        let fair = network == Network::Fair;
        Some(ServerView {
            ice: Some(ice),
            loss_ratio: if fair { Some(0.055) } else { between(Network::Lossy, 0.26, 0.8, (0.0, 0.009)) },
            nack_recovery: between(Network::Lossy, 0.0, 1.0, (0.9, 1.0)),
            round_trip_ms: between(Network::Far, 1_001.0, 9_000.0, (10.0, 500.0)),
            jitter_ms: between(Network::Uneven, 201.0, 2_000.0, (0.0, 90.0)),
            estimate_bps: between(Network::Slow, 1e4, 0.9e6, (1.3e6, 2e7)),
            lowest_layer_bps: Some(1e6),
            lower_layers: (self.layers > 0).then_some(self.layers),
        })
    }

    fn report(&self, random: &mut StdRng, now: u64, path: Path) -> Option<PlayerReport> {
        match self.player {
            Manner::Silent => return None,
            Manner::Missing(one_in) if random.random_ratio(1, one_in) => return None,
            Manner::Lying => {
                return Some(PlayerReport {
                    frozen_ratio: lie(random),
                    loss_ratio: lie(random),
                    round_trip_ms: lie(random),
                    jitter_ms: lie(random),
                    udp_blocked: random.random_bool(0.3).then(|| random.random()),
                });
            }
            _ => {}
        }
        let network = self.network(now);
        let stands = path == Path::Realtime
            && (!self.feed.live || matches!(network, Network::Lossy | Network::Slow | Network::Blocked));
        let unconnected =
            self.session.is_some_and(|(began, connected)| connected.is_none() && now > began + 1_500);
        Some(PlayerReport {
            frozen_ratio: Some(if stands { random.random_range(0.2..1.0) } else { 0.0 }),
            udp_blocked: (network == Network::Blocked && unconnected).then_some(true),
            ..PlayerReport::default()
        })
    }
}
