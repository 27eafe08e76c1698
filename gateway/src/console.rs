//! What a person sees when the gateway has started.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::gateway::Access;

/// A few lines: where the page is, where to publish, which port WebRTC uses (addresses of HTTP, HTTPS, UDP and TCP), and who may.
pub(crate) fn banner([http, https, udp, tcp]: [&[SocketAddr]; 4], access: Access) -> String {
    let base = base_url(http);
    let mut text = format!("\n  bicast {}\n\n", env!("CARGO_PKG_VERSION"));
    for (what, value) in [
        ("Watch", format!("{base}/")),
        ("Publish", format!("{base}/whip/demo   (WHIP; or any other name)")),
        ("Try", format!("bicast publish --test-pattern --whip {base}/whip/demo")),
        ("API", format!("{base}/v1/openapi.json")),
        ("HTTP", list(http)),
        ("HTTPS", list(https)),
        ("WebRTC", format!("UDP {}", list(udp))),
        ("", if tcp.is_empty() { String::new() } else { format!("TCP {}", list(tcp)) }),
        ("Access", words(access).to_owned()),
    ] {
        if value.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {what:<9}{value}");
    }
    text
}

/// Who may use it.
const fn words(access: Access) -> &'static str {
    match access {
        Access::Tokens => "with tokens (bicast token mint)",
        Access::Local => "everybody on this machine, without keys; nobody else can reach it",
        Access::Open => "EVERYBODY who can reach it, without keys (auth.open)",
    }
}

/// The address at which a browser on this machine reaches the server.
pub(crate) fn base_url(http: &[SocketAddr]) -> String {
    let Some(first) = http.first() else { return "http://localhost".to_owned() };
    match first.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}", first.port()),
        IpAddr::V4(ip) => format!("http://{ip}:{}", first.port()),
        IpAddr::V6(ip) => format!("http://[{ip}]:{}", first.port()),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_banner_names_what_a_person_needs_first() {
        let http = ["0.0.0.0:8080".parse().unwrap(), "[::]:8080".parse().unwrap()];
        let udp = ["0.0.0.0:8189".parse().unwrap(), "[::]:8189".parse().unwrap()];
        let text =
            banner([&http, &[], &udp, &udp[..1]], Access::Open).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        // The bar keeps the indentation: expect! takes away what all lines have in common.
        let text: String = text.lines().map(|line| format!("|{line}\n")).collect();
        expect![[r#"
            |
            |  bicast VERSION
            |
            |  Watch    http://localhost:8080/
            |  Publish  http://localhost:8080/whip/demo   (WHIP; or any other name)
            |  Try      bicast publish --test-pattern --whip http://localhost:8080/whip/demo
            |  API      http://localhost:8080/v1/openapi.json
            |  HTTP     0.0.0.0:8080, [::]:8080
            |  WebRTC   UDP 0.0.0.0:8189, [::]:8189
            |           TCP 0.0.0.0:8189
            |  Access   EVERYBODY who can reach it, without keys (auth.open)
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_single_address_is_named_as_it_is() {
        assert_eq!(base_url(&["127.0.0.1:9000".parse().unwrap()]), "http://127.0.0.1:9000");
        assert_eq!(base_url(&["[::1]:9000".parse().unwrap()]), "http://[::1]:9000");
    }
}
