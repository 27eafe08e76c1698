//! Whether the configured ports can be had, by taking each as `serve` would and giving it back at once.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::core::report::{Area, Finding, Level};
use crate::config::Config;
use crate::gateway::StartError;
use crate::http::listen::{listen, may_be_left_out};

/// Tries all addresses of HTTP, then all of WebRTC. Must be called inside a tokio runtime.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let http = listen(&config.http.listen, &config.http.tcp).map(|listeners| listeners.len());
    let mut findings = vec![
        judge("http-port", "HTTP: TCP", &texts(&config.http.listen), http),
        judge("udp-port", "WebRTC: UDP", &texts(&addresses(config)), udp(config)),
    ];
    if !config.http.tls.listen.is_empty() {
        let https = listen(&config.http.tls.listen, &config.http.tcp).map(|listeners| listeners.len());
        findings.insert(1, judge("https-port", "HTTPS: TCP", &texts(&config.http.tls.listen), https));
    }
    if let Some(port) = config.sfu.tcp_port.number(config.sfu.udp_port) {
        let addresses = at(config, port);
        findings.push(judge("tcp-port", "WebRTC: TCP", &texts(&addresses), tcp(&addresses)));
    } else {
        let text = "WebRTC over TCP is off (sfu.tcp_port): who is in a network that lets no UDP through has HLS only.";
        findings.push(Finding::new(Area::Ports, "tcp-port", Level::Note, text));
    }
    findings
}

fn judge(check: &'static str, what: &str, addresses: &str, tried: Result<usize, StartError>) -> Finding {
    match tried {
        Ok(_) => {
            Finding::new(Area::Ports, check, Level::Ok, format!("{what} {addresses} can be listened on."))
        }
        Err(error) => {
            // What went wrong, and from the second line on what to do about it.
            let text = error.to_string();
            let (wrong, next) = text.split_once('\n').unwrap_or((&text, ""));
            let finding = Finding::new(Area::Ports, check, Level::Problem, wrong);
            let next: Vec<&str> = next.split_ascii_whitespace().collect();
            if next.is_empty() { finding } else { finding.next(next.join(" ") + ".") }
        }
    }
}

fn addresses(config: &Config) -> Vec<SocketAddr> {
    at(config, config.sfu.udp_port)
}

fn at(config: &Config, port: u16) -> Vec<SocketAddr> {
    config.sfu.bind.iter().map(|ip| SocketAddr::new(*ip, port)).collect()
}

fn texts(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ")
}

fn udp(config: &Config) -> Result<usize, StartError> {
    let failed = |address, source| bicast_sfu::Error::Bind { address, source };
    match bind_all(&addresses(config), |address| bind(address, Type::DGRAM), failed)? {
        0 => Err(StartError::Sfu(bicast_sfu::Error::NothingToBind)),
        count => Ok(count),
    }
}

/// Where UDP has nothing to bind, [`udp`] has said so already.
fn tcp(addresses: &[SocketAddr]) -> Result<usize, StartError> {
    let listening = |address| {
        let socket = bind(address, Type::STREAM)?;
        socket.listen(1)?;
        Ok(socket)
    };
    bind_all(addresses, listening, |address, source| bicast_sfu::Error::Listen { address, source })
}

/// Takes all that there are at the same time, and tells how many those are.
fn bind_all(
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> io::Result<Socket>,
    failed: impl Fn(SocketAddr, io::Error) -> bicast_sfu::Error,
) -> Result<usize, StartError> {
    let mut sockets = Vec::new();
    for &address in addresses {
        match bind(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if may_be_left_out(address, &error) => {}
            Err(error) => return Err(StartError::Sfu(failed(address, error))),
        }
    }
    Ok(sockets.len())
}

/// UDP without SO_REUSEPORT, as the server's first bind: a second server must not be let in. TCP with SO_REUSEADDR, as the server's:
/// connections of one that has just ended are not in the way.
fn bind(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn on_loopback(udp_port: u16) -> Config {
        let mut config = Config::default();
        config.http.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.sfu.bind = vec!["127.0.0.1".parse().unwrap()];
        config.sfu.udp_port = udp_port;
        config
    }

    #[tokio::test]
    async fn free_ports_are_given_back() {
        let config = on_loopback(0);
        assert!(check(&config).iter().all(|finding| finding.level == Level::Ok), "{:#?}", check(&config));
    }

    #[tokio::test]
    async fn a_port_in_use_comes_with_the_way_out() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let findings = check(&on_loopback(port));
        assert_eq!(findings[0].level, Level::Ok);
        assert_eq!(findings[1].level, Level::Problem);
        let wrong = format!("UDP port {port} on 127.0.0.1 (WebRTC) is already in use by another program.");
        assert_eq!(findings[1].text, wrong);
        let next = &findings[1].next.as_ref().unwrap().text;
        assert!(next.starts_with("Stop that program, or choose another: bicast serve --udp-port"), "{next}");
    }

    #[tokio::test]
    async fn a_tcp_port_in_use_is_found_too() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut config = on_loopback(0);
        config.sfu.tcp_port = bicast_sfu::TcpPort::Port(port);
        let findings = check(&config);
        let tcp = findings.iter().find(|finding| finding.check == "tcp-port").unwrap();
        assert_eq!(tcp.level, Level::Problem);
        assert!(tcp.text.starts_with(&format!("TCP port {port} on 127.0.0.1")), "{}", tcp.text);
        assert!(tcp.next.as_ref().unwrap().text.contains("sfu.tcp_port="));

        config.sfu.tcp_port = bicast_sfu::TcpPort::Off;
        let findings = check(&config);
        assert_eq!(findings.iter().find(|finding| finding.check == "tcp-port").unwrap().level, Level::Note);
    }
}
