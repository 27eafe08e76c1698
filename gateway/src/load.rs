//! How much of the processors this process uses.

use std::time::Duration;

use bicast_shared::clock;
use bicast_signaling::Viewers;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(1);

/// Tells whoever admits viewers, each second, until `finish`. Where the system does not say, nothing is told and the CPU limits nobody.
pub(crate) async fn follow(viewers: Viewers, finish: CancellationToken) {
    let cores = std::thread::available_parallelism()
        .map_or(1.0, |cores| f64::from(u32::try_from(cores.get()).unwrap_or(u32::MAX)));
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        tokio::select! {
            () = finish.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(used) = metrics_process::collector::collect().cpu_seconds_total else { return };
        let now = clock::now();
        if let Some((since, had)) = before.replace((now, used)) {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            viewers.set_cpu_share(((used - had) / seconds / cores).clamp(0.0, 1.0));
        }
    }
}
