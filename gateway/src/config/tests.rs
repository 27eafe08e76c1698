use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

/// Sources with a file of this text in a folder of its own.
struct Bench {
    folder: std::path::PathBuf,
    sources: Sources,
}

impl Bench {
    fn new(name: &str, file: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bicast-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(DEFAULT_FILE);
        std::fs::write(&path, file).unwrap();
        Self { folder, sources: Sources { file: Some(path), ..Sources::default() } }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.push((name.into(), value.into()));
        self
    }

    fn set(mut self, text: &str) -> Self {
        self.sources.flags.push(Setting::parse("--set", text).unwrap());
        self
    }

    fn load(&self) -> Result<Config, String> {
        Config::load(&self.sources).map_err(|error| error.to_string().replace(&self.folder_name(), ""))
    }

    fn folder_name(&self) -> String {
        format!("{}{}", self.folder.display(), std::path::MAIN_SEPARATOR)
    }

    #[expect(clippy::needless_pass_by_value, reason = "expect! makes it on the spot")]
    fn refuses(&self, want: Expect) {
        want.assert_eq(&self.load().unwrap_err());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn without_sources_there_are_the_defaults() {
    assert_eq!(Config::load(&Sources::default()).unwrap(), Config::default());
}

#[test]
fn flags_go_before_the_environment_before_the_file_before_the_defaults() {
    let file = "[sfu]\nudp_port = 1001\n[feed]\nsegment_target = 3\npart_target = 0.3\n";
    let bench = Bench::new("precedence", file)
        .env("BICAST_SFU__UDP_PORT", "1002")
        .env("BICAST_FEED__SEGMENT_TARGET", "4")
        .set("sfu.udp_port=1003");
    let config = bench.load().unwrap();
    assert_eq!(config.sfu.udp_port, 1003, "flag");
    assert_eq!(config.feed.segment_target.as_secs(), 4, "environment");
    assert_eq!(config.feed.part_target.as_millis(), 300, "file");
    assert_eq!(config.feed.publisher_grace.as_secs(), 30, "default");
}

#[test]
fn the_environment_is_read_as_the_type_of_the_setting() {
    let config = Bench::new("types", "")
        .env("BICAST_HTTP__LISTEN", "127.0.0.1:1, [::1]:2")
        .env("BICAST_SFU__PUBLIC_ADDRESSES", r#"["192.0.2.1"]"#)
        .env("BICAST_SFU__LIMITS__VIEWERS", "7")
        .env("BICAST_HTTP__WEB_ROOT", "2026")
        .env("BICAST_LOG__FORMAT", "json")
        .env("BICAST_HTTP__DRAIN", "1")
        .load()
        .unwrap();
    let listen: Vec<String> = config.http.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:1", "[::1]:2"]);
    assert_eq!(config.sfu.public_addresses, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(config.sfu.limits.viewers, 7);
    assert_eq!(config.http.web_root, Path::new("2026"), "a folder may be called like a number");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!((config.http.drain - 1.0).abs() < f64::EPSILON, "a whole number of seconds");
}

#[test]
fn variables_that_are_no_settings_are_not_looked_at() {
    // Kubernetes sets these for every service called "bicast".
    let bench = Bench::new("kubernetes", "")
        .env("BICAST_PORT_8080_TCP_ADDR", "10.0.0.1")
        .env("BICAST_SERVICE_HOST", "10.0.0.1")
        .env("BICAST_CONFIG", "x")
        .env("PATH", "/bin");
    assert_eq!(bench.load().unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    Bench::new("key", "[http]\n# where to listen\nlisten_on = [\"127.0.0.1:1\"]\n").refuses(expect![[r#"
        bicast.toml, line 3: unknown key `listen_on`
          3 | listen_on = ["127.0.0.1:1"]
            | ^^^^^^^^^
          Did you mean `listen`? Known here: listen, web_root, max_connections, header_timeout, request_timeout, stall_timeout, drain, tls, tcp."#]]);
    Bench::new("section", "[log]\nlevel = \"info\"\n\n[paackager]\n").refuses(expect![[r#"
        bicast.toml, line 4: unknown key `paackager`
          4 | [paackager]
            |  ^^^^^^^^^
          Did you mean `packager`? Known here: http, auth, log, feed, feeds, sfu, packager, signaling, demo."#]]);
    Bench::new("misplaced", "udp_port = 5\n").refuses(expect![[r#"
        bicast.toml, line 1: unknown key `udp_port`
          1 | udp_port = 5
            | ^^^^^^^^
          `udp_port` belongs under [sfu]."#]]);
    Bench::new("variant", "[feed]\nplayout = \"lipsync\"\n").refuses(expect![[r#"
        bicast.toml, line 2: unknown value `lipsync`
          2 | playout = "lipsync"
            |           ^^^^^^^^^
          Did you mean `lip-sync`? Known here: lowest-latency, lip-sync."#]]);
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    Bench::new("type", "[sfu]\nudp_port = \"any\"\n").refuses(expect![[r#"
        bicast.toml, line 2: invalid type: string "any", expected a whole number, 0 to 65535
          2 | udp_port = "any"
            |            ^^^^^"#]]);
    Bench::new("range", "[sfu]\n  udp_port = 70000  # too high\n").refuses(expect![[r#"
        bicast.toml, line 2: invalid value: integer `70000`, expected a whole number, 0 to 65535
          2 |   udp_port = 70000  # too high
            |              ^^^^^"#]]);
    Bench::new("address", "[http]\nlisten = [\"localhost\"]\n").refuses(expect![[r#"
        bicast.toml, line 2: not an address: write IP:PORT, as in 0.0.0.0:8080 or [::]:8080
          2 | listen = ["localhost"]
            |           ^^^^^^^^^^^"#]]);
    Bench::new("syntax", "[http]\nlisten = \n").refuses(expect![[r#"
        bicast.toml, line 2: string values must be quoted, expected literal string
          2 | listen = 
            |          ^"#]]);
    Bench::new("twice", "[http]\ndrain = 1\ndrain = 2\n").refuses(expect![[r#"
        bicast.toml, line 3: duplicate key
          3 | drain = 2
            | ^^^^^"#]]);
}

#[test]
fn some_feeds_may_be_treated_otherwise() {
    let file = "[feed]\nwindow = 100\n\n[[feeds]]\nmatch = \"studio-*\"\npart_target = 0.5\n";
    let config = Bench::new("feeds", file).load().unwrap();
    let studio = config.feed_policy().of(&"studio-1".parse().unwrap());
    assert_eq!((studio.window.as_secs(), studio.part_target.as_millis()), (100, 500));
    assert_eq!(config.feed_policy().of(&"demo".parse().unwrap()).part_target.as_millis(), 200);
    let flag =
        Bench::new("feeds-flag", "").set("feeds=[{ match = \"a\", segment_target = 4 }]").load().unwrap();
    assert_eq!(flag.feed_policy().of(&"a".parse().unwrap()).segment_target.as_secs(), 4);
    Bench::new("feeds-key", "[[feeds]]\nmatch = \"a\"\nwindows = 5\n").refuses(expect![[r#"
        bicast.toml, line 3: unknown key `windows`
          3 | windows = 5
            | ^^^^^^^
          Did you mean `window`? Known here: match, publisher_grace, segment_target, part_target, window, playout."#]]);
    Bench::new("feeds-match", "[[feeds]]\nmatch = \"a b\"\n").refuses(expect![[r#"
        bicast.toml, line 2: "a b" matches no feed id: use 1 to 64 of A-Z a-z 0-9 - _ . and * for any characters
          2 | match = "a b"
            |         ^^^^^"#]]);
}

#[test]
fn a_value_out_of_range_is_named_where_it_came_from() {
    let file = "[feed]\nsegment_target = 20\n";
    Bench::new("file-range", file).refuses(expect![[r#"
        bicast.toml, line 2: feed.segment_target: 20 s is out of range: it may be 1 to 10 s
          2 | segment_target = 20
            |                  ^^"#]]);
    let feeds = "[[feeds]]\nmatch = \"a\"\n\n[[feeds]]\nmatch = \"b*\"\nplayout = \"lip-sync\"\nwindow = 5\n";
    Bench::new("one-feeds-range", feeds).refuses(expect![[r#"
        bicast.toml, line 7: feeds.1.window: 5 s is out of range: it may be 20 to 86400 s
          7 | window = 5
            |          ^"#]]);
    Bench::new("env-range", "").env("BICAST_FEED__PART_TARGET", "5").refuses(expect![
        "BICAST_FEED__PART_TARGET (environment): feed.part_target: 5 s is out of range: it may be 0.1 to 1 s"
    ]);
    Bench::new("flag-range", "").set("http.max_connections=0").refuses(expect![
        "--set http.max_connections=0: http.max_connections: 0 is out of range: it may be 1 to 1000000"
    ]);
    Bench::new("overridden", file)
        .env("BICAST_FEED__SEGMENT_TARGET", "2")
        .load()
        .expect("what is overridden does no harm");
    Bench::new("nowhere", "[http]\nlisten = []\n").refuses(expect![[r#"
        bicast.toml, line 2: http.listen: it names no address, so nobody could reach this server
          2 | listen = []
            |          ^^"#]]);
    Bench::new("level", "[log]\nlevel = \"verbose\"\n").refuses(expect![[r#"
        bicast.toml, line 2: log.level: "verbose" is not a level: use error, warn, info, debug, trace, off, or directives like warn,bicast_sfu=debug
          2 | level = "verbose"
            |         ^^^^^^^^^"#]]);
    Bench::new("seconds", "[feed]\npublisher_grace = -1\n").refuses(expect![[r#"
        bicast.toml, line 2: seconds must be 0 or more
          2 | publisher_grace = -1
            |                   ^^"#]]);
}

#[test]
fn keys_that_contradict_each_other_or_could_be_exchanged_are_refused() {
    Bench::new("short", "[auth]\nsecret = \"password\"\n").refuses(expect![[r#"
        bicast.toml, line 2: auth.secret: it has 8 bytes; HS256 needs 32 or more
          2 | secret = "password"
            |          ^^^^^^^^^^"#]]);
    let long = "x".repeat(32);
    let both = Bench::new("both", "").env("BICAST_AUTH__SECRET", &long).set("auth.secret_file=secret");
    both.refuses(expect![
        "--set auth.secret_file=secret: auth.secret_file: auth.secret is set as well: one of the two"
    ]);
    let open = Bench::new("open", "[auth]\nopen = true\n").env("BICAST_AUTH__SECRET", &long);
    assert!(open.load().unwrap_err().contains("line 2: auth.open: keys are set as well"));
    for (url, taken) in [
        ("https://issuer.example/keys", true),
        ("http://127.0.0.1:5/keys", true),
        ("http://[::1]:5/keys", true),
        ("http://localhost/keys", true),
        ("http://issuer.example/keys", false),
        ("http://127.0.0.1.issuer.example/keys", false),
        ("ftp://issuer.example/keys", false),
        ("keys.json", false),
    ] {
        let loaded = Bench::new("url", "").env("BICAST_AUTH__JWKS_URL", url).load();
        assert_eq!(loaded.is_ok(), taken, "{url}: {loaded:?}");
    }
    let config = Bench::new("debug", "").env("BICAST_AUTH__SECRET", &long).load().unwrap();
    assert!(config.auth.has_keys() && !format!("{config:?}").contains(&long));
}

#[test]
fn what_is_wrong_in_the_environment_or_a_flag_is_named_by_it() {
    Bench::new("env-key", "").env("BICAST_LOG__LEVL", "info").refuses(expect![[r#"
        BICAST_LOG__LEVL (environment): unknown key `levl`
          Did you mean `level`? Known here: level, format."#]]);
    Bench::new("env-section", "").env("BICAST_SFUU__UDP_PORT", "5").refuses(expect![[r#"
        BICAST_SFUU__UDP_PORT (environment): unknown key `sfuu`
          Did you mean `sfu`? Known here: http, auth, log, feed, feeds, sfu, packager, signaling, demo."#]]);
    Bench::new("env-type", "").env("BICAST_SFU__UDP_PORT", "five").refuses(expect![[r#"BICAST_SFU__UDP_PORT (environment): invalid type: string "five", expected a whole number, 0 to 65535"#]]);
    Bench::new("env-underscore", "").env("BICAST_SFU_UDP_PORT", "5").refuses(expect![[r#"
        BICAST_SFU_UDP_PORT (environment): not a setting: two underscores part section and key
          Did you mean BICAST_SFU__UDP_PORT?"#]]);
    Bench::new("flag-key", "").set("log.colour=blue").refuses(expect![[r#"
        --set log.colour=blue: unknown key `colour`
          Known here: level, format."#]]);
    Bench::new("flag-part", "")
        .set("sfu=5")
        .refuses(expect!["--set sfu=5: invalid type: integer `5`, expected a section with keys of its own"]);
    let error = Setting::parse("--set", "sfu.udp_port").unwrap_err();
    expect![[r#"--set: "sfu.udp_port" is not a setting: write KEY=VALUE, as in sfu.udp_port=9000"#]]
        .assert_eq(&error.to_string());
}

#[test]
fn a_file_that_is_not_there_says_how_to_make_one() {
    let sources = Sources { file: Some("/nowhere/bicast.toml".into()), ..Sources::default() };
    expect![[r#"
        /nowhere/bicast.toml: cannot be read: No such file or directory (os error 2)
          `bicast config --default` prints a file to begin with."#]]
    .assert_eq(&Config::load(&sources).unwrap_err().to_string());
}

#[test]
fn the_example_is_the_defaults_with_every_setting() {
    let example: Config = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(example, Config::default());
    let written: toml::Table = EXAMPLE.parse().unwrap();
    let all = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(names("", &written), names("", &all));
}

#[test]
fn what_config_prints_reads_back() {
    let config = Bench::new("print", "[http]\nlisten = [\"127.0.0.1:1\"]\n").load().unwrap();
    assert_eq!(toml::from_str::<Config>(&config.to_toml()).unwrap(), config);
}

#[test]
fn every_setting_is_documented() {
    let page = include_str!("../../../docs/configuration.md");
    let all = toml::Table::try_from(Config::default()).unwrap();
    for name in names("", &all) {
        assert!(page.contains(&format!("`{name}`")), "docs/configuration.md lacks {name}");
    }
}

fn names(prefix: &str, table: &toml::Table) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => all.extend(names(&name, inner)),
            _ => all.push(name),
        }
    }
    all.sort();
    all
}
