//! The default route, from the output of `ip route show default` (iproute2).

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    /// What identifies it, to be given back to `ip route change`.
    words: Vec<String>,
    /// Segments that a new connection may have under way at once, where the route says it.
    pub(crate) initcwnd: Option<u32>,
    has_next_hops: bool,
}

/// What `ip route show` prints and `ip route change` either does not take or must not repeat; each with a value.
const LEFT_OUT: [&str; 5] = ["initcwnd", "expires", "pref", "error", "nhid"];
/// States of the device, without a value.
const STATES: [&str; 3] = ["linkdown", "dead", "offload"];

impl DefaultRoute {
    /// The one that is used: the first, because the kernel lists them by their metric.
    pub(crate) fn first(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("default"));
        let line = lines.next()?;
        // A route over several gateways has them on lines of their own.
        let has_next_hops = lines.next().is_some_and(|line| line.trim_start().starts_with("nexthop"));
        let (mut words, mut initcwnd) = (Vec::new(), None);
        let mut rest = line.split_ascii_whitespace();
        while let Some(word) = rest.next() {
            if LEFT_OUT.contains(&word) {
                let value = rest.next();
                if word == "initcwnd" {
                    initcwnd = value.and_then(|value| value.parse().ok());
                }
            } else if !STATES.contains(&word) {
                words.push(word.to_owned());
            }
        }
        Some(Self { words, initcwnd, has_next_hops })
    }

    /// The command that lets new connections begin with `segments`. `ip` is `ip` or `ip -6`. None for a route over
    /// several gateways, which has to be written anew.
    pub(crate) fn with_initcwnd(&self, ip: &str, segments: u32) -> Option<String> {
        let route = self.words.join(" ");
        (!self.has_next_hops).then(|| format!("sudo {ip} route change {route} initcwnd {segments}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_given_back_with_its_window() {
        let text = "default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.2 metric 100 \n\
                    default via 198.51.100.1 dev wlan0 metric 600 initcwnd 40\n";
        let route = DefaultRoute::first(text).unwrap();
        assert_eq!(route.initcwnd, None);
        assert_eq!(
            route.with_initcwnd("ip", 30).unwrap(),
            "sudo ip route change default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.2 metric 100 initcwnd 30"
        );
    }

    #[test]
    fn what_is_set_is_read_and_replaced() {
        let text = "default via fe80::1 dev eth0 proto ra metric 1024 expires 1790sec initcwnd 20 pref medium linkdown";
        let route = DefaultRoute::first(text).unwrap();
        assert_eq!(route.initcwnd, Some(20));
        assert_eq!(
            route.with_initcwnd("ip -6", 30).unwrap(),
            "sudo ip -6 route change default via fe80::1 dev eth0 proto ra metric 1024 initcwnd 30"
        );
    }

    #[test]
    fn several_gateways_have_no_simple_command() {
        let text = "default proto static metric 5 \n\tnexthop via 192.0.2.1 dev eth0 weight 1\n";
        assert_eq!(DefaultRoute::first(text).unwrap().with_initcwnd("ip", 30), None);
    }

    #[test]
    fn there_may_be_no_route() {
        assert_eq!(DefaultRoute::first(""), None);
        assert_eq!(DefaultRoute::first("192.0.2.0/24 dev eth0 scope link\n"), None);
    }
}
