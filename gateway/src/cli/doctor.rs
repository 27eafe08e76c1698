//! `bicast doctor`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::serve::SettingArgs;
use crate::config::Config;
use crate::doctor::{self, Case};

/// Look for what keeps viewers away: addresses, ports, NAT, kernel settings.
///
/// Reads the configuration as `serve` does. Asks the running server for a session, as an encoder would, and
/// sends to each address that it names what a browser would send first; then ends the session. Where no
/// server runs, it sees whether one could. Changes nothing. Exit code 1 says that something does not work.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DoctorArgs {
    #[arg(
        long,
        value_name = "URL",
        help = "Examine the server there: of this machine or of another one, http or https
[default: on this machine, at the configured port: http://127.0.0.1:8080]"
    )]
    url: Option<String>,

    /// Publish with this token, where the server wants one; its feed must match doctor-*
    #[arg(long, env = "BICAST_TOKEN", hide_env_values = true)]
    token: Option<bicast_publish::Token>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: SettingArgs,
}

const AFTER_HELP: &str = "\
Examples:
  bicast doctor                                   on the server, with the flags that `serve` has
  bicast doctor --url https://live.example.com    on another network: what viewers meet
  docker exec NAME bicast doctor                  inside a container

What to set where is told in docs/deployment.md.";

pub(super) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = args.settings.sources().and_then(|sources| Ok(Config::load(&sources)?));
    let config = config.map_err(|error| super::words(&error));
    let report = doctor::examine(Case { config, url: args.url, token: args.token }).await;
    let mut stdout = std::io::stdout();
    let text = if args.json {
        report.to_json()
    } else {
        let coloured = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        doctor::render(&report, coloured)
    };
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("cannot print the report")?;
    Ok(if report.has_problem() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
