//! Children that end with the test: publishers, players, peers in other languages.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;

use crate::wait::{self, GENEROUS};

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
        self.ended(GENEROUS).await
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

/// Runs a program to its end with `input` on its standard input. One that takes longer than [`GENEROUS`] is killed: it waits
/// for something that never comes.
///
/// # Errors
/// Where it cannot be started or does not end in time, with what it wrote on its standard error. Any exit status is a result.
pub fn run(command: &mut Command, input: &[u8]) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let stdout = read(child.stdout.take().context("no stdout")?);
    let stderr = read(child.stderr.take().context("no stderr")?);
    let input = input.to_vec();
    // It may stop reading early (a broken stream): it then says why on stderr.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let deadline = clock::now() + GENEROUS;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if clock::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let _ = feeder.join();
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    let status = status.with_context(|| {
        format!("{name} did not end within {} s: {}", GENEROUS.as_secs(), String::from_utf8_lossy(&stderr))
    })?;
    Ok(Output { status, stdout, stderr })
}

/// Reads a pipe to its end, so that the program behind it never waits for room in it.
fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
