//! The command line of `bicast bench hls`.

use std::time::Duration;

use url::Url;

use crate::args::seconds;
use crate::core::ramp::Ramp;

const EXAMPLES: &str = "\
Examples:
  Ten players of a feed for ten seconds:
    bicast bench hls http://127.0.0.1:8080/hls/demo/multivariant.m3u8

  1,000 players through a shield with a self-signed certificate:
    bicast bench hls https://127.0.0.1:8443/hls/demo/multivariant.m3u8 --insecure \\
      --clients 1000 --ramp 200/s --duration 30

  What one core of the server holds, everything of the generator on another:
    taskset -c 0 bicast serve &
    bicast bench hls http://127.0.0.1:8080/hls/demo/multivariant.m3u8 \\
      --clients 2000 --ramp 200/s --duration 30 --cpu 1 --server-pid $!

Every client is a player with connections of its own: over HTTP/2, where TLS agrees on it, one for everything; over HTTP/1.1
one for each playlist. It loads the multivariant playlist, follows its first variant and that variant's sound (a media
playlist's address follows that one), begins at the keyframe behind PART-HOLD-BACK, asks for the next version of the
playlist before it exists (blocking reload; delta updates where they are offered, gzip), and loads each part that the answer
brings. A playlist or initialization section that does not come is asked for again after 0.5 s; after four times the player
gives up. An origin that cannot be waited for is polled, one without parts is followed by whole segments, and the report says so.

Part delivery is the time from a part's first sight to its last byte at a client. First sight is the moment when the first
client of all had a playlist that names it, complete: no clock of the origin's is needed, and a client that gets the
playlist later than others has that in its delivery, too. What the origin needs before it tells anybody is not in it. Only
parts that came into being while their client was there are timed, and only while the run is steady. \"Behind its time\" is
the time from the end of a part by EXT-X-PROGRAM-DATE-TIME to its last byte; it is told where that is there and no part came
before its time, and it is as true as the two clocks are equal.

A stall: each client has a buffer that begins PART-HOLD-BACK behind the end of its first playlist, once what lies there is
loaded, plays in real time, and stands still when picture or sound runs dry, until there is media again. It never hurries
after the live edge. A part that cannot be loaded is missing in the buffer (after a broken connection it is asked for once
more); a part that the playlist calls a gap is not. Answers are waited for 40 s.

The run is void, and says so, when the generator's core was busier than 85 % in any second. Exit codes: 0 the run counts,
1 it could not be made, 2 wrong arguments, 3 void.";

/// Follow the live edge of an LL-HLS origin with many players and measure what they get.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct HlsArgs {
    /// The multivariant playlist, or a media playlist
    #[arg(value_name = "URL", value_parser = address)]
    pub url: Url,

    /// How many players
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,

    /// How they come: so many each second (100/s), or all within some seconds (2s)
    #[arg(long, value_name = "N/s|SECONDS", default_value = "50/s")]
    pub ramp: Ramp,

    /// Seconds to go on after the last one has come
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// Token that the server wants to see, sent as `Authorization: Bearer TOKEN` to the URL's own origin
    /// and to no other that its playlists name
    #[arg(long, env = "BICAST_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// Take any certificate, a self-signed one for instance
    #[arg(long)]
    pub insecure: bool,

    /// Threads that load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: u32,

    /// Run on this core only (with --threads, on it and the following ones)
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<u32>,

    /// The server's process on this machine: its CPU and memory are measured, too
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,

    /// Print one JSON object a second and one at the end ("summary"), on standard output
    #[arg(long)]
    pub json: bool,
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("{error}: write it like http://127.0.0.1:8080/hls/demo/multivariant.m3u8")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it begins with neither http:// nor https://".into());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: HlsArgs,
    }

    fn parse(line: &str) -> Result<HlsArgs, String> {
        let words = std::iter::once("hls").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_enough() {
        let args = parse("https://h/hls/demo/multivariant.m3u8").unwrap();
        assert_eq!((args.clients, args.threads, args.insecure), (10, 1, false));
        assert_eq!(args.duration, Duration::from_secs(10));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in ["", "demo", "rtmp://h/a", "http://h/a --clients 0", "http://h/a --ramp fast"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
