//! `bicast serve`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use toml::Value;

use crate::config::{Config, DEFAULT_FILE, LogFormat, Setting, Sources, everywhere};
use crate::console;
use crate::gateway::Gateway;
use crate::logs;
use crate::shutdown::Signals;

/// Run the gateway: take feeds by WHIP, serve them by WHEP and LL-HLS.
///
/// One process, all roles; needs no configuration on one machine. Others than this machine are let in with tokens only: see
/// `bicast token --help`. Settings are taken from flags, then from the environment, then from
/// the configuration file, then from the defaults.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) settings: SettingArgs,

    /// Write the bound addresses to this file, as JSON, once everything is up
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    ready_file: Option<PathBuf>,
}

/// The flags that name where settings come from.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Process",
        help = "Read settings from this file
[default: bicast.toml, if it is there] [env: BICAST_CONFIG]"
    )]
    config: Option<PathBuf>,

    #[arg(
        long = "set",
        value_name = "KEY=VALUE",
        help_heading = "Process",
        help = "Set anything that the file can, as in feed.playout=lip-sync; repeatable"
    )]
    set: Vec<String>,
}

/// The flags that are settings. A line of its own says the default and the variable that sets the same.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    #[command(flatten)]
    sources: SourceArgs,

    #[arg(
        long,
        value_name = "PORT",
        conflicts_with = "http_listen",
        help_heading = "HTTP",
        help = "Listen on this port on all IPv4 and IPv6 addresses, which wants keys ([auth]); 0 takes a free one
[default: 8080 on this machine only]"
    )]
    http_port: Option<u16>,

    #[arg(
        long,
        value_name = "IP:PORT",
        help_heading = "HTTP",
        help = "Listen on this address instead; repeatable
[default: 127.0.0.1:8080 and [::1]:8080] [env: BICAST_HTTP__LISTEN]"
    )]
    http_listen: Vec<SocketAddr>,

    #[arg(
        long,
        value_name = "PORT",
        help_heading = "HTTP",
        help = "Serve HTTPS and HTTP/2 on this port, too; 0 takes a free one
[default: off] [env: BICAST_HTTP__TLS__LISTEN]"
    )]
    https_port: Option<u16>,

    #[arg(
        long,
        value_name = "FOLDER",
        help_heading = "HTTP",
        help = "Serve the web demo from this folder
[default: web-demo/dist] [env: BICAST_HTTP__WEB_ROOT]"
    )]
    web_root: Option<PathBuf>,

    #[arg(
        long,
        value_name = "PORT",
        help_heading = "WebRTC",
        help = "The one UDP port of all peers; 0 takes a free one
[default: 8189] [env: BICAST_SFU__UDP_PORT]"
    )]
    udp_port: Option<u16>,

    #[arg(
        long,
        value_name = "IP",
        help_heading = "WebRTC",
        help = "Tell peers this address instead of this machine's own (NAT, container); repeatable
[default: this machine's addresses] [env: BICAST_SFU__PUBLIC_ADDRESSES]"
    )]
    public_address: Vec<IpAddr>,

    #[arg(
        long,
        value_name = "LEVEL",
        help_heading = "Logs",
        help = "error, warn, info, debug, trace, off; or by module: warn,bicast_sfu=debug
[default: info] [env: BICAST_LOG__LEVEL]"
    )]
    log_level: Option<String>,

    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        help_heading = "Logs",
        help = "text for people, json for machines: one object a line
[default: text] [env: BICAST_LOG__FORMAT]"
    )]
    log_format: Option<LogFormat>,

    #[arg(
        long,
        help_heading = "Demonstrations",
        help = "Let viewers try bad networks of their own (/v1/demo/lines); not in production
[default: off] [env: BICAST_DEMO__LINES]"
    )]
    demo: bool,
}

const AFTER_HELP: &str = "\
Examples:
  bicast serve
  bicast serve --http-listen 127.0.0.1:9000 --udp-port 9001
  BICAST_AUTH__SECRET_FILE=secret bicast serve --http-port 8080 --public-address 203.0.113.7
  BICAST_LOG__FORMAT=json bicast serve --set feed.segment_target=4

Every setting has a name in the file, in the environment (BICAST_SECTION__KEY) and for
--set (section.key). `bicast config --default` lists them all.";

impl SourceArgs {
    /// The sources of the configuration that these flags and the process's environment name.
    pub(super) fn sources(&self) -> anyhow::Result<Sources> {
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = self.config.clone().or_else(|| {
            env.iter()
                .find(|(name, value)| name == "BICAST_CONFIG" && !value.is_empty())
                .map(|(_, file)| file.into())
        });
        let file = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists()));
        let flags = self.set.iter().map(|text| Setting::parse("--set", text)).collect::<Result<_, _>>()?;
        Ok(Sources { file, env, flags })
    }
}

