//! Files that are read again when they have changed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often such files are looked at. A look is a `stat` call for each.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Tells versions of a file apart: when it was written, and how long it is.
pub(crate) type Version = Option<(SystemTime, u64)>;

/// The version of a file that is there now.
pub(crate) fn version(file: &Path) -> Version {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// Says when what `version` tells is no longer what was `seen`, each time once, until `finish`.
pub(crate) async fn watch<V: PartialEq>(
    mut seen: V,
    version: impl Fn() -> V,
    finish: CancellationToken,
    mut changed: impl FnMut(),
) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = finish.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = version();
        if now != seen {
            seen = now;
            changed();
        }
    }
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// What the system says, and a longer one.
pub(crate) fn read(file: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}
