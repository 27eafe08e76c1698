//! `bicast serve` as a process: what it prints, how it starts, how it ends.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use expect_test::expect;
use serde_json::Value;

use crate::support::{Running, bicast};

#[test]
fn it_starts_on_free_ports_and_says_which() {
    let running = Running::start("ports", &[]);
    assert_ne!(running.http.port(), 0);
    assert!(running.udp.iter().all(|address| address.port() != 0) && !running.udp.is_empty());
    let (status, ready) = running.get("/readyz");
    assert_eq!(status, 200);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["http"][0], running.http.to_string());
    assert_eq!(running.get("/healthz").0, 200);
    assert_eq!(running.get("/v1/feeds"), (200, r#"{"feeds":[]}"#.into()));
    assert!(running.get("/metrics").1.contains("process_resident_memory_bytes"));
}

#[test]
fn every_described_route_is_there() {
    let running = Running::start("routes", &[]);
    let document: Value = serde_json::from_str(&running.get("/v1/openapi.json").1).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    let refuses = |path: &str| paths[path]["get"]["responses"]["401"].is_object();
    assert!(refuses("/v1/feeds/{id}/viewers") && refuses("/hls/{feed}/{rendition}/media.m3u8"));
    // Whoever knows a viewer's address may use it.
    assert!(!refuses("/v1/feeds/{id}/viewers/{viewer}") && !refuses("/v1/time"));
    for (path, item) in paths {
        let at = path
            .replace("{feed}", "nosuch")
            .replace("{id}", "nosuch")
            .replace("{session}", "s")
            .replace("{rendition}", "video0")
            .replace("{instance}", "life")
            .replace("{jti}", "t")
            .replace("{sub}", "v");
        for method in item.as_object().unwrap().keys() {
            let (status, body) = running.ask(&method.to_uppercase(), &at);
            assert_ne!(status, 405, "{method} {path}");
            assert!(!body.contains("/problems/not-found"), "{method} {path}: {body}");
        }
    }
}

#[test]
fn both_families_are_listened_on() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // this machine has no IPv6
    }
    let running = Running::start("families", &["--http-listen", "[::1]:0"]);
    assert_eq!(running.get("/healthz").0, 200);
    assert_eq!(running.get_at(running.all_http[1], "/healthz").0, 200);
}

#[test]
fn http2_without_tls_is_spoken_too() {
    let running = Running::start("h2c", &[]);
    // The preface and empty SETTINGS; the server answers with its own SETTINGS frame (type 4 on stream 0).
    let answer = running.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 9);
    assert_eq!((answer[3], &answer[5..9]), (4, &[0_u8, 0, 0, 0][..]));
}

