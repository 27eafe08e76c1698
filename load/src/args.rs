//! The command line of `bicast bench viewers`.

use std::time::Duration;

use url::Url;

use crate::core::feed::Shape;
use crate::core::publisher::Manner;
use crate::core::ramp::Ramp;

const EXAMPLES: &str = "\
Examples:
  Ten viewers of a feed for ten seconds:
    bicast bench viewers --whep http://127.0.0.1:8080/whep/demo

  How many viewers does one core hold? Server on core 0, everything of the generator on core 1:
    taskset -c 0 bicast serve --set sfu.workers=1 &
    bicast bench viewers --whep http://127.0.0.1:8080/whep/load --publish \\
      --viewers 1500 --ramp 100/s --duration 30 --cpu 1 --server-pid $!

  500 joins within 2 s on a feed with a keyframe every 10 s, whose encoder ignores requests:
    bicast bench viewers --whep http://127.0.0.1:8080/whep/load --publish --gop 10 --deaf \\
      --settle 12 --viewers 500 --ramp 2s

  The latency that a loaded server adds, with feeds that are not in step:
    bicast bench viewers --whep http://127.0.0.1:8080/whep/load --publish --feeds 25 \\
      --viewers 2000 --ramp 200/s --duration 30 --cpu 1 --server-pid PID

Every viewer has its own socket, ICE agent, DTLS handshake and SRTP keys. The sequence number of every packet is checked;
a share of them (--authenticate) is decrypted, and everything until the first picture. Join times count from the moment the
POST is handed to a connection. Latency is the time from the synthetic feed's send to the kernel's receive time stamp, so it
needs --publish and a server on this machine or one with the same clock.

The run is void, and says so, when the generator's core was busier than 85 % in any second, or when any decrypted packet was
not authentic. Exit codes: 0 the run counts, 1 it could not be made, 2 wrong arguments, 3 void.";

/// Watch a WHEP server with many real viewers and measure what they get.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The feed to watch, like http://127.0.0.1:8080/whep/demo
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    pub whep: Url,

    /// Token that the server wants to see, sent as `Authorization: Bearer TOKEN`
    #[arg(long, env = "BICAST_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// How many viewers
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub viewers: u32,

    /// Spread them over so many feeds: the last part of the addresses gets -1, -2, … appended
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub feeds: u32,

    /// How they come: so many each second (100/s), or all within some seconds (2s)
    #[arg(long, value_name = "N/s|SECONDS", default_value = "50/s")]
    pub ramp: Ramp,

    /// Seconds to go on after the last one has come
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub duration: Duration,

    /// Share of the packets to decrypt and authenticate: 0.02 or 2%
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = share)]
    pub authenticate: f64,

    /// Threads that receive
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

    /// The synthetic feed.
    #[command(flatten)]
    pub feed: FeedArgs,
}

/// What `--publish` sends.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Synthetic feed")]
pub struct FeedArgs {
    /// Publish a synthetic feed whose packets carry the time they were sent at; without URL to the WHIP address that belongs
    /// to --whep
    #[arg(long, value_name = "URL", num_args = 0..=1, value_parser = endpoint)]
    pub publish: Option<Option<Url>>,

    /// Video packets each second
    #[arg(long, value_name = "N", default_value = "260", value_parser = rate, requires = "publish")]
    pub video_packets: f64,

    /// Pictures each second
    #[arg(long, value_name = "N", default_value = "30", value_parser = rate, requires = "publish")]
    pub fps: f64,

    /// Seconds from one keyframe to the next when nobody asks for one
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds, requires = "publish")]
    pub gop: Duration,

    /// Packets of a keyframe
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(2..=2_000), requires = "publish")]
    pub keyframe_packets: u32,

    /// Bytes of payload in a video packet
    #[arg(long, value_name = "BYTES", default_value_t = 1_172, value_parser = clap::value_parser!(u32).range(64..=1_300), requires = "publish")]
    pub payload: u32,

    /// Ignore requests for keyframes
    #[arg(long, requires = "publish")]
    pub deaf: bool,

    /// Let video packets leave at most at so many times their average rate, as browsers do it (2.5); without it a picture's
    /// packets leave at once
    #[arg(long, value_name = "FACTOR", value_parser = pace, requires = "publish")]
    pub pace: Option<f64>,

    /// Send no sound (50 packets each second)
    #[arg(long, requires = "publish")]
    pub no_audio: bool,

    /// Seconds that the feed runs before the first viewer comes
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds, requires = "publish")]
    pub settle: Duration,
}

