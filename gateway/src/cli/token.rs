//! `bicast token`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bicast_shared::auth::{Audience, Claims, Grant, LONGEST_TOKEN, Policy, Right, Signer, Tier, look_inside};
use bicast_shared::clock;
use bicast_shared::feed::settings::FeedPattern;
use clap::{Args, Subcommand, ValueEnum};
use rand::Rng as _;

use super::serve::SourceArgs;
use crate::auth::{Keys, secret_in};
use crate::config::{AuthConfig, Config};

/// Make tokens, and look into them.
///
/// A token says who may publish or watch which feeds, and until when. It is signed with a key of the server; docs/tokens.md says how to
/// set one.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token and print it
    Mint(Box<MintArgs>),
    /// Show what a token says, and whether this server would take it
    Inspect(Box<InspectArgs>),
}

/// Make a token and print it.
///
/// It is signed with the secret of the settings (auth.secret or auth.secret_file), unless a key is named here. The token alone goes to
/// standard output; what it says goes to standard error.
#[derive(Debug, Args)]
#[command(after_help = MINT_HELP)]
struct MintArgs {
    /// The feeds it is for; * stands for any characters
    #[arg(long, value_name = "PATTERN")]
    feed: FeedPattern,

    /// What its holder may do; several with commas
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', required = true)]
    rights: Vec<RightArg>,

    /// How its holder may watch: free over HLS, vip over WebRTC, too
    #[arg(long, value_name = "TIER", default_value = "free")]
    tier: TierArg,

    /// How long it holds: 90s, 15m, 4h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = period)]
    expires: i64,

    /// The id of the viewer (publisher, operator)
    #[arg(long, value_name = "ID")]
    viewer: Option<String>,

    /// How many its holder may be at the same time on each path
    #[arg(long, value_name = "COUNT", requires = "viewer", value_parser = clap::value_parser!(u32).range(1..))]
    viewers: Option<u32>,

    /// Before whom its holder comes where there is too little room over WebRTC for all: a higher one first
    #[arg(long, value_name = "0-255", default_value_t = 0)]
    priority: u8,

    /// The delay class that its holder is of: it watches over HLS, so far behind as auth.delay_classes of the server says
    #[arg(long, value_name = "CLASS")]
    delay: Option<String>,

    /// The token's own id, by which it can be taken back [default: a random one]
    #[arg(long, value_name = "ID")]
    id: Option<String>,

    /// Sign with this private key instead: PEM, PKCS#8, for Ed25519, P-256 or RSA
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// The name of the key in the server's JWK set
    #[arg(long, value_name = "KID")]
    kid: Option<String>,

    #[command(flatten)]
    sources: SourceArgs,
}

const MINT_HELP: &str = "\
Examples:
  openssl rand -hex 32 > secret            a secret, for BICAST_AUTH__SECRET_FILE or auth.secret_file
  export BICAST_AUTH__SECRET_FILE=secret
  bicast token mint --feed demo --rights publish --expires 12h
  bicast token mint --feed 'studio-*' --rights watch --tier vip --viewer anna --viewers 2
  bicast token mint --feed '*' --rights admin,watch --tier vip --expires 15m

  openssl genpkey -algorithm ed25519 -out key.pem
  bicast token mint --feed demo --rights watch --key-file key.pem --kid 2026-11";

/// Show what a token says, and whether this server would take it.
///
/// Exit code 0 says that a server with these settings takes it now; 1 that it does not, or that no keys are set to check it with.
#[derive(Debug, Args)]
struct InspectArgs {
    /// The token; - reads it from standard input
    token: String,

    #[command(flatten)]
    sources: SourceArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RightArg {
    Publish,
    Watch,
    Admin,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TierArg {
    Free,
    Vip,
}

pub(super) async fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Mint(args) => mint(*args),
        Command::Inspect(args) => inspect(*args).await,
    }
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the token is the product, what it says is for people"
)]
fn mint(args: MintArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.sources.sources()?)?.auth;
    let signer = signer(args.key_file.as_deref(), &config)?.named(args.kid);
    let now = clock::utc().unix_seconds();
    let rights = args.rights.iter().map(|right| match right {
        RightArg::Publish => Right::Publish,
        RightArg::Watch => Right::Watch,
        RightArg::Admin => Right::Admin,
    });
    let tier = match args.tier {
        TierArg::Free => Tier::Free,
        TierArg::Vip => Tier::Vip,
    };
    let random = || format!("{:016x}", rand::rng().random::<u64>());
    let claims = Claims {
        aud: Audience::One(config.audience.clone()),
        iss: Some(config.issuer).filter(|issuer| !issuer.is_empty()),
        sub: args.viewer,
        jti: Some(args.id.unwrap_or_else(random)),
        iat: Some(now),
        exp: now + args.expires,
        nbf: None,
        feed: args.feed,
        tier,
        rights: rights.collect(),
        viewers: args.viewers,
        priority: args.priority,
        delay: args.delay,
    };
    let token = signer.sign(&claims)?;
    if token.len() > LONGEST_TOKEN {
        bail!("the token would have {} bytes; servers take {LONGEST_TOKEN}", token.len());
    }
    eprintln!("{}", summary(&claims, now));
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