#[test]
fn an_http_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = bicast(&["serve", "--udp-port", "0", "--http-listen", &address.to_string()]);
    assert_eq!(ended.status, Some(1));
    let port = address.port().to_string();
    let next = (address.port() + 1).to_string();
    expect![[r#"
        error: HTTP port PORT on 127.0.0.1 is already in use by another program.
          Stop that program, or choose another:
            bicast serve --http-listen 127.0.0.1:NEXT
            or BICAST_HTTP__LISTEN, or `listen` under [http] in bicast.toml
    "#]]
    .assert_eq(&ended.stderr.replace(&next, "NEXT").replace(&port, "PORT"));
}

#[test]
fn a_udp_port_in_use_is_named_with_its_setting() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = bicast(&[
        "serve",
        "--http-listen",
        "127.0.0.1:0",
        "--udp-port",
        &port.to_string(),
        "--set",
        "sfu.bind=127.0.0.1",
    ]);
    assert_eq!(ended.status, Some(1));
    let next = (port + 1).to_string();
    expect![[r#"
        error: UDP port PORT on 127.0.0.1 (WebRTC) is already in use by another program.
          Stop that program, or choose another:
            bicast serve --udp-port NEXT
            or BICAST_SFU__UDP_PORT, or `udp_port` under [sfu] in bicast.toml
    "#]]
    .assert_eq(&ended.stderr.replace(&next, "NEXT").replace(&port.to_string(), "PORT"));
}

#[test]
fn without_keys_it_starts_for_its_own_machine_only() {
    let ended = bicast(&["serve", "--http-port", "0", "--udp-port", "0"]);
    assert_eq!(ended.status, Some(1));
    for next in ["auth.open=true", "BICAST_AUTH__SECRET_FILE", "--http-listen 127.0.0.1", "docs/tokens.md"] {
        assert!(ended.stderr.contains(next), "{next}: {}", ended.stderr);
    }
    let tls = ["serve", "--http-listen", "127.0.0.1:0", "--https-port", "0", "--udp-port", "0"];
    assert_eq!(bicast(&tls).status, Some(1), "HTTPS as well");

    let local = Running::start("local", &[]);
    assert_eq!(local.get("/v1/feeds").0, 200);
    local.signal("TERM");
    let said = local.wait().stderr;
    assert!(said.contains("Access   everybody on this machine, without keys"), "{said}");

    let open = Running::start("open", &["--http-listen", "0.0.0.0:0", "--set", "auth.open=true"]);
    assert_eq!(open.get("/v1/feeds").0, 200);
    open.signal("TERM");
    let said = open.wait().stderr;
    assert!(said.contains("WARN") && said.contains("Access   EVERYBODY who can reach it"), "{said}");

    let secret = "auth.secret=0123456789abcdef0123456789abcdef";
    let keyed = Running::start("keyed", &["--http-listen", "0.0.0.0:0", "--set", secret]);
    assert_eq!(keyed.get("/v1/feeds").0, 401);
    assert_eq!(keyed.get("/readyz").0, 200);
    keyed.signal("TERM");
    assert!(keyed.wait().stderr.contains("Access   with tokens"));
}

#[test]
fn keys_that_cannot_be_loaded_are_named_with_their_setting() {
    for setting in ["secret_file", "jwks_file"] {
        let named = format!("auth.{setting}=/nowhere/keys");
        let ended = bicast(&["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--set", &named]);
        assert_eq!(ended.status, Some(1));
        assert!(
            ended.stderr.contains(&format!("/nowhere/keys (setting auth.{setting})")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn a_secret_is_not_printed() {
    let secret = "auth.secret=0123456789abcdef0123456789abcdef";
    let ended = bicast(&["config", "--set", secret]);
    assert!(ended.status == Some(0) && !ended.stdout.contains("0123456789abcdef"), "{}", ended.stdout);
}

#[test]
fn a_wrong_configuration_opens_nothing() {
    let ended = bicast(&["serve", "--set", "log.levl=debug"]);
    assert_eq!(ended.status, Some(1));
    assert_eq!(ended.stdout, "");
    expect![[r#"
        error: --set log.levl=debug: unknown key `levl`
          Did you mean `level`? Known here: level, format.
    "#]]
    .assert_eq(&ended.stderr);
}

#[test]
fn config_prints_what_serve_would_run_with() {
    let ended = bicast(&["config", "--http-port", "9000", "--set", "feed.segment_target=4"]);
    assert_eq!(ended.status, Some(0));
    let config: bicast::Config = toml::from_str(&ended.stdout).unwrap();
    assert_eq!(config.http.listen[1].to_string(), "[::]:9000");
    assert_eq!(config.feed.segment_target, Duration::from_secs(4));
    assert_eq!(bicast(&["config", "--default"]).stdout, bicast::config::EXAMPLE);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_order_and_soon() {
    for signal in ["TERM", "INT"] {
        let running = Running::start("signal", &[]);
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.status, Some(0), "{signal}\n{}", ended.stderr);
        assert!(!ended.stderr.contains("letting HLS players see"), "nobody watches: nothing to wait for");
        let steps = [
            "ending; a second signal ends at once",
            "no new sessions are taken",
            "publishers were told to leave",
            "playlists have ended",
            "WebRTC peers are closed",
            "stopped",
        ];
        let mut rest = ended.stderr.as_str();
        for step in steps {
            let at =
                rest.find(step).unwrap_or_else(|| panic!("{step:?} is missing or late:\n{}", ended.stderr));
            rest = &rest[at..];
        }
    }
}

#[cfg(unix)]
#[test]
fn an_open_connection_does_not_hold_the_end_up() {
    // As long as the server would wait for a client by itself: longer than this test.
    let patient = ["--set", "http.header_timeout=600", "--set", "http.request_timeout=600"];
    let running = Running::start("held", &patient);
    let _idle = running.connect();
    let mut half = running.connect();
    std::io::Write::write_all(
        &mut half,
        b"POST /whip/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nv=0",
    )
    .unwrap();
    running.signal("TERM");
    assert_eq!(running.wait().status, Some(0));
}

#[test]
fn logs_for_machines_are_json_lines_only() {
    let running = Running::start("json", &["--log-format", "json"]);
    running.signal("TERM");
    let ended = running.wait();
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    assert!(lines.iter().any(|line| line["message"] == "ready" && line["page"].is_string()));
}
