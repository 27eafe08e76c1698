//! Asks a candidate what a browser would ask first: a STUN connectivity check, over UDP or TCP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bicast_shared::clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{timeout, timeout_at};

use super::core::check::{Checker, Reading, Transaction};
use super::core::outcome::Outcome;
use super::core::sdp::{Candidate, Transport};

/// How long an answer is waited for. `core::judge` names it.
const PATIENCE: Duration = Duration::from_secs(2);
/// When the request is sent, after the beginning: any of them may be lost.
const SENDS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1_200)];
/// The largest answer that is read.
const LARGEST: usize = 2_048;

/// Asks one candidate, from a socket of its own.
pub(super) async fn probe(candidate: Candidate, checker: Checker) -> Outcome {
    let asked = match candidate.transport {
        Transport::Udp => udp(candidate.address, &checker).await,
        Transport::Tcp => match timeout(PATIENCE, tcp(candidate.address, &checker)).await {
            Ok(outcome) => outcome,
            Err(_) => return Outcome::Silent,
        },
    };
    asked.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::TimedOut => Outcome::Silent,
        _ => Outcome::Unreachable { why: words(&error) },
    })
}

/// A request on its way.
struct Sent {
    transaction: Transaction,
    at: Instant,
}

impl Sent {
    fn new(checker: &Checker) -> io::Result<(Self, Vec<u8>)> {
        let transaction: Transaction = rand::random();
        let request = checker.request(transaction).map_err(io::Error::other)?;
        Ok((Self { transaction, at: clock::now() }, request))
    }
}

async fn udp(address: SocketAddr, checker: &Checker) -> io::Result<Outcome> {
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that the kernel tells what ICMP says: nothing listens there, no way there.
    socket.connect(address).await?;
    let began = clock::now();
    let mut sends = SENDS.map(|after| began + after).into_iter().peekable();
    let (mut sent, mut last) = (Vec::new(), Outcome::Silent);
    let mut buffer = [0; LARGEST];
    while clock::now() < began + PATIENCE {
        if sends.next_if(|at| *at <= clock::now()).is_some() {
            let (request, bytes) = Sent::new(checker)?;
            sent.push(request);
            refused(socket.send(&bytes).await, &mut last)?;
        }
        let until = sends.peek().copied().unwrap_or(began + PATIENCE);
        let Ok(received) = timeout_at(until.into(), socket.recv(&mut buffer)).await else { continue };
        let Some(length) = refused(received, &mut last)? else { continue };
        match read(checker, &buffer[..length], &sent) {
            Some(answered @ Outcome::Answered { .. }) => return Ok(answered),
            Some(wrong) => last = wrong,
            None => {}
        }
    }
    Ok(last)
}

/// Remembers that the host refused a datagram: a later one may still be answered, by a server that is just starting.
fn refused(result: io::Result<usize>, last: &mut Outcome) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            *last = Outcome::Refused;
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// The same over a connection: each message behind its length in two bytes (RFC 4571; RFC 6544, 3).
async fn tcp(address: SocketAddr, checker: &Checker) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect(address).await?;
    let (request, bytes) = Sent::new(checker)?;
    let sent = [request];
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    loop {
        let length = match stream.read_u16().await {
            Ok(length) => usize::from(length),
            Err(_) => return Ok(Outcome::Wrong { why: "the end of the connection".into() }),
        };
        if length > LARGEST {
            return Ok(Outcome::Wrong { why: "what is not framed as RFC 4571 says".into() });
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await?;
        if let Some(outcome) = read(checker, &message, &sent) {
            return Ok(outcome);
        }
    }
}

/// What a message means; none when it has nothing to do with what was asked.
fn read(checker: &Checker, bytes: &[u8], sent: &[Sent]) -> Option<Outcome> {
    let now = clock::now();
    let asked: Vec<Transaction> = sent.iter().map(|request| request.transaction).collect();
    match checker.read(bytes, &asked) {
        Reading::Success { transaction, seen_as } => {
            let request = sent.iter().find(|request| request.transaction == transaction)?;
            let micros = now.saturating_duration_since(request.at).as_micros();
            let round_trip_ms = f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1_000.0;
            Some(Outcome::Answered { round_trip_ms, seen_as })
        }
        Reading::Wrong(why) => Some(Outcome::Wrong { why }),
        Reading::Foreign => None,
    }
}

/// "network is unreachable", not "Network is unreachable (os error 101)": the number helps nobody.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::core::check::tests::checker;
    use super::*;

    fn at(transport: Transport, address: SocketAddr) -> Candidate {
        Candidate { transport, address }
    }

    /// A server that does not hear the first request, and answers the second one with `password`.
    async fn udp_server(password: &'static str) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; LARGEST];
            socket.recv_from(&mut buffer).await.unwrap();
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(b"not STUN at all, and nothing to wonder about", from).await.unwrap();
            let answer = checker(password).answer(&buffer[..length], from);
            socket.send_to(&answer, from).await.unwrap();
            std::future::pending::<()>().await;
        });
        address
    }

    #[tokio::test]
    async fn a_lost_request_is_sent_again() {
        let server = udp_server("secret").await;
        let outcome = probe(at(Transport::Udp, server), checker("secret")).await;
        let Outcome::Answered { seen_as, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(seen_as.ip().to_string(), "127.0.0.1");
    }

    #[tokio::test]
    async fn a_stranger_at_the_port_is_found_out() {
        let server = udp_server("another").await;
        let outcome = probe(at(Transport::Udp, server), checker("secret")).await;
        assert!(matches!(&outcome, Outcome::Wrong { why } if why.contains("password")), "{outcome:?}");
    }

    #[tokio::test]
    async fn silence_and_a_closed_port_are_told_apart() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        assert_eq!(probe(at(Transport::Udp, address), checker("secret")).await, Outcome::Silent);
        drop(silent);
        let closed = probe(at(Transport::Udp, address), checker("secret")).await;
        // Only Linux is sure to tell a connected socket of ICMP.
        assert!(closed == Outcome::Refused || !cfg!(target_os = "linux"), "{closed:?}");
    }

    #[tokio::test]
    async fn tcp_is_framed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, from) = listener.accept().await.unwrap();
            let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut request).await.unwrap();
            let answer = checker("secret").answer(&request, from);
            stream.write_u16(4).await.unwrap();
            stream.write_all(b"DTLS").await.unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            drop(stream);
        });
        let outcome = probe(at(Transport::Tcp, address), checker("secret")).await;
        assert!(matches!(outcome, Outcome::Answered { .. }), "{outcome:?}");
        let closed = probe(at(Transport::Tcp, address), checker("secret")).await;
        assert!(
            matches!(&closed, Outcome::Wrong { why } if why.contains("end of the connection")),
            "{closed:?}"
        );
        assert_eq!(probe(at(Transport::Tcp, address), checker("secret")).await, Outcome::Refused);
    }
}
