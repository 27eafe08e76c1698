//! The command line of `bicast publish`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};

use crate::core::endpoint::Endpoint;
use crate::core::rate::FrameRate;
use crate::error::Error;
use crate::source::{Clip, Input, PatternSettings};

const EXAMPLES: &str = "\
Examples:
  Publish the built-in test pattern to a server on this machine:
    bicast publish --test-pattern --whip http://127.0.0.1:8080/whip/demo

  Play a file in a loop, and keep trying when the server restarts:
    bicast publish holiday.mp4 --whip http://127.0.0.1:8080/whip/demo --retry

  A small picture at a low bit rate, for one minute, with numbers for a program:
    bicast publish --test-pattern --size 640x360 --bitrate 600k --duration 60 --json \\
      --whip http://127.0.0.1:8080/whip/demo

  Three encodings of one picture as simulcast layers:
    bicast publish --layer 720p.mp4 --layer 360p.mp4 --layer 180p.mp4 \\
      --whip http://127.0.0.1:8080/whip/demo

  Make a file that suits (H.264, a keyframe every 2 s at 25 fps, no B-frames, AAC):
    ffmpeg -i in.mov -c:v libx264 -g 50 -bf 0 -c:a aac -ac 2 -movflags +faststart out.mp4

The test pattern shows a clock, and carries the frame number and the time of drawing
as bar codes, so that lost frames and latency can be measured in the picture.
It beeps and flashes once a second.";

/// Encodings of one picture that servers take.
const MOST_LAYERS: usize = 4;

/// Publish a file or the test pattern over WHIP.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES, styles = styles())]
pub struct Args {
    /// MP4 file to play in a loop: H.264 is sent as it is, AAC becomes Opus unless --keep-aac is given
    #[arg(
        value_name = "FILE.mp4",
        required_unless_present_any = ["test_pattern", "layer"],
        conflicts_with_all = ["test_pattern", "layer"]
    )]
    pub file: Option<PathBuf>,

    /// MP4 file with one encoding of the picture; give two to four, the best first (simulcast). The sound is the first one's
    #[arg(long, value_name = "FILE.mp4", conflicts_with = "test_pattern")]
    pub layer: Vec<PathBuf>,

    /// Publish the built-in moving picture instead of a file
    #[arg(long)]
    pub test_pattern: bool,

    /// Where to publish, like http://127.0.0.1:8080/whip/demo
    #[arg(long, value_name = "URL")]
    pub whip: Endpoint,

    /// Token the server wants to see, sent as `Authorization: Bearer TOKEN`
    #[arg(long, env = "BICAST_TOKEN", hide_env_values = true)]
    pub token: Option<Token>,

    /// Bits per second of the test pattern's video: 2500k, 2.5M or 2500000
    #[arg(long, value_name = "BITS", default_value = "2500k", value_parser = bitrate, conflicts_with_all = ["file", "layer"])]
    pub bitrate: u32,

    /// Frames per second of the test pattern: 30, 29.97, 30000/1001
    #[arg(long, default_value = "30", conflicts_with_all = ["file", "layer"])]
    pub fps: FrameRate,

    /// Picture size of the test pattern in pixels
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = size, conflicts_with_all = ["file", "layer"])]
    pub size: (usize, usize),

    /// Seconds from one keyframe of the test pattern to the next when nobody asks for one
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds, conflicts_with_all = ["file", "layer"])]
    pub gop: Duration,

    /// Send no sound
    #[arg(long)]
    pub no_audio: bool,

    /// Send the file's AAC as it is: viewers hear it over HLS, and nothing over WebRTC
    #[arg(long, conflicts_with_all = ["test_pattern", "no_audio"])]
    pub keep_aac: bool,

    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,

    /// Keep trying when the server cannot be reached, is taken, or goes away
    #[arg(long)]
    pub retry: bool,

    /// Print nothing but warnings and errors
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,

    /// Print one JSON object a second on standard output
    #[arg(long)]
    pub json: bool,
}