fn signer(key: Option<&std::path::Path>, config: &AuthConfig) -> anyhow::Result<Signer> {
    if let Some(file) = key {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        return Signer::pem(&text).with_context(|| format!("cannot sign with {}", file.display()));
    }
    if !config.secret_file.as_os_str().is_empty() {
        let file = &config.secret_file;
        let secret = secret_in(file)
            .with_context(|| format!("cannot read {} (setting auth.secret_file)", file.display()))?;
        return Signer::secret(&secret).with_context(|| format!("cannot sign with {}", file.display()));
    }
    if config.secret.reveal().is_empty() {
        bail!(
            "there is no key to sign with.\n  Set the server's secret (BICAST_AUTH__SECRET, or auth.secret_file), or name a private \
             key with --key-file FILE.\n  `openssl rand -hex 32` makes a secret."
        );
    }
    Ok(Signer::secret(config.secret.reveal().as_bytes())?)
}

#[expect(clippy::print_stdout, reason = "what is found is the product")]
async fn inspect(args: InspectArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.sources.sources()?)?.auth;
    let token = if args.token == "-" { read_stdin()? } else { args.token };
    let token = token.trim();
    let Some(inside) = look_inside(token) else {
        bail!("this is no token: it has not three parts of base64url with JSON in the first two");
    };
    let pretty = |value| serde_json::to_string_pretty(value).unwrap_or_default();
    println!("header {}\nclaims {}", pretty(&inside.header), pretty(&inside.claims));
    if !config.has_keys() {
        println!("unchecked: no keys are set, so its signature may be anybody's");
        return Ok(ExitCode::FAILURE);
    }
    let keys = Keys::once(&config).await?;
    let policy = Policy { audience: config.audience, issuer: config.issuer };
    let now = clock::utc();
    match policy.verify(&keys, token.as_bytes(), now) {
        Ok(grant) => {
            println!("good: {}", holds(&grant, now.unix_seconds()));
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            let problem = refusal.problem();
            println!("refused: {}\n  {}", problem.detail, problem.hint.unwrap_or_default());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    // One more than a token may have, with its line's end: a longer one is told to be too long.
    let most = u64::try_from(LONGEST_TOKEN)? + 3;
    std::io::stdin().take(most).read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

fn summary(claims: &Claims, now: i64) -> String {
    let rights: Vec<&str> = claims.rights.iter().map(|right| right.name()).collect();
    let who = claims.sub.as_ref().map(|who| format!(" for {who}")).unwrap_or_default();
    let id = claims.jti.as_deref().unwrap_or_default();
    let watches =
        if claims.rights.contains(&Right::Watch) { format!(" as {}", claims.tier) } else { String::new() };
    format!(
        "token {id}{who}: {}{watches}, feeds {}, holds for {}",
        rights.join(", "),
        claims.feed,
        words(claims.exp - now)
    )
}

fn holds(grant: &Grant, now: i64) -> String {
    format!("it holds for {}", words(grant.expires - now))
}

/// Seconds as people say them.
fn words(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A length of time in seconds.
fn period(text: &str) -> Result<i64, String> {
    let wrong = || "write it like 90s, 15m, 4h or 7d".to_owned();
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let (number, unit) = units
        .iter()
        .find_map(|(letter, seconds)| Some((text.strip_suffix(*letter)?, *seconds)))
        .ok_or_else(wrong)?;
    let seconds = number.parse::<u32>().ok().and_then(|number| i64::from(number).checked_mul(unit));
    /// Ten years: longer ones are mistakes.
    const MOST: i64 = 3_650 * 86_400;
    match seconds {
        Some(seconds @ 1..=MOST) => Ok(seconds),
        Some(_) => Err("it must be between 1s and 3650d".into()),
        None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        assert_eq!(period("90s"), Ok(90));
        assert_eq!(period("15m"), Ok(900));
        assert_eq!(period("4h"), Ok(14_400));
        assert_eq!(period("7d"), Ok(604_800));
        for wrong in ["", "5", "s", "-1s", "0s", "4000d", "1.5h", "1w", "99999999999s"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            [words(90), words(900), words(14_400), words(604_800)],
            ["90 s", "15 min", "4 h", "7 days"]
        );
    }
}
