//! What the candidates of a server, and their answers, mean for viewers.

use std::net::{IpAddr, SocketAddr};

use super::address::{Reach, is_container_style};
use super::outcome::{Outcome, Probed};
use super::report::{Area, Finding, Level};
use super::sdp::Transport;

/// From where the server was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene {
    /// Whether the server is on this machine.
    pub(crate) here: bool,
    /// What shows that this process is in a container, if it is.
    pub(crate) container: Option<String>,
    /// This machine's addresses.
    pub(crate) interfaces: Vec<IpAddr>,
    /// Scheme, host and port that were asked over HTTP.
    pub(crate) origin: String,
    /// The HTTP port.
    pub(crate) port: u16,
    /// The addresses that the URL's host stands for.
    pub(crate) asked: Vec<IpAddr>,
    /// `sfu.public_addresses`, where the server's configuration is known: on this machine.
    pub(crate) configured: Vec<IpAddr>,
}

/// Judges what peers are told, and what became of asking there.
pub(crate) fn judge(probes: &[Probed], scene: &Scene) -> Vec<Finding> {
    let offered: Vec<&Probed> = probes.iter().filter(|probe| probe.offered).collect();
    if offered.is_empty() {
        let text = "The answer names no address to send to: neither publishers nor viewers can connect.";
        return vec![finding("reach", Level::Problem, text).next("Set sfu.bind or sfu.public_addresses.")];
    }
    // Loopback is told to who asks over loopback, and to nobody else: the other addresses are what viewers get.
    let told: Vec<&Probed> = offered.iter().copied().filter(|probe| probe.reach != Reach::Loopback).collect();
    let mut findings = vec![reach(&told, scene)];
    let answered = |transport| probes.iter().any(|probe| probe.transport == transport && probe.answered());
    findings.extend(probes.iter().map(|probe| answer(probe, probes, scene)));
    if !answered(Transport::Udp) {
        findings.push(nobody_answers(&offered, answered(Transport::Tcp), scene));
    }
    if !told.is_empty() {
        findings.push(ipv6(&told));
        findings.extend(no_tcp(&offered));
        findings.extend(container(&told, scene));
        findings.extend(outside(&told, scene));
    }
    findings
}

fn finding(check: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding::new(Area::Addresses, check, level, text)
}

/// From where the addresses can be reached, going by what they are.
fn reach(told: &[&Probed], scene: &Scene) -> Finding {
    let list = addresses(told.iter().map(|probe| probe.address.ip()));
    let public = addresses(told.iter().filter(|p| p.reach == Reach::Public).map(|p| p.address.ip()));
    if told.is_empty() {
        let text = "Peers are told only loopback addresses: nobody but this machine can connect.";
        return finding("reach", Level::Warning, text)
            .next("For viewers elsewhere take sfu.bind away, or set sfu.public_addresses.");
    }
    if !public.is_empty() {
        return finding("reach", Level::Ok, format!("Peers are told public addresses: {public}."));
    }
    if told.iter().all(|probe| probe.reach == Reach::LinkLocal) {
        let text = format!(
            "Peers are told only link-local addresses ({list}), which reach no further than one cable."
        );
        return finding("reach", Level::Warning, text).next(PUBLIC).command(public_address(scene));
    }
    if only_a_containers(told, scene) {
        let text = format!(
            "Peers are told only addresses of a container's network ({list}): nobody outside its host can \
                     connect."
        );
        return publish(finding("container", Level::Problem, text), told, scene);
    }
    if !scene.configured.is_empty() {
        let text = format!(
            "Peers are told the configured sfu.public_addresses, which are private ({list}): viewers outside \
                     this network cannot connect."
        );
        return finding("reach", Level::Note, text);
    }
    let text = format!(
        "Peers are told only private addresses ({list}): viewers outside this network cannot connect."
    );
    let private = finding("reach", Level::Warning, text);
    match &scene.container {
        Some(mark) => {
            let mut private = publish(private, told, scene);
            private.text.push_str(&format!(" The server is in a container ({mark})."));
            private
        }
        None => private.next(PUBLIC).command(public_address(scene)),
    }
}

const PUBLIC: &str =
    "If viewers are elsewhere, set sfu.public_addresses to the address at which they reach this server:";

