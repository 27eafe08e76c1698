//! The least that can be done to give many clients the same bytes: write them to one socket after the other.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use bicast_shared::clock;

/// Bytes of a number on the control connection.
const NUMBER: usize = 8;

fn utc() -> u64 {
    u64::try_from(clock::utc().unix_nanos()).unwrap_or(0)
}

/// The sender's process: prints its port, takes so many sockets and one more for control; for each length that comes on that,
/// writes an answer with so long a body to all others and tells when it began, in nanoseconds since 1970.
pub(crate) fn serve(sockets: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let mut control = listener.accept()?.0;
    control.set_nodelay(true)?;
    let mut clients = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        let (client, _) = listener.accept()?;
        client.set_nodelay(true)?;
        clients.push(client);
    }
    let mut number = [0; NUMBER];
    // Until the benchmark goes.
    while control.read_exact(&mut number).is_ok() {
        let length = usize::try_from(u64::from_be_bytes(number))?;
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'.');
        let began = utc();
        for client in &mut clients {
            client.write_all(&answer)?;
        }
        control.write_all(&began.to_be_bytes())?;
    }
    Ok(())
}

/// The running sender. Dropping it ends it.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
    control: TcpStream,
}

impl Bare {
    /// Starts it where this thread may run.
    pub(crate) fn start(sockets: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bare", "--sockets", &sockets.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the bare sender")?;
        let mut out = child.stdout.take().context("no output")?;
        let mut text = String::new();
        let mut byte = [0];
        while out.read(&mut byte)? == 1 && byte != *b"\n" {
            text.push(char::from(byte[0]));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, text.parse().context("no port")?));
        let control = TcpStream::connect(address)?;
        control.set_nodelay(true)?;
        Ok(Self { child, address, control })
    }

    /// Lets it write so many bytes to everybody.
    pub(crate) fn send(&mut self, length: usize) -> anyhow::Result<()> {
        self.control.write_all(&(length as u64).to_be_bytes()).context("the bare sender is gone")
    }

    /// When it began, in nanoseconds since 1970; it is done.
    pub(crate) fn began(&mut self) -> anyhow::Result<u64> {
        let mut number = [0; NUMBER];
        self.control.read_exact(&mut number).context("the bare sender is gone")?;
        Ok(u64::from_be_bytes(number))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
