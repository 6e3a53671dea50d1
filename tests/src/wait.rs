//! The one function that waits: for a condition, with a deadline. Everything else in the harness calls it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a story waits for something that takes well under a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks every 10 ms until there is something to see.
///
/// # Errors
/// If there is nothing after `patience`, or as soon as looking fails.
pub async fn until<T>(what: &str, patience: Duration, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_every(Duration::from_millis(10), what, patience, look).await
}

/// Looks again `pause` after each look until there is something to see.
///
/// # Errors
/// If there is nothing after `patience`, or as soon as looking fails.
pub async fn until_every<T>(
    pause: Duration,
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        if begun.elapsed() > patience {
            bail!("waited {:.1} s for this and it did not happen: {what}", begun.elapsed().as_secs_f64());
        }
        #[expect(clippy::disallowed_methods, reason = "the harness's one pause between two looks at a condition")]
        tokio::time::sleep(pause).await;
    }
}
