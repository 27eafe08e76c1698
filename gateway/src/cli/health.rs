//! `bicast health`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::whip::Whip;
use clap::Args;
use hyper::Method;

use super::serve::SettingArgs;
use crate::config::Config;
use crate::console;
use crate::doctor::Ready;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ask whether a server takes sessions: for health checks of containers, which have no HTTP client.
///
/// Exit code 0 says that it is ready; 1 that it is not, or that nobody answers.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[arg(
        long,
        value_name = "URL",
        help = "Ask the server there
[default: on this machine, at the configured port: http://localhost:8080]"
    )]
    url: Option<String>,

    #[command(flatten)]
    settings: SettingArgs,
}

#[expect(clippy::print_stdout, reason = "what was found is the product")]
pub(super) async fn run(args: HealthArgs) -> anyhow::Result<ExitCode> {
    let url = match args.url {
        Some(url) => url,
        None => console::base_url(&Config::load(&args.settings.sources()?)?.http.listen),
    };
    let endpoint: Endpoint = url.parse().with_context(|| format!("--url {url} is no address of a server"))?;
    let readyz = endpoint.resolve("/readyz").unwrap_or_else(|| endpoint.clone());
    let whip = Whip::new(endpoint, None)?;
    let reply = whip.ask(Method::GET, &readyz, PATIENCE).await?;
    let told: Ready = serde_json::from_slice(&reply.body)
        .with_context(|| format!("{url}/readyz does not answer as bicast does (status {})", reply.status))?;
    if told.ready {
        println!("ready");
        return Ok(ExitCode::SUCCESS);
    }
    println!("not ready: {}", told.reasons.join(" "));
    Ok(ExitCode::FAILURE)
}
