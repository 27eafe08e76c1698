use clap::CommandFactory;
use expect_test::{Expect, expect};

use super::*;
use crate::config::Config;

fn help(command: &[&str]) -> String {
    let mut cli = Cli::command().term_width(100);
    let mut at = &mut cli;
    for name in command {
        at = at.find_subcommand_mut(name).unwrap();
    }
    at.clone()
        .bin_name(["bicast"].iter().chain(command).copied().collect::<Vec<_>>().join(" "))
        .term_width(100)
        .render_long_help()
        .to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "expect! makes it on the spot")]
fn check(command: &[&str], want: Expect) {
    want.assert_eq(&help(command));
}

#[test]
fn the_first_help_fits_on_a_screen() {
    check(
        &[],
        expect![[r#"
            One live feed, two paths, one timeline: WebRTC and Low-Latency HLS from one WHIP publisher

            Usage: bicast <COMMAND>

            Commands:
              serve    Run the gateway: take feeds by WHIP, serve them by WHEP and LL-HLS
              publish  Publish a file or a test pattern to a gateway by WHIP
              config   Print the configuration that `serve` would run with, or one to begin with
              doctor   Look for what keeps viewers away: addresses, ports, NAT, kernel settings
              health   Ask whether a server is ready: exit code 0 or 1
              token    Make tokens, and look into them
              bench    Measure a server
              check    Check an origin against the rules of its protocol

            Options:
              -h, --help
                      Print help

              -V, --version
                      Print version

            Try it:
              bicast serve
              bicast publish --test-pattern --whip http://localhost:8080/whip/demo
            and open http://localhost:8080/ in a browser.

            `bicast COMMAND --help` tells all about a command.
        "#]],
    );
}

#[test]
fn the_help_of_serve_says_all() {
    check(
        &["serve"],
        expect![[r#"
            Run the gateway: take feeds by WHIP, serve them by WHEP and LL-HLS

            Usage: bicast serve [OPTIONS]

            Options:
              -h, --help
                      Print help

            Process:
                  --config <FILE>
                      Read settings from this file
                      [default: bicast.toml, if it is there] [env: BICAST_CONFIG]

                  --set <KEY=VALUE>
                      Set anything that the file can, as in feed.playout=lip-sync; repeatable

                  --ready-file <FILE>
                      Write the bound addresses to this file, as JSON, once everything is up

            HTTP:
                  --http-port <PORT>
                      Listen on this port on all IPv4 and IPv6 addresses, which wants keys ([auth]); 0 takes a
                      free one
                      [default: 8080 on this machine only]

                  --http-listen <IP:PORT>
                      Listen on this address instead; repeatable
                      [default: 127.0.0.1:8080 and [::1]:8080] [env: BICAST_HTTP__LISTEN]

                  --https-port <PORT>
                      Serve HTTPS and HTTP/2 on this port, too; 0 takes a free one
                      [default: off] [env: BICAST_HTTP__TLS__LISTEN]

                  --web-root <FOLDER>
                      Serve the web demo from this folder
                      [default: web-demo/dist] [env: BICAST_HTTP__WEB_ROOT]

            WebRTC:
                  --udp-port <PORT>
                      The one UDP port of all peers; 0 takes a free one
                      [default: 8189] [env: BICAST_SFU__UDP_PORT]

                  --public-address <IP>
                      Tell peers this address instead of this machine's own (NAT, container); repeatable
                      [default: this machine's addresses] [env: BICAST_SFU__PUBLIC_ADDRESSES]

            Logs:
                  --log-level <LEVEL>
                      error, warn, info, debug, trace, off; or by module: warn,bicast_sfu=debug
                      [default: info] [env: BICAST_LOG__LEVEL]

                  --log-format <FORMAT>
                      text for people, json for machines: one object a line
                      [default: text] [env: BICAST_LOG__FORMAT]

            Demonstrations:
                  --demo
                      Let viewers try bad networks of their own (/v1/demo/lines); not in production
                      [default: off] [env: BICAST_DEMO__LINES]

            Examples:
              bicast serve
              bicast serve --http-listen 127.0.0.1:9000 --udp-port 9001
              BICAST_AUTH__SECRET_FILE=secret bicast serve --http-port 8080 --public-address 203.0.113.7
              BICAST_LOG__FORMAT=json bicast serve --set feed.segment_target=4

            Every setting has a name in the file, in the environment (BICAST_SECTION__KEY) and for
            --set (section.key). `bicast config --default` lists them all.
        "#]],
    );
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_names_settings_that_exist() {
    let text = help(&["serve"]);
    let names: Vec<&str> = text.split("[env: ").skip(1).filter_map(|rest| rest.split(']').next()).collect();
    assert!(names.len() > 5, "{names:?}");
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for name in names {
        if name == "BICAST_CONFIG" {
            continue;
        }
        let path = name.strip_prefix("BICAST_").unwrap().to_lowercase();
        let (section, keys) = path.split_once("__").unwrap();
        let found = keys.split("__").try_fold(&defaults[section], |table, key| table.get(key));
        assert!(found.is_some(), "{name}");
    }
}

#[test]
fn an_error_is_told_once_with_its_cause() {
    use anyhow::Context;
    let inner = std::io::Error::other("disk full");
    let error = Err::<(), _>(inner).context("cannot write x").unwrap_err();
    assert_eq!(words(&error), "cannot write x: disk full");
    let said = Err::<(), _>(std::io::Error::other("y")).context("cannot read x: y").unwrap_err();
    assert_eq!(words(&said), "cannot read x: y");
}