impl FeedArgs {
    /// How feed `n` of `feeds` is sent: their keyframes are spread over the time between two.
    #[must_use]
    pub fn manner(&self, n: u32, feeds: u32) -> Manner {
        Manner { deaf: self.deaf, pace: self.pace, phase: self.gop * n / feeds.max(1) }
    }

    /// What the feed looks like.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            packets_per_second: self.video_packets,
            frames_per_second: self.fps,
            gop: self.gop,
            payload_bytes: self.payload as usize,
            keyframe_packets: self.keyframe_packets as usize,
            audio: !self.no_audio,
        }
    }
}

impl Args {
    /// Where to publish; none where another publishes.
    ///
    /// # Errors
    /// Where no WHIP address can be told from the WHEP address.
    pub fn whip(&self) -> anyhow::Result<Option<Url>> {
        match &self.feed.publish {
            None => Ok(None),
            Some(Some(url)) => Ok(Some(url.clone())),
            Some(None) => {
                let path = self.whep.path();
                anyhow::ensure!(
                    path.contains("/whep/"),
                    "{} has no /whep/ in it: say where to publish with --publish URL",
                    self.whep
                );
                let mut whip = self.whep.clone();
                whip.set_path(&path.replacen("/whep/", "/whip/", 1));
                Ok(Some(whip))
            }
        }
    }
}

/// The address of feed `n` (from 0) of `feeds`.
#[must_use]
pub fn feed_url(url: &Url, n: u32, feeds: u32) -> Url {
    let mut url = url.clone();
    if feeds > 1 {
        url.set_path(&format!("{}-{}", url.path(), n + 1));
    }
    url
}

fn pace(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| (1.1..=100.0).contains(factor));
    factor.ok_or_else(|| "it must be between 1.1 and 100".to_owned())
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}: write it like http://127.0.0.1:8080/whep/demo"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it begins with neither http:// nor https://".into());
    }
    Ok(url)
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, like 2 or 0.5".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / unit);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write it like 0.02 or 2%".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (1.0..=20_000.0).contains(rate));
    rate.ok_or_else(|| "it must be between 1 and 20000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = ["viewers", "--whep", "http://127.0.0.1:8080/whep/demo"]
            .into_iter()
            .chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_a_small_run_of_somebody_elses_feed() {
        let args = parse("").unwrap();
        assert_eq!((args.viewers, args.threads, args.cpu), (10, 1, None));
        assert!((args.authenticate - 0.02).abs() < 1e-9);
        assert!(args.whip().unwrap().is_none());
    }

    #[test]
    fn the_whip_address_is_told_from_the_other() {
        let args = parse("--publish").unwrap();
        assert_eq!(args.whip().unwrap().unwrap().as_str(), "http://127.0.0.1:8080/whip/demo");
        assert_eq!(args.feed.shape(), Shape::default());
        let args = parse("--publish https://elsewhere/in --no-audio --gop 10 --deaf").unwrap();
        assert_eq!(args.whip().unwrap().unwrap().as_str(), "https://elsewhere/in");
        assert!(!args.feed.shape().audio && args.feed.deaf);
        assert!(parse("--deaf").is_err(), "of which feed?");
    }

    #[test]
    fn several_feeds_have_numbers() {
        let url = Url::parse("http://h/whep/demo?x=1").unwrap();
        assert_eq!(feed_url(&url, 0, 1), url);
        assert_eq!(feed_url(&url, 2, 3).as_str(), "http://h/whep/demo-3?x=1");
    }

    #[test]
    fn values_are_understood_as_people_write_them() {
        assert_eq!(share("2%"), share("0.02"));
        assert_eq!(share("1"), Ok(1.0));
        for wrong in ["", "101%", "-1", "NaN", "x"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(parse("--ramp fast").is_err() && parse("--viewers 0").is_err());
        assert!(endpoint("rtmp://a/b").is_err() && endpoint("demo").is_err());
    }
}
