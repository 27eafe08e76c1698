//! The edge of `deploy/`: the real Varnish and the real nginx in front of a server, with the configurations that are deployed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bicast_shared::clock;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::connection::{self, Http2, Pair};
use crate::process::Process;
use crate::server::Server;
use crate::wait::{self, GENEROUS};

/// What Varnish is started with in its container, beside addresses.
const VARNISH: [&str; 9] =
    ["-F", "-j", "none", "-s", "malloc,1g", "-p", "thread_pool_min=100", "-p", "thread_pool_max=2000"];

/// How long nginx may take to end once it was asked.
const GOODBYE: Duration = Duration::from_secs(5);

/// Varnish and nginx in front of a server. Dropping it ends both.
#[derive(Debug)]
pub struct Edge {
    https: SocketAddr,
    certificate: String,
    varnish: Process,
    nginx: Process,
}

impl Edge {
    /// Starts both and waits until they lead to the server and to this feed.
    ///
    /// # Errors
    /// Where a program is missing or does not come up, with what it said.
    pub async fn before(server: &Server, feed: &str) -> anyhow::Result<Self> {
        Self::with_token(server, feed, None).await
    }

    /// The same before a server that wants tokens: `token` is the edge's own.
    ///
    /// # Errors
    /// As [`Edge::before`].
    pub async fn with_token(server: &Server, feed: &str, token: Option<&str>) -> anyhow::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = crate::root().join(format!("target/test-logs/{}-edge-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let [shield, plain, secure] = free_ports()?;
        let Pair { certificate, key } = Pair::generate()?;
        std::fs::write(folder.join("certificate.pem"), &certificate)?;
        std::fs::write(folder.join("key.pem"), key)?;
        if let Some(token) = token {
            std::fs::write(folder.join("edge-token.map"), format!("1 \"Bearer {token}\";\n"))?;
        }
        let varnish = varnish(&folder, server.http().port(), shield)?;
        let nginx = nginx(&folder, server.http(), shield, plain, secure)?;
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, secure));
        let edge = Self { https, certificate, varnish, nginx };
        let playlist = format!("/hls/{feed}/multivariant.m3u8");
        let bearer = token.map(|token| format!("Bearer {token}"));
        wait::until("the edge answers", GENEROUS, || async {
            let mut connection = edge.connect().await?;
            let ready = connection.get("/readyz", &[]).await?.status;
            let headers = bearer.as_deref().map(|bearer| ("authorization", bearer));
            let shielded = connection.get(&playlist, headers.as_slice()).await?.status;
            anyhow::ensure!(ready == 200 && shielded < 500, "{ready} {shielded}");
            Ok(Some(()))
        })
        .await
        .with_context(|| format!("{}\n{}", edge.varnish.output(), edge.nginx.output()))?;
        Ok(edge)
    }

    /// A connection over HTTP/2 and TLS, as players have.
    ///
    /// # Errors
    /// Where the handshake fails.
    pub async fn connect(&self) -> anyhow::Result<Http2> {
        Http2::secure(self.https, &self.certificate).await
    }

    /// A connection over HTTP/1.1 and TLS, as browsers open for WebSockets.
    ///
    /// # Errors
    /// Where the handshake fails.
    pub async fn connect_http1(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        connection::tls(self.https, &self.certificate, &["http/1.1"]).await
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed: it has to be asked.
        let _ = Command::new("kill").arg("-TERM").arg(self.nginx.id().to_string()).status();
        let deadline = clock::now() + GOODBYE;
        while self.nginx.running() && clock::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ports that nobody uses, each another one.
///
/// # Errors
/// Where there are none.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // Held until all are known: the system gives the same one again at once.
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A file of `deploy/` with everything replaced that has to be, each of which must be there.
fn deployed(file: &str, changes: &[(&str, &str)]) -> anyhow::Result<String> {
    let path = crate::root().join("deploy").join(file);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (from, to) in changes {
        anyhow::ensure!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

/// Where a server program is: Debian keeps them where only root's PATH leads.
///
/// # Errors
/// Where it is not installed.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is missing: run scripts/setup test"))
}

fn varnish(folder: &Path, origin: u16, port: u16) -> anyhow::Result<Process> {
    let changes = [("\"gateway\"", "\"127.0.0.1\""), ("\"8080\"", &format!("\"{origin}\""))];
    std::fs::write(folder.join("shield.vcl"), deployed("varnish/default.vcl", &changes)?)?;
    let mut command = Command::new(program("varnishd")?);
    command.args(VARNISH).arg("-n").arg(folder.join("varnish"));
    command.arg("-f").arg(folder.join("shield.vcl")).args(["-a", &format!("127.0.0.1:{port}")]);
    Process::start("varnishd", &mut command)
}

fn nginx(folder: &Path, origin: SocketAddr, shield: u16, plain: u16, secure: u16) -> anyhow::Result<Process> {
    let place = folder.display().to_string();
    let text = deployed(
        "nginx/nginx.conf",
        &[
            ("shield:6081", &format!("127.0.0.1:{shield}")),
            ("gateway:8080", &origin.to_string()),
            ("listen 8080;", &format!("listen 127.0.0.1:{plain};")),
            ("listen 8443 ssl", &format!("listen 127.0.0.1:{secure} ssl")),
            ("listen [::]:8080;", ""),
            ("listen [::]:8443 ssl http2;", ""),
            // Before what may put such a path in.
            ("/tmp/", &format!("{place}/")),
            ("/etc/bicast/tls", &place),
        ],
    )?;
    // Debian's build wants root's user where it is started by root.
    let text = format!("user root;\n{text}");
    std::fs::write(folder.join("nginx.conf"), text)?;
    let mut command = Command::new(program("nginx")?);
    command.arg("-c").arg(folder.join("nginx.conf")).args(["-g", "daemon off;"]);
    Process::start("nginx", &mut command)
}
