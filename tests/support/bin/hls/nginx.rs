//! nginx with one file, in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::Context as _;
use bicast_shared::clock;
use bicast_tests::edge;
use bicast_tests::process::Process;
use bicast_tests::wait::GENEROUS;

pub(crate) struct Nginx {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// Starts one, where this thread may run, that answers every path with these bytes as a zipped playlist, out of memory: the
    /// file is open and in the page cache.
    pub(crate) fn start(body: &[u8]) -> anyhow::Result<Self> {
        let folder = bicast_tests::root().join(format!("target/test-logs/{}-bench-hls", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("playlist"), body)?;
        let [port] = edge::free_ports()?;
        let place = folder.display();
        // One process: what it uses is all that is used. Debian's build wants root's user where it is started by root.
        let text = format!(
            "daemon off;\nmaster_process off;\npid {place}/nginx.pid;\nuser root;\nerror_log stderr;\n\
             events {{ worker_connections 8192; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
             keepalive_requests 1000000000;\n  open_file_cache max=16 inactive=1h;\n  open_file_cache_valid 1h;\n\
             client_body_temp_path {place};\n  proxy_temp_path {place};\n  fastcgi_temp_path {place};\n\
             uwsgi_temp_path {place};\n  scgi_temp_path {place};\n\
             server {{\n    listen 127.0.0.1:{port} backlog=4096;\n    root {place};\n    default_type application/vnd.apple.mpegurl;\n\
             add_header Content-Encoding gzip;\n    add_header Vary accept-encoding;\n    add_header Cache-Control max-age=12;\n\
             location / {{ try_files /playlist =404; }}\n  }}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text)?;
        let mut command = Command::new(edge::program("nginx")?);
        command.arg("-e").arg("stderr").arg("-c").arg(&file);
        let mut process = Process::start("nginx", &mut command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = clock::now() + GENEROUS;
        while std::net::TcpStream::connect(address).is_err() {
            anyhow::ensure!(process.running() && clock::now() < deadline, "nginx: {}", process.output());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(Self { process, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it said, for an error.
    pub(crate) fn explain<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        outcome.with_context(|| format!("nginx: {}", self.process.output()))
    }
}