/// The command that tells peers another address: the one that the URL leads to, where that is one for the internet.
fn public_address(scene: &Scene) -> String {
    let known = scene.asked.iter().find(|ip| Reach::of(**ip) == Reach::Public);
    let address = known.map_or_else(|| "PUBLIC-IP".to_owned(), IpAddr::to_string);
    format!("bicast serve --public-address {address}")
}

/// Whether all addresses are of a container's network: where this process is in the container, beside it on the host, or
/// elsewhere and gets no answer. A network of people may have such addresses too; there they are this machine's, or
/// those that the URL leads to.
fn only_a_containers(told: &[&Probed], scene: &Scene) -> bool {
    let v4 = || told.iter().filter(|probe| probe.address.is_ipv4());
    let known = |ip: &IpAddr| scene.interfaces.contains(ip) || scene.asked.contains(ip);
    v4().next().is_some()
        && v4().all(|probe| is_container_style(probe.address.ip()))
        && (scene.container.is_some() || !v4().any(|probe| known(&probe.address.ip())))
        && (scene.here || !v4().any(|probe| probe.answered()))
}

fn publish(finding: Finding, told: &[&Probed], scene: &Scene) -> Finding {
    let (port, http) = (port(told), scene.port);
    finding
        .next(format!(
            "Publish UDP {port} with -p {port}:{port}/udp and set sfu.public_addresses to the host's address:"
        ))
        .command(format!(
            "docker run -p {http}:{http} -p {port}:{port}/udp -e BICAST_SFU__PUBLIC_ADDRESSES=HOST-IP IMAGE"
        ))
}

fn port(probes: &[&Probed]) -> u16 {
    probes.first().map_or(8189, |probe| probe.address.port())
}

/// One address and what became of asking there.
fn answer(probe: &Probed, all: &[Probed], scene: &Scene) -> Finding {
    let check = match probe.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let at = format!("{} {}", probe.transport.name(), probe.address);
    let kind = if probe.offered { probe.reach.words() } else { "not told to peers" };
    let say = |level, what: &str| finding(check, level, format!("{at} ({kind}) {what}"));
    match &probe.outcome {
        Outcome::Answered { round_trip_ms, seen_as } => {
            say(Level::Ok, &format!("answers in {round_trip_ms:.1} ms and sees us as {seen_as}."))
        }
        Outcome::Unreachable { why } => {
            say(Level::Note, &format!("was not tried: this machine has no way there ({why})."))
        }
        Outcome::Wrong { why } => say(
            Level::Warning,
            &format!("answers with {why}: something else listens there, or changes what passes."),
        ),
        Outcome::Refused => unanswered(probe, all, scene, &|level, more| {
            say(level, &format!("refuses: nothing listens there.{more}"))
        }),
        Outcome::Silent => unanswered(probe, all, scene, &|level, more| {
            say(level, &format!("did not answer within 2 s.{more}"))
        }),
    }
}

/// Why nothing may have come back, going by where the address lies.
fn unanswered(
    probe: &Probed,
    all: &[Probed],
    scene: &Scene,
    say: &dyn Fn(Level, &str) -> Finding,
) -> Finding {
    let (ip, port) = (probe.address.ip(), probe.address.port());
    let protocol = probe.transport.name().to_ascii_lowercase();
    let let_in = format!("sudo ufw allow {port}/{protocol}");
    if scene.here && (probe.reach == Reach::Loopback || scene.interfaces.contains(&ip)) {
        let is_beside =
            |p: &Probed| is_container_style(p.address.ip()) && !scene.interfaces.contains(&p.address.ip());
        if scene.container.is_none() && all.iter().any(|p| p.answered() && is_beside(p)) {
            return say(Level::Warning, " The server is in a container whose port is not published.")
                .next(format!("Publish it with -p {port}:{port}/{protocol}."));
        }
        return say(Level::Warning, " It is this machine's own: a firewall on it keeps the packets away.")
            .next("Let them in, for instance:")
            .command(let_in);
    }
    if scene.here {
        let more = " It is no address of this machine, and many routers lead nothing back in that comes from inside: \
                    only asking from outside tells.";
        return say(Level::Warning, more).next("On another network:").command(from_outside(&[probe], scene));
    }
    if probe.reach == Reach::Public || scene.asked.contains(&ip) {
        let more = format!(
            " A firewall between does not let {} {port} through, or a router does not forward it.",
            probe.transport.name()
        );
        return say(Level::Warning, &more)
            .next(
                "Open it in the server's firewall and in its provider's, forward it in the router, and publish it \
                 where the server is in a container:",
            )
            .command(let_in)
            .command(format!("docker run -p {port}:{port}/{protocol} ..."));
    }
    let level = if all.iter().any(Probed::answered) { Level::Note } else { Level::Warning };
    say(level, " It is an address of the server's own network.")
}

