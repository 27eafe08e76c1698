use super::super::sdp::Candidate;
use super::*;

fn probe(transport: Transport, address: &str, outcome: Outcome) -> Probed {
    Probed::new(Candidate { transport, address: address.parse().unwrap() }, true, outcome)
}

fn answers(address: &str) -> Probed {
    let seen_as = "198.51.100.4:51234".parse().unwrap();
    probe(Transport::Udp, address, Outcome::Answered { round_trip_ms: 12.34, seen_as })
}

fn silent(address: &str) -> Probed {
    probe(Transport::Udp, address, Outcome::Silent)
}

/// The server on this machine, asked over loopback.
fn here(interfaces: &[&str]) -> Scene {
    Scene {
        here: true,
        interfaces: interfaces.iter().map(|ip| ip.parse().unwrap()).collect(),
        origin: "http://127.0.0.1:8080".into(),
        port: 8080,
        asked: vec!["127.0.0.1".parse().unwrap()],
        ..Scene::default()
    }
}

/// A server that is asked from elsewhere.
fn elsewhere(asked: &str) -> Scene {
    Scene {
        origin: format!("http://{asked}:8080"),
        port: 8080,
        asked: vec![asked.parse().unwrap()],
        ..Scene::default()
    }
}

fn contained(mut scene: Scene) -> Scene {
    scene.container = Some("/.dockerenv".into());
    scene
}

/// The worst level, and all texts with their next steps.
fn told(probes: &[Probed], scene: &Scene) -> (Level, String) {
    let findings = judge(probes, scene);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap();
    let text = findings.iter().map(|finding| {
        let next =
            finding.next.as_ref().map(|next| format!(" -> {} {}", next.text, next.commands.join("; ")));
        format!("{:?} {}: {}{}\n", finding.level, finding.check, finding.text, next.unwrap_or_default())
    });
    (worst, text.collect())
}

#[track_caller]
fn says(text: &str, what: &str) {
    assert!(text.contains(what), "{what:?} is missing:\n{text}");
}

#[test]
fn public_addresses_that_answer_are_well() {
    let (worst, text) =
        told(&[answers("9.9.9.9:8189"), answers("[2620:fe::fe]:8189")], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Note, "{text}");
    says(&text, "Ok reach: Peers are told public addresses: 9.9.9.9, 2620:fe::fe.");
    says(&text, "Ok udp: UDP 9.9.9.9:8189 (public) answers in 12.3 ms and sees us as 198.51.100.4:51234.");
    says(&text, "Ok ipv6: IPv6 is among them: 2620:fe::fe.");
    says(&text, "Note tcp: None of them is for TCP");
    assert!(!text.contains("outside:"), "it was asked from outside");
    let (_, text) = told(&[answers("9.9.9.9:8189"), answers("[fd00::2]:8189")], &elsewhere("9.9.9.9"));
    says(&text, "Note ipv6: No IPv6 address for viewers elsewhere");
    let (_, text) = told(&[answers("10.0.0.1:8189"), answers("[fd00::2]:8189")], &elsewhere("10.0.0.1"));
    says(&text, "Ok ipv6: IPv6 is among them: fd00::2.");
}

#[test]
fn private_addresses_need_a_public_one() {
    let scene = here(&["192.168.1.5"]);
    let (worst, text) = told(&[answers("127.0.0.1:8189"), answers("192.168.1.5:8189")], &scene);
    assert_eq!(worst, Level::Warning);
    says(&text, "Warning reach: Peers are told only private addresses (192.168.1.5)");
    says(&text, "set sfu.public_addresses");
    says(&text, "bicast serve --public-address PUBLIC-IP");
    says(&text, "bicast doctor --url http://192.168.1.5:8080");
    let (_, text) = told(&[silent("192.168.1.5:8189")], &elsewhere("9.9.9.9"));
    says(&text, "bicast serve --public-address 9.9.9.9");
    let configured = Scene { configured: vec!["192.168.1.5".parse().unwrap()], ..scene };
    let (worst, text) = told(&[answers("192.168.1.5:8189")], &configured);
    assert_eq!(worst, Level::Note, "it was meant so: {text}");
}

