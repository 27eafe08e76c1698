//! Children that end with the test: publishers, players, peers in other languages.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::wait;

/// A running child with its output in a file. Dropping it kills it; a test that panics prints the output's end first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output going to a file of its own under `target/test-logs`.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let folder = crate::root().join("target/test-logs");
        std::fs::create_dir_all(&folder)?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = folder.join(format!("{}-{number}-{name}.log", std::process::id()));
        let out = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Where it does not within `within`.
    pub async fn ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        let result =
            wait::until(&what, within, || std::future::ready(Ok(child.try_wait().ok().flatten()))).await;
        result.with_context(|| self.tail())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let done = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(done.success(), "kill -TERM {} failed", self.child.id());
        self.ended(wait::GENEROUS).await
    }

    /// Kills it (SIGKILL), so that it can say goodbye to nobody.
    ///
    /// # Errors
    /// Where it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("--- the end of {} ({}) ---\n{}", self.name, self.log.display(), lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the log of a test that fails")]
            {
                eprintln!("{}", self.tail());
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
