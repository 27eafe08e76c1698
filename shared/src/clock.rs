//! The one place where the clock is read. Shells call it and pass the result on; cores never see it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::ProgramTime;

/// The monotonic clock.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    Instant::now()
}

/// This server's UTC. A machine whose clock stands before 1970 is served as if it were 1970.
#[must_use]
pub fn utc() -> ProgramTime {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ProgramTime::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