/// Says that there is no way in over UDP.
fn nobody_answers(offered: &[&Probed], tcp_answers: bool, scene: &Scene) -> Finding {
    if tcp_answers {
        let text =
            "Nothing answers over UDP, only over TCP: it works, with more delay where packets are lost.";
        return finding("answers", Level::Warning, text).next("Open the UDP port.");
    }
    if scene.here {
        let text = "No address answers, although the server is on this machine: WebRTC cannot work.";
        return finding("answers", Level::Problem, text)
            .next("See its log, and the firewall of this machine:")
            .command("sudo nft list ruleset");
    }
    let text = "No address answers: from here WebRTC does not work, neither for viewers nor for publishers.";
    let found = finding("answers", Level::Problem, text);
    if offered.iter().any(|probe| probe.reach == Reach::Public || scene.asked.contains(&probe.address.ip())) {
        return found.next(format!("Let UDP {} through to the server.", port(offered)));
    }
    found.next("Tell peers the address at which the server is reached:").command(public_address(scene))
}

fn ipv6(told: &[&Probed]) -> Finding {
    let is_public = |probe: &Probed| probe.reach == Reach::Public;
    // Beside a public address of IPv4, one of IPv6 for this network only helps nobody elsewhere.
    let wanted = |probe: &Probed| is_public(probe) || !told.iter().any(|probe| is_public(probe));
    let six = told.iter().filter(|probe| probe.address.is_ipv6() && wanted(probe));
    let six = addresses(six.map(|probe| probe.address.ip()));
    if !six.is_empty() {
        return finding("ipv6", Level::Ok, format!("IPv6 is among them: {six}."));
    }
    let text = "No IPv6 address for viewers elsewhere is among them: IPv6-only networks depend on their carrier's NAT64.";
    finding("ipv6", Level::Note, text).next(
        "Give the machine an IPv6 address (in Docker: a network with --ipv6), or add it to sfu.public_addresses.",
    )
}

fn no_tcp(offered: &[&Probed]) -> Option<Finding> {
    let none = offered.iter().all(|probe| probe.transport != Transport::Tcp);
    let text = "None of them is for TCP: where a network blocks UDP, viewers get HLS only.";
    none.then(|| finding("tcp", Level::Note, text))
}

/// A container with public addresses: what remains to be done is outside of it.
fn container(told: &[&Probed], scene: &Scene) -> Option<Finding> {
    let mark = scene.container.as_ref().filter(|_| scene.here)?;
    told.iter().any(|probe| probe.reach == Reach::Public).then(|| {
        let text = format!("This is a container ({mark}): packets reach it only through published ports.");
        let port = port(told);
        finding("container", Level::Note, text).next(format!(
            "Run it with -p {port}:{port}/udp (the same number on both sides: peers are told this one), or with \
             --network host."
        ))
    })
}

fn outside(told: &[&Probed], scene: &Scene) -> Option<Finding> {
    let text = "All this was asked on the server's machine: a firewall or a NAT in front of it shows only from outside.";
    scene.here.then(|| {
        finding("outside", Level::Note, text).next("On another network:").command(from_outside(told, scene))
    })
}

/// The command that asks the same from another machine.
fn from_outside(told: &[&Probed], scene: &Scene) -> String {
    let best = told.iter().find(|probe| probe.reach == Reach::Public).or(told.first());
    let named = !scene.asked.iter().all(IpAddr::is_loopback);
    let url = match best {
        Some(probe) if !named => format!("http://{}", SocketAddr::new(probe.address.ip(), scene.port)),
        _ => scene.origin.clone(),
    };
    format!("bicast doctor --url {url}")
}

fn addresses(ips: impl Iterator<Item = IpAddr>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for ip in ips.map(|ip| ip.to_string()) {
        if !seen.contains(&ip) {
            seen.push(ip);
        }
    }
    seen.join(", ")
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
