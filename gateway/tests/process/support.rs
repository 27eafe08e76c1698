//! Runs the built binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up: long enough for a machine that does four other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    bicast_shared::clock::now()
}

/// What a process left behind.
pub(crate) struct Finished {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `bicast` to its end.
pub(crate) fn bicast(args: &[&str]) -> Finished {
    finish(spawn(args))
}

/// A process whose output is read while it runs: one that nobody reads stands still when the pipe is full.
struct Child {
    process: std::process::Child,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

fn spawn(args: &[&str]) -> Child {
    let mut process = command(args).spawn().expect("the binary was built");
    let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    Child { process, stdout: read(stdout), stderr: read(stderr) }
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn command(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bicast"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // No bicast.toml of the source tree and no settings of whoever runs the tests.
    command.current_dir(std::env::temp_dir());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BICAST_")) {
        command.env_remove(name);
    }
    command
}

fn finish(mut child: Child) -> Finished {
    let deadline = now() + PATIENCE;
    let status = loop {
        let status = child.process.try_wait().unwrap();
        if status.is_some() || now() > deadline {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if status.is_none() {
        child.process.kill().unwrap();
        child.process.wait().unwrap();
    }
    let text = |reader: JoinHandle<Vec<u8>>| String::from_utf8(reader.join().unwrap()).unwrap();
    let (stdout, stderr) = (text(child.stdout), text(child.stderr));
    let Some(status) = status else { panic!("it does not end:\n{stderr}") };
    Finished { status: status.code(), stdout, stderr }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !is_so() {
        assert!(now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command that runs beside a test. Ended when dropped.
pub(crate) struct Command(std::process::Child);

impl Command {
    /// Begins `bicast` with these arguments. What it prints is not kept.
    pub(crate) fn spawn(args: &[&str]) -> Self {
        Self(command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary was built"))
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_for_its_end(&mut self) {
        until("the command ends", || self.0.try_wait().unwrap().is_some());
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `bicast serve`, on free ports. Ended when dropped.
pub(crate) struct Running {
    child: Option<Child>,
    folder: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) all_http: Vec<SocketAddr>,
    pub(crate) udp: Vec<SocketAddr>,
}

impl Running {
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("bicast-serve-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut all =
            vec!["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--set", "sfu.bind=127.0.0.1"];
        all.extend(["--ready-file", ready_file.to_str().unwrap()]);
        all.extend(args);
        let mut child = spawn(&all);
        let deadline = now() + PATIENCE;
        let ready: Value = loop {
            if let Ok(text) = std::fs::read(&ready_file) {
                break serde_json::from_slice(&text).expect("whole, because it was renamed");
            }
            if child.process.try_wait().unwrap().is_some() || now() > deadline {
                let _ = child.process.kill();
                panic!("it does not start:\n{}", finish(child).stderr);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let list = |name: &str| -> Vec<SocketAddr> { serde_json::from_value(ready[name].clone()).unwrap() };
        assert_eq!(ready["pid"], child.process.id());
        let all_http = list("http");
        Self { child: Some(child), folder, http: all_http[0], all_http, udp: list("udp") }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.http)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path)
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        ask(self.http, method, path)
    }

    pub(crate) fn get_at(&self, address: SocketAddr, path: &str) -> (u16, String) {
        ask(address, "GET", path)
    }

    /// Sends bytes and reads so many back.
    pub(crate) fn raw(&self, bytes: &[u8], length: usize) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().process.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn wait(mut self) -> Finished {
        finish(self.child.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.process.kill();
            let _ = child.process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own; the status and the body.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status.expect("a status line"), body.expect("a body"))
}
