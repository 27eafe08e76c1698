//! Follows what feeds and sessions do, and lets decisions be made.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use tokio::time::MissedTickBehavior;

use super::{Desk, FeedNews, Inner};
use crate::admission::Usage;
use crate::api::audience::Used;

/// How often sessions are looked at and decisions made: with the policy's 1.8 s for ICE, who cannot connect is told within two seconds.
const TICK: Duration = Duration::from_millis(100);
/// How often it is measured what all sessions use together.
const MEASURE: Duration = Duration::from_secs(1);

/// Until all handles are gone.
pub(super) async fn follow(desk: Weak<Inner>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut codecs: HashMap<FeedId, String> = HashMap::new();
    let mut measured: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let Some(desk) = desk.upgrade().map(Desk) else { return };
        let feeds = desk.0.state.lock().roster.feeds();
        codecs.retain(|feed, _| feeds.contains(feed));
        for feed in &feeds {
            let asked = desk.0.state.lock().roster.may_have_sessions(feed);
            let statuses = if asked { desk.sessions(feed).await } else { Vec::new() };
            let news = desk.0.directory.feed(feed).map(|feed| Arc::new(FeedNews::from(feed)));
            let facts = desk.facts(feed);
            let changed = desk.0.directory.codecs(feed).and_then(|now| {
                let before = codecs.insert(feed.clone(), now.clone())?;
                (before != now).then(|| format!("The feed was {before} and is {now} now."))
            });
            let lowest = desk.0.directory.lowest_bps(feed);
            desk.with(|roster, at| {
                roster.set_feed(at, feed, facts);
                roster.sessions(at, feed, &statuses, lowest);
                if let Some(why) = changed {
                    roster.join_again(at.now, feed, &why);
                }
            });
            if let Some(news) = news {
                desk.0.state.lock().news.insert(feed.clone(), news);
            }
        }
        if measured.is_none_or(|at| clock::now().saturating_duration_since(at) >= MEASURE) {
            measured = Some(clock::now());
            desk.measure();
        }
        desk.0.state.lock().settle();
        desk.with(|roster, at| roster.tick(at));
        desk.0.state.lock().tidy(&feeds);
        desk.close_sessions().await;
    }
}

impl Desk {
    /// Tells the ledger what is used.
    fn measure(&self) {
        let (egress_bps, packets_per_second) = self.0.directory.egress();
        let mut state = self.0.state.lock();
        let cpu_share = state.used.cpu_share;
        state.used = Used { egress_bps, packets_per_second, cpu_share };
        #[expect(clippy::cast_precision_loss, reason = "rates below 2^53")]
        let usage = Usage {
            egress_bps: Some(egress_bps as f64),
            packets_per_second: Some(packets_per_second as f64),
            cpu_share,
        };
        let now = clock::now();
        state.roster.measure(now, &usage);
        let occupancy = state.roster.occupancy();
        metrics::gauge!("bicast_viewers_joined").set(u32::try_from(state.roster.here()).unwrap_or(u32::MAX));
        metrics::gauge!("bicast_viewers_waiting").set(u32::try_from(occupancy.waiting).unwrap_or(u32::MAX));
        let (values, messages) = state.roster.refused();
        metrics::counter!("bicast_viewer_values_refused_total").absolute(values);
        metrics::counter!("bicast_viewer_messages_flood_total").absolute(messages);
    }
}
