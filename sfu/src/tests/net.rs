//! What a test peer sends over: a UDP socket, or a TCP connection that it opens to the server (RFC 6544, active).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rtc::shared::TransportProtocol;
use rtc_shared::tcp_framing::{TcpFrameDecoder, frame_packet};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The receive buffer of a TCP peer: small, so that one that does not read is soon felt at the server.
const RECEIVE_BUFFER: u32 = 16 << 10;

pub(crate) enum Net {
    Udp {
        socket: UdpSocket,
        /// Where the last datagram came from.
        server: Option<SocketAddr>,
    },
    Tcp {
        ip: IpAddr,
        /// None until the answer names the server's candidate, and after a break.
        stream: Option<TcpStream>,
        /// Whether a check was sent over it: it must come first.
        checked: bool,
        decoder: TcpFrameDecoder,
        came: VecDeque<Vec<u8>>,
    },
}

impl Net {
    pub(crate) async fn udp(ip: IpAddr) -> Self {
        Self::Udp { socket: UdpSocket::bind((ip, 0)).await.unwrap(), server: None }
    }

    pub(crate) fn tcp(ip: IpAddr) -> Self {
        Self::Tcp { ip, stream: None, checked: false, decoder: TcpFrameDecoder::new(), came: VecDeque::new() }
    }

    pub(crate) const fn protocol(&self) -> TransportProtocol {
        match self {
            Self::Udp { .. } => TransportProtocol::UDP,
            Self::Tcp { .. } => TransportProtocol::TCP,
        }
    }

    /// The local candidate.
    pub(crate) fn candidate(&self) -> String {
        match self {
            Self::Udp { socket, .. } => {
                let local = socket.local_addr().unwrap();
                format!("candidate:1 1 udp 2130706431 {} {} typ host", local.ip(), local.port())
            }
            Self::Tcp { ip, .. } => format!("candidate:1 1 tcp 1518280447 {ip} 9 typ host tcptype active"),
        }
    }

    /// Opens the connection to the candidate that the answer names; UDP needs none.
    pub(crate) async fn answered(&mut self, answer: &str) {
        let Self::Tcp { stream, .. } = self else { return };
        let line = answer.lines().find(|line| line.ends_with("typ host tcptype passive"));
        let words: Vec<&str> = line.expect("a TCP candidate").split(' ').collect();
        assert_eq!((words[1], words[2]), ("1", "tcp"));
        let server = SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap());
        let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        *stream = Some(socket.connect(server).await.unwrap());
    }

    /// Breaks a TCP connection and opens another.
    pub(crate) async fn reconnect(&mut self, answer: &str) {
        if let Self::Tcp { stream, checked, decoder, .. } = self {
            (*stream, *checked) = (None, false);
            decoder.clear();
        }
        self.answered(answer).await;
    }

    pub(crate) fn local(&self) -> SocketAddr {
        match self {
            Self::Udp { socket, .. } => socket.local_addr().unwrap(),
            Self::Tcp { stream, .. } => stream.as_ref().unwrap().local_addr().unwrap(),
        }
    }

    pub(crate) fn server(&self) -> SocketAddr {
        match self {
            Self::Udp { server, .. } => server.unwrap(),
            Self::Tcp { stream, .. } => stream.as_ref().unwrap().peer_addr().unwrap(),
        }
    }

    /// The next datagram. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        match self {
            Self::Udp { socket, server } => {
                let mut buffer = vec![0; 2_048];
                let (size, from) = socket.recv_from(&mut buffer).await.unwrap();
                *server = Some(from);
                buffer.truncate(size);
                buffer
            }
            Self::Tcp { stream: None, .. } => std::future::pending().await,
            Self::Tcp { stream: Some(stream), decoder, came, .. } => {
                let mut buffer = vec![0; 4_096];
                loop {
                    while let Some(frame) = decoder.next_packet() {
                        came.push_back(frame);
                    }
                    if let Some(frame) = came.pop_front() {
                        return frame;
                    }
                    stream.readable().await.unwrap();
                    match stream.try_read(&mut buffer) {
                        // The server is gone: nothing more comes.
                        Ok(0) => std::future::pending().await,
                        Ok(count) => decoder.extend_from_slice(&buffer[..count]),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => std::future::pending().await,
                    }
                }
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        match self {
            Self::Udp { socket, .. } => drop(socket.send_to(bytes, to).await),
            Self::Tcp { stream: Some(stream), checked, .. } => {
                *checked |= bytes[0] == 0;
                if !*checked {
                    return;
                }
                let _ = stream.write_all(&frame_packet(bytes)).await;
            }
            Self::Tcp { stream: None, .. } => {}
        }
    }
}