#[test]
fn loopback_only_is_said_and_no_more() {
    let (worst, text) = told(&[answers("127.0.0.1:8189")], &here(&["192.168.1.5"]));
    assert_eq!(worst, Level::Warning);
    says(&text, "only loopback");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_containers_addresses_are_nobodys() {
    let probes = [answers("172.17.0.2:8189")];
    let inside = contained(here(&["127.0.0.1", "172.17.0.2"]));
    let beside = here(&["192.168.1.5", "172.17.0.1"]);
    let from_afar = [silent("172.17.0.2:8189")];
    for (probes, scene) in [(&probes, inside), (&probes, beside), (&from_afar, elsewhere("9.9.9.9"))] {
        let (worst, text) = told(probes, &scene);
        assert_eq!(worst, Level::Problem, "{text}");
        says(
            &text,
            "with -p 8189:8189/udp and set sfu.public_addresses to the host's address: docker run -p 8080:8080",
        );
    }
    let people = here(&["172.17.0.2"]);
    assert_eq!(told(&probes, &people).0, Level::Warning, "a network of people with such addresses");
    let docker_host = here(&["172.17.0.1", "192.168.1.5"]);
    let (worst, text) = told(&[answers("192.168.1.5:8189"), answers("172.17.0.1:8189")], &docker_host);
    assert_eq!(worst, Level::Warning, "{text}");
    says(&text, "private");
    let (_, text) = told(&[answers("10.1.2.3:8189")], &contained(here(&["10.1.2.3"])));
    says(&text, "The server is in a container (/.dockerenv). -> Publish UDP 8189");
    let (_, text) = told(&[answers("9.9.9.9:8189")], &contained(here(&["172.17.0.2"])));
    says(&text, "Note container: This is a container (/.dockerenv)");
}

#[test]
fn a_port_that_docker_does_not_publish_is_seen_from_the_host() {
    let scene = here(&["192.168.1.5", "172.17.0.1", "127.0.0.1"]);
    let (worst, text) = told(&[silent("127.0.0.1:8189"), answers("172.17.0.2:8189")], &scene);
    assert_eq!(worst, Level::Problem);
    says(
        &text,
        "UDP 127.0.0.1:8189 (loopback) did not answer within 2 s. The server is in a container whose port",
    );
}

#[test]
fn silence_is_explained_by_where_the_address_lies() {
    let (worst, text) =
        told(&[answers("127.0.0.1:8189"), silent("192.168.1.5:8189")], &here(&["192.168.1.5"]));
    assert_eq!(worst, Level::Warning);
    says(
        &text,
        "a firewall on it keeps the packets away. -> Let them in, for instance: sudo ufw allow 8189/udp",
    );

    let mut own = answers("127.0.0.1:8189");
    own.offered = false;
    let (worst, text) = told(&[silent("9.9.9.9:8189"), own], &here(&["192.168.1.5"]));
    assert_eq!(worst, Level::Warning, "the process is there: {text}");
    says(
        &text,
        "only asking from outside tells. -> On another network: bicast doctor --url http://9.9.9.9:8080",
    );
    says(&text, "UDP 127.0.0.1:8189 (not told to peers) answers");

    let (worst, text) = told(&[silent("9.9.9.9:8189")], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Problem);
    says(&text, "A firewall between does not let UDP 8189 through");
    says(&text, "Problem answers: No address answers");

    let (worst, text) = told(&[answers("9.9.9.9:8189"), silent("172.17.0.1:8189")], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Note, "{text}");

    let lan = [probe(Transport::Udp, "192.168.1.5:8189", Outcome::Refused)];
    let (_, text) = told(&lan, &elsewhere("192.168.1.5"));
    says(&text, "refuses: nothing listens there. A firewall between");
    says(&text, "Let UDP 8189 through to the server.");
}

#[test]
fn what_cannot_be_tried_is_no_fault_of_the_server() {
    let why = "network is unreachable".to_owned();
    let six = probe(Transport::Udp, "[2620:fe::fe]:8189", Outcome::Unreachable { why });
    let (worst, text) = told(&[answers("9.9.9.9:8189"), six], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Note);
    says(&text, "was not tried: this machine has no way there (network is unreachable).");
}

#[test]
fn tcp_alone_is_a_way_in() {
    let seen_as = "198.51.100.4:51234".parse().unwrap();
    let tcp = probe(Transport::Tcp, "9.9.9.9:8189", Outcome::Answered { round_trip_ms: 1.0, seen_as });
    let (worst, text) = told(&[silent("9.9.9.9:8189"), tcp], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Warning, "{text}");
    says(&text, "Ok tcp: TCP 9.9.9.9:8189 (public) answers");
    says(&text, "only over TCP");
    assert!(!text.contains("HLS only"));
}

#[test]
fn no_candidate_at_all_is_a_problem() {
    assert_eq!(told(&[], &elsewhere("9.9.9.9")).0, Level::Problem);
}

#[test]
fn wrong_answers_are_no_answers() {
    let wrong = probe(Transport::Udp, "9.9.9.9:8189", Outcome::Wrong { why: "a STUN error 401".into() });
    let (worst, text) = told(&[wrong], &elsewhere("9.9.9.9"));
    assert_eq!(worst, Level::Problem);
    says(&text, "answers with a STUN error 401");
}
