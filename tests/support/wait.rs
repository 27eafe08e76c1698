//! Waiting for a condition. Tests never assert how long something takes, only that it comes at all.

use std::future::Future;
use std::time::Duration;

use bicast_shared::clock;

/// Long enough for anything that comes at all, on a machine that does four other things.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`.
///
/// # Errors
/// After `within`, naming `what` and the last error that the question ended with.
pub async fn until<T, F, Fut>(what: &str, within: Duration, mut ask: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = clock::now() + within;
    loop {
        let answer = ask().await;
        if let Ok(Some(found)) = answer {
            return Ok(found);
        }
        if clock::now() >= deadline {
            let why = answer.err().map_or_else(String::new, |error| format!(": {error:#}"));
            anyhow::bail!("{what}: not within {} s{why}", within.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
