//! Which addresses peers are told.

use std::net::{IpAddr, SocketAddr};

/// Where what is bound to `bound` can be reached, best first. `public` are the configured addresses, which replace this
/// machine's own. `request_host` is the address that the peer used for HTTP, where it is one: it reaches this machine
/// for certain.
pub(crate) fn reachable(
    bound: &[SocketAddr],
    public: &[IpAddr],
    request_host: Option<IpAddr>,
) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut add = |address: SocketAddr| {
        if !found.contains(&address) {
            found.push(address);
        }
    };
    if !public.is_empty() {
        let port_for = |ip: IpAddr| {
            let same = bound.iter().find(|bound| bound.is_ipv4() == ip.is_ipv4());
            same.map(|bound| SocketAddr::new(ip, bound.port()))
        };
        public.iter().filter_map(|ip| port_for(*ip)).for_each(&mut add);
        // Who called this machine by its loopback is on it: an encoder beside the server, which the way by the public address may not
        // lead back to.
        request_host.filter(IpAddr::is_loopback).and_then(port_for).into_iter().for_each(&mut add);
        return found;
    }
    let over_loopback = request_host.is_some_and(|ip| ip.is_loopback());
    let mut interfaces: Vec<IpAddr> = Vec::new();
    if bound.iter().any(|bound| bound.ip().is_unspecified()) {
        interfaces.extend(request_host);
        interfaces.extend(if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip));
        // A browser on this machine: the interface that cannot be down.
        interfaces.sort_by_key(|ip| Some(*ip) != request_host && ip.is_loopback() != over_loopback);
    }
    for bound in bound {
        if bound.ip().is_unspecified() {
            let usable = |ip: &&IpAddr| {
                ip.is_ipv4() == bound.is_ipv4()
                    && !ip.is_unspecified()
                    && !is_link_local(**ip)
                    && (over_loopback || !ip.is_loopback())
            };
            interfaces.iter().filter(usable).for_each(|ip| add(SocketAddr::new(*ip, bound.port())));
        } else {
            add(*bound);
        }
    }
    found
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        // Without a scope id, which SDP cannot carry, nobody could send there.
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_configured_ones_or_what_is_bound() {
        let loopback: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let bound = ["127.0.0.1:8189".parse().unwrap(), "[::1]:8189".parse().unwrap()];
        assert_eq!(reachable(&bound, &[], loopback), bound);
        let told = reachable(&bound, &["203.0.113.9".parse().unwrap()], loopback);
        let here: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            here,
            ["203.0.113.9:8189", "127.0.0.1:8189"],
            "who is on this machine may not get out and in again"
        );
        let elsewhere =
            reachable(&bound, &["203.0.113.9".parse().unwrap()], Some("192.0.2.1".parse().unwrap()));
        assert_eq!(elsewhere, ["203.0.113.9:8189".parse::<SocketAddr>().unwrap()]);
        let any = ["0.0.0.0:8189".parse().unwrap()];
        assert_eq!(reachable(&any, &[], loopback)[0].ip().to_string(), "127.0.0.1");
        assert!(reachable(&any, &[], None).iter().all(|address| !address.ip().is_loopback()));
        assert!(reachable(&[], &["203.0.113.9".parse().unwrap()], None).is_empty(), "nothing listens");
    }
}