/// A secret that is sent to the server and never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Args {
    /// What these arguments say to publish.
    ///
    /// # Errors
    /// When the file cannot be published.
    pub fn input(&self) -> Result<Input, Error> {
        if let Some(file) = &self.file {
            let clip = Clip::open(file, !self.no_audio)?;
            return Ok(Input::Clips(vec![if self.keep_aac { clip.keeping_aac()? } else { clip }]));
        }
        if !self.layer.is_empty() {
            if !(2..=MOST_LAYERS).contains(&self.layer.len()) {
                return Err(Error::Options(
                    "--layer is given two to four times, once for each encoding".into(),
                ));
            }
            // Only the first one's sound is sent, and only that is looked at.
            let open = |(n, file): (usize, &PathBuf)| Clip::open(file, n == 0 && !self.no_audio);
            let clips: Result<Vec<_>, _> = self.layer.iter().enumerate().map(open).collect();
            let mut clips = Clip::layers(clips?)?;
            if self.keep_aac {
                clips = clips.into_iter().map(Clip::keeping_aac).collect::<Result<_, _>>()?;
            }
            return Ok(Input::Clips(clips));
        }
        let (width, height) = self.size;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by the parsers")]
        let gop = (self.gop.as_secs_f64() * self.fps.hz()).round().max(1.0) as u32;
        Ok(Input::Pattern(PatternSettings {
            width,
            height,
            rate: self.fps,
            bitrate: self.bitrate,
            gop,
            audio: !self.no_audio,
        }))
    }
}

fn styles() -> Styles {
    Styles::styled()
        .header(AnsiColor::Green.on_default().bold())
        .usage(AnsiColor::Green.on_default().bold())
        .literal(AnsiColor::Cyan.on_default().bold())
        .placeholder(AnsiColor::Cyan.on_default())
}

fn bitrate(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix(['k', 'K', 'm', 'M']) {
        Some(number) if text.ends_with(['k', 'K']) => (number, 1e3),
        Some(number) => (number, 1e6),
        None => (text, 1.0),
    };
    let bits = number.parse::<f64>().map_err(|_| "write it like 2500k, 2.5M or 2500000".to_owned())? * unit;
    if !(50_000.0..=100_000_000.0).contains(&bits) {
        return Err("it must be between 50k and 100M".into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    let bits = bits.round() as u32;
    Ok(bits)
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let wrong = || "write it like 1280x720".to_owned();
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let (width, height): (usize, usize) =
        (width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?);
    if width % 2 == 1 || height % 2 == 1 {
        return Err("width and height must be even: the colours have half the resolution".into());
    }
    // openh264's largest picture; below the smallest the bar codes do not fit.
    if !(128..=3_840).contains(&width) || !(96..=2_160).contains(&height) {
        return Err("it must be between 128x96 and 3840x2160".into());
    }
    Ok((width, height))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.1..=1e7).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, like 2 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        publish: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("publish").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.publish).map_err(|error| error.to_string())
    }

    const WHIP: &str = "--whip http://127.0.0.1:8080/whip/demo";

    #[test]
    fn the_defaults_are_720p30_at_2500_kbit() {
        let args = parse(&format!("--test-pattern {WHIP}")).unwrap();
        let Input::Pattern(settings) = args.input().unwrap() else { panic!() };
        assert_eq!(
            (settings.width, settings.height, settings.bitrate, settings.gop),
            (1280, 720, 2_500_000, 60)
        );
        assert!(settings.audio);
    }

    #[test]
    fn values_are_understood_as_people_write_them() {
        assert_eq!(bitrate("2500k"), Ok(2_500_000));
        assert_eq!(bitrate("2.5M"), Ok(2_500_000));
        assert_eq!(bitrate("800000"), Ok(800_000));
        assert_eq!(size("640x360"), Ok((640, 360)));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1_500)));
        assert_eq!(seconds("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "x", "-5", "k", "9e99", "10", "NaN"] {
            assert!(bitrate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "1280", "1281x720", "64x64", "9999x9999", "axb"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "0", "inf", "NaN", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_token_is_never_printed() {
        let args = parse(&format!("--test-pattern --token hush-hush {WHIP}")).unwrap();
        assert_eq!(args.token.as_ref().unwrap().secret(), "hush-hush");
        assert!(!format!("{args:?}").contains("hush"));
    }

    #[test]
    fn wrong_combinations_say_what_is_wrong() {
        assert!(parse(WHIP).unwrap_err().contains("FILE.mp4"));
        assert!(parse("--test-pattern").unwrap_err().contains("--whip"));
        assert!(parse(&format!("a.mp4 --test-pattern {WHIP}")).is_err());
        assert!(parse(&format!("a.mp4 --fps 25 {WHIP}")).is_err());
        assert!(parse(&format!("a.mp4 --keep-aac {WHIP}")).unwrap().keep_aac);
        assert!(parse(&format!("--test-pattern --keep-aac {WHIP}")).is_err());
        assert!(parse(&format!("a.mp4 --layer b.mp4 {WHIP}")).is_err());
        let one = parse(&format!("--layer b.mp4 {WHIP}")).unwrap().input().unwrap_err();
        assert!(one.to_string().contains("two to four"), "{one}");
        assert!(parse("--test-pattern --whip demo").unwrap_err().contains("http://127.0.0.1:8080/whip/demo"));
        assert!(parse(&format!("no-such-file.mp4 {WHIP}")).unwrap().input().is_err());
    }
}
