//! The built `bicast`, started on free ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::http;
use crate::process::{self, Process};
use crate::wait::{self, GENEROUS};

/// The program under test: `TEST_BICAST`, or the one that cargo built beside this test.
///
/// # Errors
/// Where it was not built.
pub fn bicast() -> anyhow::Result<PathBuf> {
    let path = match std::env::var_os("TEST_BICAST") {
        Some(path) => PathBuf::from(path),
        None => {
            // target/debug/deps/e2e-… stands two folders below target/debug.
            let test = std::env::current_exe()?;
            let folder = test.ancestors().nth(2).context("no target folder")?;
            folder.join("bicast")
        }
    };
    anyhow::ensure!(path.is_file(), "{} is missing: cargo build --workspace", path.display());
    Ok(path)
}

/// What `bicast token mint` makes of these arguments.
///
/// # Errors
/// What it has against them.
pub fn token(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(bicast()?);
    command.args(["token", "mint"]).args(arguments);
    let output = process::run(&mut command, &[])?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The file in which a started one says where it listens.
const READY: &str = "ready.json";
/// The loopback addresses that tests use.
pub const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A running `bicast serve`. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// The process, with its log.
    pub process: Process,
    /// Where it serves HTTP: on each of [`LOOPBACK`], each with a port of its own.
    http: [SocketAddr; 2],
    /// Where it serves HTTPS; none unless the test asked for it.
    pub https: Option<SocketAddr>,
    /// The UDP port of its WebRTC.
    pub udp: u16,
}

/// What `--ready-file` says.
#[derive(Deserialize)]
struct Ready {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
}

impl Server {
    /// Starts one with its defaults but for the ports, and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not come up; its log is in the error.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one with more arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut why = None;
        // It asks the system for a free UDP port on IPv4 and takes the same on IPv6, where a peer of another test may sit.
        for _ in 0..3 {
            match Self::try_start(arguments).await {
                Err(error) if format!("{error:#}").contains("already in use") => why = Some(error),
                result => return result,
            }
        }
        Err(why.context("never tried")?)
    }

    async fn try_start(arguments: &[&str]) -> anyhow::Result<Self> {
        let (mut process, folder) = Self::spawn(0, 0, arguments)?;
        let said = wait::until("bicast is ready", GENEROUS, || {
            // Asked first: what a process wrote before it ended counts.
            let running = process.running();
            let said = std::fs::read(folder.join(READY));
            std::future::ready(match said {
                Ok(said) => Ok(Some(Some(said))),
                Err(_) if running => Ok(None),
                Err(_) => Ok(Some(None)),
            })
        })
        .await
        .with_context(|| process.output())?;
        let said = said.with_context(|| format!("it ended: {}", process.output()))?;
        let Ready { http, https, udp } = serde_json::from_slice(&said)?;
        let [v4, v6] = LOOPBACK.map(|host| http.iter().find(|address| address.ip() == host).copied());
        let http = [v4.context("no HTTP over IPv4")?, v6.context("no HTTP over IPv6")?];
        let udp = udp.first().context("no UDP port")?.port();
        Ok(Self { process, http, https: https.first().copied(), udp })
    }

    /// Starts one on these ports (0 takes a free one) and leaves it to itself: for tests of starts that fail. Tells its
    /// folder, too.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(port: u16, udp: u16, arguments: &[&str]) -> anyhow::Result<(Process, PathBuf)> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = crate::root().join(format!("target/test-logs/{}-server-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // Of a process that once had this number.
        let _ = std::fs::remove_file(folder.join(READY));
        // The file that bicast reads when none is named.
        let web_root = crate::root().join("web-demo/dist");
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\nweb_root = {web_root:?}\n\n[sfu]\nudp_port = {udp}\n"
        );
        std::fs::write(folder.join("bicast.toml"), config)?;
        let mut command = Command::new(bicast()?);
        command.args(["serve", "--ready-file", READY]).args(arguments).current_dir(&folder);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BICAST_")) {
            command.env_remove(name);
        }
        Ok((Process::start("bicast", &mut command)?, folder))
    }

    /// Where it serves HTTP over IPv4.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http[0]
    }

    /// A URL of it on 127.0.0.1.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.url_on(LOOPBACK[0], path)
    }

    /// A URL of it on `host`, one of [`LOOPBACK`].
    #[must_use]
    pub fn url_on(&self, host: IpAddr, path: &str) -> String {
        format!("http://{}{path}", self.http[usize::from(host.is_ipv6())])
    }

    /// The feed's description (`GET /v1/feeds/{id}`).
    ///
    /// # Errors
    /// Where there is none.
    pub async fn feed(&self, id: &str) -> anyhow::Result<Value> {
        http::get(&self.url(&format!("/v1/feeds/{id}"))).await?.success()?.json()
    }

    /// Waits until the feed's description satisfies `wanted`.
    ///
    /// # Errors
    /// Where it never does, with the last description.
    pub async fn feed_is(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let result = wait::until(what, GENEROUS, || async {
            let feed = self.feed(id).await?;
            if wanted(&feed) { Ok(Some(feed)) } else { anyhow::bail!("the feed is {feed:#}") }
        });
        result.await
    }

    /// Waits until HLS can be played.
    ///
    /// # Errors
    /// Where it never can.
    pub async fn hls_plays(&self, id: &str) -> anyhow::Result<String> {
        let url = self.url(&format!("/hls/{id}/multivariant.m3u8"));
        wait::until("HLS can be played", GENEROUS, || async {
            let answer = http::get(&url).await?;
            anyhow::ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
            Ok(Some(()))
        })
        .await?;
        Ok(url)
    }

    /// The value of a counter or gauge of `/metrics`, summed over its labels; 0 where it is not there.
    ///
    /// # Errors
    /// Where `/metrics` does not answer.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = http::get(&self.url("/metrics")).await?.success()?.text();
        Ok(text
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// The same of the time series that has this label.
    ///
    /// # Errors
    /// Where the server does not answer.
    pub async fn metric_of(&self, name: &str, label: (&str, &str)) -> anyhow::Result<f64> {
        let text = http::get(&self.url("/metrics")).await?.success()?.text();
        let label = format!("{}=\"{}\"", label.0, label.1);
        let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        let values = text.lines().filter(of).filter(|line| line.contains(&label));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Starts a `bicast publish` to the feed with more arguments (a file, `--test-pattern`, …).
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn publish(&self, feed: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        self.publish_on(LOOPBACK[0], feed, arguments)
    }

    /// The same over `host`.
    ///
    /// # Errors
    /// As [`Server::publish`].
    pub fn publish_on(&self, host: IpAddr, feed: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let whip = self.url_on(host, &format!("/whip/{feed}"));
        let mut command = Command::new(bicast()?);
        command.arg("publish").args(["--whip", &whip]).args(arguments);
        Process::start("publish", &mut command)
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.stop().await
    }

    /// Checks that it still serves and has not panicked: what every test of bad input ends with.
    ///
    /// # Errors
    /// Where it does not serve or its log has a panic.
    pub async fn check_unharmed(&self) -> anyhow::Result<()> {
        http::get(&self.url("/readyz")).await?.success()?;
        let panics = self.metric("bicast_http_panics_total").await?;
        let log = self.process.output();
        anyhow::ensure!(panics == 0.0 && !log.contains("panicked"), "it panicked:\n{log}");
        Ok(())
    }
}
