//! One client: a player that follows the live edge of its playlists.

use std::sync::Arc;
use std::time::Duration;

use bicast_shared::clock;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::line::{Failure, Line, Net};
use crate::hls::core::board::{At, Board, note};
use crate::hls::core::edge::{Address, Unit};
use crate::hls::core::figures::Clients;
use crate::hls::core::follower::{Follower, Kind, Step};

/// After a request that brought nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// A player gives up after so many in a row of one playlist.
const MOST_FAILURES: u32 = 4;

/// What all clients share.
pub(crate) struct Party {
    pub(crate) net: Arc<Net>,
    pub(crate) multivariant: Option<Address>,
    pub(crate) playlists: Vec<Address>,
    pub(crate) board: Mutex<Board>,
    pub(crate) clients: Mutex<Clients>,
}

/// Runs a client until the feed ends or it gives up.
pub(crate) async fn client(party: Arc<Party>, number: usize) {
    party.board.lock().join(number);
    let outcome = play(&party, number).await;
    party.board.lock().leave(number, clock::now());
    let mut clients = party.clients.lock();
    match outcome {
        Ok(()) => clients.ended += 1,
        Err(why) => note(&mut clients.failed, &why, 1),
    }
}

async fn play(party: &Arc<Party>, client: usize) -> Result<(), String> {
    let mut line = Line::new(&party.net);
    if let Some(address) = &party.multivariant {
        let (body, _) = persist(&mut line, party, "multivariant playlist", address).await?;
        party.board.lock().answer(body.len() as u64);
    }
    let beside: Vec<_> = party.playlists.iter().skip(1).map(|_| line.beside()).collect();
    let mut tracks = JoinSet::new();
    for (track, line) in std::iter::once(line).chain(beside).enumerate() {
        let party = Arc::clone(party);
        tracks.spawn(async move { Track { party, client, track, line }.follow().await });
    }
    if party.multivariant.is_some() {
        party.clients.lock().connected += 1;
    }
    while let Some(outcome) = tracks.join_next().await {
        // Where one track fails the player does; dropping the set ends the others.
        outcome.unwrap_or_else(|error| Err(error.to_string()))?;
    }
    Ok(())
}

/// Loads something without which there is no playing; after failures, each of which is counted, once more.
async fn persist(
    line: &mut Line,
    party: &Party,
    what: &str,
    address: &Address,
) -> Result<(Bytes, bool), String> {
    let mut failures = 0;
    loop {
        let why = match line.whole(address).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => format!("{what}: {failure}"),
        };
        party.board.lock().error(&why);
        failures += 1;
        if failures >= MOST_FAILURES {
            return Err(why);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Track {
    party: Arc<Party>,
    client: usize,
    track: usize,
    line: Line,
}

impl Track {
    fn at(&self) -> At {
        let utc = clock::utc().unix_nanos() / 1_000;
        At { client: self.client, track: self.track, now: clock::now(), utc }
    }

    async fn follow(mut self) -> Result<(), String> {
        let Some(address) = self.party.playlists.get(self.track) else { return Ok(()) };
        let mut follower = Follower::new(address.clone());
        let mut connected = self.party.multivariant.is_some() || self.track > 0;
        loop {
            match follower.next() {
                Step::Reload(address, pause) => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    self.reload(&mut follower, &address).await?;
                    if !connected {
                        self.party.clients.lock().connected += 1;
                        connected = true;
                    }
                }
                Step::Init(address) => {
                    let what = "initialization section";
                    let (body, _) = persist(&mut self.line, &self.party, what, &address).await?;
                    self.party.board.lock().answer(body.len() as u64);
                }
                Step::Media(unit, kind) => self.load(&unit, kind).await,
                Step::Over => return Ok(()),
            }
        }
    }

    async fn reload(&mut self, follower: &mut Follower, address: &Address) -> Result<(), String> {
        let (body, gzip) = persist(&mut self.line, &self.party, "playlist", address).await?;
        let now = clock::now();
        let mut board = self.party.board.lock();
        let edge = board.read(self.track, &body, gzip, now);
        let edge = edge.map_err(|error| format!("playlist: {error}"))?;
        if follower.read(&edge) {
            board.skip();
        }
        Ok(())
    }

    async fn load(&mut self, unit: &Unit, kind: Kind) {
        if unit.gap {
            self.party.board.lock().gap(self.at(), unit, kind);
            return;
        }
        let mut loaded = self.line.media(&unit.address, unit.range).await;
        if let Err(failure @ Failure::Broken(_)) = &loaded {
            self.party.board.lock().error(&format!("part: {failure}"));
            loaded = self.line.media(&unit.address, unit.range).await;
        }
        let at = self.at();
        let mut board = self.party.board.lock();
        match loaded {
            Ok(bytes) => board.part(at, unit, kind, bytes),
            Err(failure) => board.missed(at, kind, &format!("part: {failure}")),
        }
    }
}
