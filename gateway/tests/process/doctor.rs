//! `bicast doctor` as a process: against a running server, against nobody, and against somebody else.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};

use serde_json::Value;

use crate::support::{Finished, Running, bicast};

fn report(ended: &Finished) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}\n{}", ended.stdout, ended.stderr))
}

/// The level of the first finding of a check, and its text.
fn found<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no {check} in {report:#}"));
    (finding["level"].as_str().unwrap(), finding["text"].as_str().unwrap())
}

#[test]
fn a_running_server_answers_over_udp_and_is_left_as_it_was() {
    let running = Running::start("doctor", &[]);
    let url = format!("http://{}", running.http);
    let ended = bicast(&["doctor", "--json", "--url", &url]);
    let report = report(&ended);
    assert_eq!(ended.status, Some(0), "{report:#}");
    assert_eq!((&report["url"], &report["problems"]), (&Value::from(url.as_str()), &Value::from(0)));
    assert_eq!(found(&report, "ready").0, "ok");
    let (level, text) = found(&report, "session");
    assert!(level == "ok" && text.contains("ended it"), "{text}");
    let udp = &report["candidates"][0];
    assert_eq!(udp["address"], running.udp[0].to_string());
    assert_eq!((&udp["outcome"], &udp["reach"]), (&Value::from("answered"), &Value::from("loopback")));
    assert!(udp["seenAs"].as_str().unwrap().starts_with("127.0.0.1:"), "{udp}");
    assert!(udp["roundTripMs"].as_f64().unwrap() > 0.0);
    assert_eq!(found(&report, "reach").0, "warning", "loopback only");
    assert_eq!(running.get("/v1/feeds").1, r#"{"feeds":[]}"#);
    let metrics = running.get("/metrics").1;
    assert!(metrics.contains("bicast_publishers 0"), "{metrics}");

    let ended = bicast(&["doctor", "--url", &url]);
    assert_eq!(ended.status, Some(0), "{}", ended.stdout);
    let line = ended.stdout.lines().find(|line| line.contains(&format!("UDP {}", running.udp[0])));
    let line = line.unwrap_or_else(|| panic!("{}", ended.stdout));
    assert!(line.starts_with("  ok       UDP") && line.contains("answers in"), "{line}");
    assert!(!ended.stdout.contains('\u{1b}'), "no colours where there is no terminal");
}

#[test]
fn addresses_that_peers_are_told_are_asked_and_the_process_too() {
    // An address that nobody has (RFC 5737).
    let running = Running::start("doctor-public", &["--public-address", "198.51.100.77"]);
    let ended = bicast(&["doctor", "--json", "--url", &format!("http://{}", running.http)]);
    let report = report(&ended);
    let of = |transport: &str| -> Vec<&Value> {
        let all = report["candidates"].as_array().unwrap();
        all.iter().filter(|candidate| candidate["transport"] == transport).collect()
    };
    assert!(of("tcp")[0]["address"].as_str().unwrap().starts_with("198.51.100.77:"), "{report:#}");
    let candidates = of("udp");
    assert_eq!(candidates.len(), 2, "{report:#}");
    assert_eq!(candidates[0]["address"], format!("198.51.100.77:{}", running.udp[0].port()));
    assert_ne!(candidates[0]["outcome"], "answered");
    assert_eq!(candidates[1]["address"], running.udp[0].to_string());
    // Told because the server was called by its loopback: who is on the machine reaches it whatever the network does.
    assert_eq!((&candidates[1]["offered"], &candidates[1]["outcome"]), (&true.into(), &"answered".into()));
    assert_eq!(ended.status, Some(0), "the process answers; the rest shows from outside only");
}

#[test]
fn a_wrong_url_is_a_problem() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = bicast(&["doctor", "--url", &format!("http://{closed}")]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("problem  Nothing answers at http://127.0.0.1:"), "{}", ended.stdout);
    assert!(ended.stdout.contains("connection refused"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "", "the report says it all");
    let ended = bicast(&["doctor", "--json", "--url", "live.example"]);
    assert_eq!(ended.status, Some(1));
    assert_eq!(found(&report(&ended), "url").0, "problem");
}

#[test]
fn another_server_is_not_taken_for_bicast() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    let ended = bicast(&["doctor", "--json", "--url", &url]);
    let report = report(&ended);
    assert_eq!(ended.status, Some(1), "{report:#}");
    assert_eq!(found(&report, "ready").0, "warning");
    let (level, text) = found(&report, "session");
    assert!(level == "problem" && text.contains("There is no bicast at"), "{text}");
}

#[test]
fn without_a_server_the_ports_are_tried() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port().to_string();
    let args =
        ["doctor", "--json", "--http-listen", &http, "--udp-port", &port, "--set", "sfu.bind=127.0.0.1"];
    let ended = bicast(&args);
    let taken = report(&ended);
    assert_eq!(ended.status, Some(1), "{taken:#}");
    assert_eq!(found(&taken, "reachable").0, "note", "nobody said that one runs");
    assert_eq!(found(&taken, "http-port").0, "ok");
    let (level, text) = found(&taken, "udp-port");
    assert!(level == "problem" && text.contains("already in use"), "{text}");
    drop(udp);
    let ended = bicast(&args);
    assert_eq!(ended.status, Some(0), "{}", ended.stdout);
    assert_eq!(found(&report(&ended), "udp-port").0, "ok");
}

#[test]
fn a_wrong_configuration_is_the_first_finding() {
    let ended = bicast(&["doctor", "--json", "--set", "log.levl=debug", "--url", "http://127.0.0.1:1"]);
    assert_eq!(ended.status, Some(1));
    let report = report(&ended);
    let first = &report["findings"][0];
    assert_eq!((&first["check"], &first["level"]), (&"configuration".into(), &"problem".into()));
    assert!(first["text"].as_str().unwrap().contains("Did you mean `level`?"), "{first}");
}
