//! From where an address can be reached, as far as the address itself tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

/// The part of the world that an address means something in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// The internet.
    Public,
    /// A network of its own: RFC 1918.
    Private,
    /// Behind a carrier's NAT: RFC 6598.
    CarrierNat,
    /// A network of its own: RFC 4193, IPv6.
    UniqueLocal,
    /// One cable.
    LinkLocal,
    /// One machine.
    Loopback,
    /// Nobody: documentation (RFC 5737, RFC 3849), benchmarks (RFC 2544), multicast and what is not given out.
    Reserved,
}

impl Reach {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, ..] = ip.octets();
        match (a, b) {
            _ if ip.is_loopback() => Self::Loopback,
            _ if ip.is_link_local() => Self::LinkLocal,
            _ if ip.is_private() => Self::Private,
            (100, 64..=127) => Self::CarrierNat,
            (0 | 224..=255, _) | (198, 18 | 19) => Self::Reserved,
            _ if ip.is_documentation() => Self::Reserved,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let [a, b, ..] = ip.segments();
        match a {
            _ if ip.is_loopback() => Self::Loopback,
            _ if ip.is_unicast_link_local() => Self::LinkLocal,
            _ if ip.is_unique_local() => Self::UniqueLocal,
            0x2001 if b == 0x0db8 => Self::Reserved,
            // What IANA has given out of IPv6 for the internet: 2000::/3 (RFC 4291).
            0x2000..=0x3fff => Self::Public,
            _ => Self::Reserved,
        }
    }

    /// In a word or two.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private, RFC 1918",
            Self::CarrierNat => "behind a carrier's NAT, RFC 6598",
            Self::UniqueLocal => "private, RFC 4193",
            Self::LinkLocal => "link-local",
            Self::Loopback => "loopback",
            Self::Reserved => "reserved: routed nowhere",
        }
    }
}

/// Whether an address is of a network that Docker (172.17.0.0/16 to 172.31.0.0/16) or Podman (10.88.0.0/16) makes
/// unless told otherwise.
pub(crate) const fn is_container_style(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [172, 17..=31, ..] | [10, 88, ..]),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (ip, want) in [
            ("9.9.9.9", Reach::Public),
            ("172.15.0.1", Reach::Public),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.2", Reach::Private),
            ("10.0.0.1", Reach::Private),
            ("100.63.0.1", Reach::Public),
            ("100.64.0.1", Reach::CarrierNat),
            ("100.127.0.1", Reach::CarrierNat),
            ("169.254.3.4", Reach::LinkLocal),
            ("127.0.0.1", Reach::Loopback),
            ("203.0.113.7", Reach::Reserved),
            ("198.19.0.1", Reach::Reserved),
            ("239.1.2.3", Reach::Reserved),
            ("0.0.0.0", Reach::Reserved),
            ("::ffff:10.0.0.1", Reach::Private),
            ("::1", Reach::Loopback),
            ("fe80::1", Reach::LinkLocal),
            ("fd00::2", Reach::UniqueLocal),
            ("2001:db8::1", Reach::Reserved),
            ("2620:fe::fe", Reach::Public),
            ("ff02::1", Reach::Reserved),
        ] {
            assert_eq!(Reach::of(ip.parse().unwrap()), want, "{ip}");
        }
    }

    #[test]
    fn what_docker_and_podman_give_is_known() {
        let is = |ip: &str| is_container_style(ip.parse().unwrap());
        assert!(is("172.17.0.2") && is("172.31.0.2") && is("10.88.0.5"));
        assert!(!is("172.16.0.2") && !is("10.0.0.5") && !is("192.168.0.2") && !is("fd00::2"));
    }
}