impl SettingArgs {
    /// The sources of the configuration that these flags and the process's environment name.
    pub(super) fn sources(&self) -> anyhow::Result<Sources> {
        let mut sources = self.sources.sources()?;
        // Last, so that a flag of its own goes before --set.
        sources.flags.extend(self.flags()?);
        Ok(sources)
    }

    fn flags(&self) -> anyhow::Result<Vec<Setting>> {
        let mut flags = Vec::new();
        if let Some(port) = self.http_port {
            flags.push(Setting::typed("--http-port", "http.listen", texts(&everywhere(port))));
        }
        if !self.http_listen.is_empty() {
            flags.push(Setting::typed("--http-listen", "http.listen", texts(&self.http_listen)));
        }
        if let Some(port) = self.https_port {
            flags.push(Setting::typed("--https-port", "http.tls.listen", texts(&everywhere(port))));
        }
        if let Some(folder) = &self.web_root {
            flags.push(Setting::typed("--web-root", "http.web_root", folder.display().to_string()));
        }
        if let Some(port) = self.udp_port {
            flags.push(Setting::typed("--udp-port", "sfu.udp_port", i64::from(port)));
        }
        if !self.public_address.is_empty() {
            flags.push(Setting::typed(
                "--public-address",
                "sfu.public_addresses",
                texts(&self.public_address),
            ));
        }
        if let Some(level) = &self.log_level {
            flags.push(Setting::typed("--log-level", "log.level", level.as_str()));
        }
        if let Some(format) = self.log_format {
            flags.push(Setting::typed("--log-format", "log.format", Value::try_from(format)?));
        }
        if self.demo {
            flags.push(Setting::typed("--demo", "demo.lines", true));
        }
        Ok(flags)
    }
}

fn texts<T: ToString>(items: &[T]) -> Value {
    Value::Array(items.iter().map(|item| Value::String(item.to_string())).collect())
}

/// Runs until a signal ends it.
pub(super) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.settings.sources()?)?;
    logs::start(&config.log);
    // Before anything opens: a signal during the start ends the process as it should.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    raise_file_limit();
    let gateway = Gateway::start(&config).await?;
    announce(&config, &gateway);
    if let Some(file) = &args.ready_file {
        write_ready_file(file, &gateway).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let ending = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "ending; a second signal ends at once");
            Ok(())
        }
        // Half a server would look alive: an end with an error is what supervisors start anew.
        () = gateway.failed() => Err(anyhow::anyhow!("a WebRTC worker has failed; the log says why")),
    };
    tokio::select! {
        () = gateway.shutdown() => ending,
        signal = signals.next() => {
            tracing::warn!(signal, "ended at once");
            Ok(())
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the greeting is for the person at the terminal; machines get the log line"
)]
fn announce(config: &Config, gateway: &Gateway) {
    let (http, udp) = (gateway.http_addrs(), gateway.udp_addrs());
    match config.log.format {
        LogFormat::Text => {
            let all = [http, gateway.https_addrs(), udp, gateway.tcp_addrs()];
            eprintln!("{}", console::banner(all, gateway.access()));
        }
        LogFormat::Json => tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            page = console::base_url(http),
            access = ?gateway.access(),
            ?http,
            https = ?gateway.https_addrs(),
            ?udp,
            tcp = ?gateway.tcp_addrs(),
            "ready"
        ),
    }
}

/// What `--ready-file` says.
#[derive(Serialize)]
struct Ready<'a> {
    version: &'static str,
    pid: u32,
    url: String,
    http: &'a [SocketAddr],
    https: &'a [SocketAddr],
    udp: &'a [SocketAddr],
    tcp: &'a [SocketAddr],
}

/// Writes beside and renames, so that whoever waits for the file never reads half of it.
fn write_ready_file(file: &Path, gateway: &Gateway) -> anyhow::Result<()> {
    let ready = Ready {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        url: console::base_url(gateway.http_addrs()),
        http: gateway.http_addrs(),
        https: gateway.https_addrs(),
        udp: gateway.udp_addrs(),
        tcp: gateway.tcp_addrs(),
    };
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, serde_json::to_vec(&ready)?)?;
    std::fs::rename(&beside, file)?;
    Ok(())
}

/// Every connection is a file descriptor, and many shells begin with 1,024.
fn raise_file_limit() {
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(files) => tracing::debug!(files, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}
