//! Which addresses peers are told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// An interface that comes up is told to peers after this time at the latest. To ask the kernel for each of many joins at once
/// costs a fifteenth of them.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses of this machine's interfaces.
#[derive(Default)]
pub(crate) struct Interfaces(Mutex<Option<(Instant, Arc<[IpAddr]>)>>);

impl Interfaces {
    /// As they were a second ago at most.
    pub(crate) fn at(&self, now: Instant) -> Arc<[IpAddr]> {
        let mut known = self.0.lock();
        if let Some((when, addresses)) = &*known
            && now.saturating_duration_since(*when) < FRESH
        {
            return addresses.clone();
        }
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses: Arc<[IpAddr]> = interfaces.iter().map(if_addrs::Interface::ip).collect();
        *known = Some((now, addresses.clone()));
        addresses
    }
}

/// Where what is bound to `bound` can be reached, best first. `public` are the configured addresses, which replace this
/// machine's `own`. `request_host` is the address that the peer used for HTTP, where it is one: it reaches this machine
/// for certain.
pub(crate) fn reachable(
    bound: &[SocketAddr],
    public: &[IpAddr],
    own: &[IpAddr],
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
        interfaces.extend(own);
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

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_the_configured_ones_or_what_is_bound() {
        let loopback: Option<IpAddr> = Some("127.0.0.1".parse().unwrap());
        let (public, own) =
            (addresses(&["203.0.113.9"]), addresses(&["192.0.2.7", "::1", "127.0.0.1", "fe80::1"]));
        let bound = ["127.0.0.1:8189".parse().unwrap(), "[::1]:8189".parse().unwrap()];
        assert_eq!(reachable(&bound, &[], &own, loopback), bound);
        let told = reachable(&bound, &public, &own, loopback);
        let here: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(
            here,
            ["203.0.113.9:8189", "127.0.0.1:8189"],
            "who is on this machine may not get out and in again"
        );
        let elsewhere = reachable(&bound, &public, &own, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(elsewhere, ["203.0.113.9:8189".parse::<SocketAddr>().unwrap()]);
        let any = ["0.0.0.0:8189".parse().unwrap(), "[::]:8189".parse().unwrap()];
        let text = |host| -> Vec<String> {
            reachable(&any, &[], &own, host).iter().map(ToString::to_string).collect()
        };
        assert_eq!(text(loopback), ["127.0.0.1:8189", "192.0.2.7:8189", "[::1]:8189"]);
        assert_eq!(
            text(None),
            ["192.0.2.7:8189"],
            "nobody elsewhere reaches a loopback or a link-local address"
        );
        assert!(reachable(&[], &public, &own, None).is_empty(), "nothing listens");
    }

    #[test]
    fn interfaces_are_asked_for_once_a_second() {
        let (interfaces, now) = (Interfaces::default(), bicast_shared::clock::now());
        let first = interfaces.at(now);
        assert!(Arc::ptr_eq(&first, &interfaces.at(now + FRESH - Duration::from_millis(1))));
        assert!(!Arc::ptr_eq(&first, &interfaces.at(now + FRESH)));
    }
}
