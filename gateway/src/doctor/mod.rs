//! `bicast doctor`: what keeps viewers away from a server, and what to set.
//!
//! | module | holds |
//! |---|---|
//! | `core` | pure: reading answers, judging addresses and kernel settings, the report |
//! | `host` | what this machine tells about itself |
//! | `ports` | whether the configured ports can be had |
//! | `server` | the talk with a running server over HTTP |
//! | `probe` | what each candidate answers |

mod core;
mod host;
mod ports;
mod probe;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bicast_publish::Token;
use bicast_publish::core::endpoint::Endpoint;

pub(crate) use self::core::render::render;
pub(crate) use self::core::report::Report;
pub(crate) use self::server::Ready;

use self::core::judge::{Scene, judge};
use self::core::kernel::{self, Needs};
use self::core::report::{Area, Finding, Level};
use self::server::{Presence, Server};
use crate::config::Config;

/// What is to be examined.
pub(crate) struct Case {
    /// The configuration, or what is wrong with it.
    pub(crate) config: Result<Config, String>,
    /// The server's address; without one it is this machine's.
    pub(crate) url: Option<String>,
    /// What it publishes with.
    pub(crate) token: Option<Token>,
}

/// Looks at everything that can be seen from here. Takes some seconds where something does not answer.
pub(crate) async fn examine(case: Case) -> Report {
    let mut report = Report::default();
    report.add(configuration(&case.config));
    let named = case.url.is_some();
    let Some(url) = case.url.or_else(|| own_url(case.config.as_ref().ok())) else {
        let text = "The configured HTTP port is 0, any free one: where the server runs is not known.";
        report.add(Finding::new(Area::Server, "url", Level::Note, text).next("Name it with --url."));
        look_at_the_kernel(&mut report, case.config.as_ref().ok()).await;
        return report;
    };
    report.url = Some(url.clone());
    let here = match url.parse::<Endpoint>() {
        Ok(endpoint) => ask(&mut report, &endpoint, case.token, named, &case.config).await,
        Err(_) => {
            let text = format!("{url:?} is not the address of a server.");
            report.add(
                Finding::new(Area::Server, "url", Level::Problem, text)
                    .next("Write it like --url http://127.0.0.1:8080 or --url https://live.example.com."),
            );
            true
        }
    };
    if here {
        look_at_the_kernel(&mut report, case.config.as_ref().ok()).await;
    } else {
        let text =
            "Not looked at, nor the server's configuration: going by its address, it is on another machine.";
        report.add(
            Finding::new(Area::Kernel, "elsewhere", Level::Note, text)
                .next("On it:")
                .command("bicast doctor"),
        );
    }
    report
}

fn configuration(config: &Result<Config, String>) -> Finding {
    let new = |level, text: String| Finding::new(Area::Configuration, "configuration", level, text);
    match config {
        Ok(config) => {
            let http: Vec<String> = config.http.listen.iter().map(ToString::to_string).collect();
            let udp: Vec<String> = config
                .sfu
                .bind
                .iter()
                .map(|ip| SocketAddr::new(*ip, config.sfu.udp_port).to_string())
                .collect();
            let public: Vec<String> = config.sfu.public_addresses.iter().map(ToString::to_string).collect();
            let public = if public.is_empty() { "not set".to_owned() } else { public.join(", ") };
            let (http, udp) = (http.join(" and "), udp.join(" and "));
            new(
                Level::Ok,
                format!(
                    "This machine's is sound: HTTP on {http}, UDP on {udp}, sfu.public_addresses {public}."
                ),
            )
        }
        Err(error) => new(Level::Problem, error.clone())
            .next("Correct it: `serve` would not start. This checks it, with the same flags:")
            .command("bicast config"),
    }
}

/// Where a server with this configuration is reached from this machine; none where its port is any free one.
fn own_url(config: Option<&Config>) -> Option<String> {
    let default = Config::default();
    let first = *config.unwrap_or(&default).http.listen.first()?;
    let ip = match first.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (first.port() != 0).then(|| format!("http://{}", SocketAddr::new(ip, first.port())))
}

/// Asks the server, where there is one, and tells whether it is on this machine. `named`: somebody said that it is there.
async fn ask(
    report: &mut Report,
    endpoint: &Endpoint,
    token: Option<Token>,
    named: bool,
    config: &Result<Config, String>,
) -> bool {
    let server = match Server::find(endpoint, token).await {
        Ok(server) => server,
        Err(problem) => {
            report.add(problem);
            return true;
        }
    };
    let interfaces = host::interfaces();
    let here = server.addresses.iter().all(|ip| ip.is_loopback() || interfaces.contains(ip));
    let own = config.as_ref().ok().filter(|_| here);
    let udp = match server.presence().await {
        Presence::Bicast { findings, udp } => {
            report.findings.extend(findings);
            report.findings.extend(own.and_then(|config| another_port(config, &udp)));
            udp
        }
        Presence::Something(finding) => {
            report.add(finding);
            Vec::new()
        }
        Presence::Nothing { why, free } => {
            report.add(absent(&endpoint.origin(), &why, free && here && !named));
            // Whoever holds the port without speaking HTTP may be the server itself, behind its proxy.
            report.findings.extend(own.filter(|_| free).map(ports::check).unwrap_or_default());
            return here;
        }
    };
    let (findings, probes) = server.rehearse(udp.into_iter().filter(|_| here)).await;
    report.findings.extend(findings);
    if let Some(probes) = probes {
        let scene = Scene {
            here,
            container: host::container().filter(|_| here),
            interfaces,
            origin: endpoint.origin(),
            port: endpoint.host_and_port().map_or(8080, |(_, port)| port),
            asked: server.addresses.clone(),
            configured: own.map(|config| config.sfu.public_addresses.clone()).unwrap_or_default(),
        };
        report.findings.extend(judge(&probes, &scene));
        report.probes = probes;
    }
    here
}

/// Nobody answers. `expected`: nobody said that a server runs there, and nothing does.
fn absent(origin: &str, why: &str, expected: bool) -> Finding {
    if expected {
        let text = format!("Nothing runs at {origin}: what peers would be told is seen when it does.");
        let finding = Finding::new(Area::Server, "reachable", Level::Note, text);
        return finding.next("Start it and call this again:").command("bicast serve");
    }
    if why.contains("certificate") {
        let text = format!("{origin} has no certificate that clients take: {why}.");
        return Finding::new(Area::Server, "certificate", Level::Problem, text)
            .next("Get one for this name from an authority that browsers know (Caddy and certbot do it by themselves).");
    }
    let text = format!("Nothing answers at {origin}: {why}.");
    Finding::new(Area::Server, "reachable", Level::Problem, text)
        .next("Start the server there, or correct --url; a firewall may also be between.")
}

/// Says that the server runs with another configuration than the one that was read.
fn another_port(config: &Config, udp: &[SocketAddr]) -> Option<Finding> {
    let wanted = config.sfu.udp_port;
    let first = udp.first().filter(|_| wanted != 0 && udp.iter().all(|address| address.port() != wanted))?;
    let text = format!(
        "It uses UDP port {}, the configuration that was read says {wanted}: it runs with another one.",
        first.port()
    );
    Some(
        Finding::new(Area::Server, "another-configuration", Level::Note, text)
            .next("Give this command the flags, variables and folder that `serve` has."),
    )
}

async fn look_at_the_kernel(report: &mut Report, config: Option<&Config>) {
    let connections =
        config.map_or_else(|| Config::default().http.max_connections, |c| c.http.max_connections);
    let needs = Needs { udp_buffer: bicast_sfu::UDP_BUFFER_BYTES, connections };
    report.findings.extend(kernel::judge(&host::facts().await, needs));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> Config {
        let mut config = Config::default();
        config.http.listen = vec![address.parse().unwrap()];
        config
    }

    #[test]
    fn the_own_server_is_where_it_listens() {
        assert_eq!(own_url(None).unwrap(), "http://127.0.0.1:8080");
        assert_eq!(own_url(Some(&listening("[::]:9000"))).unwrap(), "http://[::1]:9000");
        assert_eq!(own_url(Some(&listening("192.0.2.1:80"))).unwrap(), "http://192.0.2.1:80");
        assert_eq!(own_url(Some(&listening("0.0.0.0:0"))), None);
    }

    #[test]
    fn another_configuration_is_noticed() {
        let udp = |port: u16| [SocketAddr::from(([0, 0, 0, 0], port))];
        let mut config = Config::default();
        assert_eq!(another_port(&config, &udp(8189)), None);
        assert!(another_port(&config, &udp(9000)).unwrap().text.contains("9000"));
        config.sfu.udp_port = 0;
        assert_eq!(another_port(&config, &udp(9000)), None);
    }

    #[test]
    fn who_is_absent_is_told_from_who_cannot_be_trusted() {
        assert_eq!(absent("http://h", "connection refused", true).level, Level::Note);
        assert_eq!(absent("http://h", "connection refused", false).check, "reachable");
        assert_eq!(absent("https://h", "invalid peer certificate: Expired", false).check, "certificate");
    }

    #[test]
    fn a_broken_configuration_is_the_first_finding() {
        let finding = configuration(&Err("bicast.toml, line 3: x".into()));
        assert_eq!((finding.level, finding.area), (Level::Problem, Area::Configuration));
        assert!(configuration(&Ok(Config::default())).text.contains("UDP on 0.0.0.0:8189 and [::]:8189"));
    }
}
