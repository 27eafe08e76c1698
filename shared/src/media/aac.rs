//! AAC in RTP (RFC 3640): what a publisher's `a=fmtp` says of it, and the AudioSpecificConfig in there (ISO/IEC 14496-3, 1.6.2.1).

use serde::{Deserialize, Serialize};

use super::parameter;
use crate::time::ClockRate;

/// Samples in an access unit.
pub const FRAME: u32 = 1_024;

/// The largest access unit, in bytes: its size has 13 bits (RFC 3640, 3.3.6).
pub const LARGEST: usize = (1 << 13) - 1;

/// Sample rates by their index in the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.3.4). The next one is 7,350, which is left out.
const RATES: [u32; 12] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];

/// Object type of AAC-LC (ISO/IEC 14496-3, 1.5.1.1).
const LOW_COMPLEXITY: u32 = 2;

/// How a stream of AAC-LC is coded: its rate, and one or two channels. Written down as its AudioSpecificConfig in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AacConfig {
    rate: ClockRate,
    channels: u8,
}

/// Why a stream of AAC is not taken: the end of a sentence that begins with the offer, with the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AacRefusal {
    /// Another mode of RFC 3640.
    #[error("mode={0:?} is not taken; send mode=AAC-hbr")]
    Mode(String),
    /// Headers of other lengths, or with fields that AAC-hbr does not have.
    #[error("{0}={1:?} does not belong to mode=AAC-hbr; send sizeLength=13;indexLength=3;indexDeltaLength=3")]
    Header(&'static str, String),
    /// Access units out of their order.
    #[error("{0} says that it is interleaved; send access units in their order")]
    Interleaved(&'static str),
    /// No configuration.
    #[error("its a=fmtp has no config; send the AudioSpecificConfig there, in hex")]
    NoConfig,
    /// No configuration that can be read.
    #[error("config={0:?} is no AudioSpecificConfig of AAC; send it in hex, like 1190 for stereo at 48 kHz")]
    BadConfig(String),
    /// Another kind of AAC.
    #[error("its config says object type {0}, and AAC-LC (2) is what is taken; set the encoder to AAC-LC{he}", he = he(*.0))]
    ObjectType(u32),
    /// 960 samples in a frame, or a core coder underneath.
    #[error(
        "its config says frames of 960 samples or a core coder; set the encoder to frames of 1024 samples"
    )]
    Framing,
    /// More channels than two, or a description of them in its frames.
    #[error(
        "its config says channel configuration {0}, and one or two channels are taken; set the encoder to stereo"
    )]
    Channels(u32),
    /// An odd sample rate.
    #[error("its config says {0} Hz; set the encoder to 48000 or 44100 Hz")]
    Rate(u32),
    /// RTP's clock does not count samples.
    #[error(
        "a=rtpmap says a clock of {clock} Hz and the config {sampled} Hz; both must be the sampling rate"
    )]
    Clock {
        /// What `a=rtpmap` says.
        clock: u32,
        /// What the configuration says.
        sampled: u32,
    },
}

fn he(object_type: u32) -> &'static str {
    if matches!(object_type, 5 | 29) {
        ", or let it signal its HE-AAC implicitly, as the AAC-LC inside"
    } else {
        ""
    }
}

impl AacConfig {
    /// AAC-LC of `hz` samples a second (8,000 to 96,000, one of the standard's rates) in `channels` (1 or 2).
    ///
    /// # Errors
    /// [`AacRefusal::Rate`] and [`AacRefusal::Channels`].
    pub fn new(hz: u32, channels: u8) -> Result<Self, AacRefusal> {
        if !RATES.contains(&hz) {
            return Err(AacRefusal::Rate(hz));
        }
        if !matches!(channels, 1 | 2) {
            return Err(AacRefusal::Channels(channels.into()));
        }
        Ok(Self { rate: ClockRate::new(hz), channels })
    }

    /// The stream that an `a=fmtp` describes, on an RTP clock of `clock` Hz: mode AAC-hbr, not interleaved.
    ///
    /// # Errors
    /// What it has that is not taken here, with the next step.
    pub fn from_fmtp(fmtp: &str, clock: u32) -> Result<Self, AacRefusal> {
        let shown = |value: &str| value.chars().take(40).collect::<String>();
        match parameter(fmtp, "mode") {
            Some(mode) if mode.eq_ignore_ascii_case("AAC-hbr") => {}
            other => return Err(AacRefusal::Mode(shown(other.unwrap_or_default()))),
        }
        let number = |name| parameter(fmtp, name).map_or(Some(0), |value| value.parse::<u32>().ok());
        for (name, wanted) in [("sizeLength", 13), ("indexLength", 3), ("indexDeltaLength", 3)] {
            if number(name) != Some(wanted) {
                return Err(AacRefusal::Header(name, shown(parameter(fmtp, name).unwrap_or_default())));
            }
        }
        let absent = [
            "CTSDeltaLength",
            "DTSDeltaLength",
            "randomAccessIndication",
            "streamStateIndication",
            "auxiliaryDataSizeLength",
        ];
        for name in absent {
            if number(name) != Some(0) {
                return Err(AacRefusal::Header(name, shown(parameter(fmtp, name).unwrap_or_default())));
            }
        }
        for name in ["maxDisplacement", "de-interleaveBufferSize"] {
            if number(name) != Some(0) {
                return Err(AacRefusal::Interleaved(name));
            }
        }
        let config: Self = parameter(fmtp, "config").ok_or(AacRefusal::NoConfig)?.parse()?;
        let sampled = config.rate.hz();
        if clock == sampled { Ok(config) } else { Err(AacRefusal::Clock { clock, sampled }) }
    }

    /// Samples per second, which is RTP's clock, too.
    #[must_use]
    pub const fn rate(self) -> ClockRate {
        self.rate
    }

    /// Channels: 1 or 2.
    #[must_use]
    pub const fn channels(self) -> u8 {
        self.channels
    }

    /// The AudioSpecificConfig, without what could stand behind it: decoders find SBR by themselves.
    #[must_use]
    pub fn specific(self) -> [u8; 2] {
        let index = RATES.iter().position(|rate| *rate == self.rate.hz()).unwrap_or(3);
        let bits = (LOW_COMPLEXITY << 11)
            | (u32::try_from(index).unwrap_or(3) << 7)
            | (u32::from(self.channels) << 3);
        u16::try_from(bits).unwrap_or_default().to_be_bytes()
    }

    /// An access unit of silence: one element of which no band is coded, so that it fits any rate.
    #[must_use]
    pub const fn silence(self) -> &'static [u8] {
        match self.channels {
            1 => &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80],
            _ => &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
        }
    }

    /// The `a=fmtp` that describes it (RFC 3640, 4.1).
    #[must_use]
    pub fn fmtp(self) -> String {
        // 41: AAC profile, level 2: two channels, up to 48 kHz (ISO/IEC 14496-3, table 1.14).
        format!(
            "streamtype=5;profile-level-id=41;mode=AAC-hbr;config={self};sizelength=13;indexlength=3;indexdeltalength=3"
        )
    }
}

impl std::fmt::Display for AacConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, second] = self.specific();
        write!(f, "{first:02x}{second:02x}")
    }
}

impl std::str::FromStr for AacConfig {
    type Err = AacRefusal;

    fn from_str(hex: &str) -> Result<Self, AacRefusal> {
        let bad = || AacRefusal::BadConfig(hex.chars().take(40).collect());
        let mut bits = Bits(hex, 0);
        let mut read = |count| bits.read(count).ok_or_else(bad);
        let object_type = match read(5)? {
            31 => 32 + read(6)?,
            object_type => object_type,
        };
        if object_type != LOW_COMPLEXITY {
            return Err(AacRefusal::ObjectType(object_type));
        }
        let hz = match read(4)? {
            15 => read(24)?,
            index => usize::try_from(index)
                .ok()
                .and_then(|at| RATES.get(at).copied())
                .ok_or(AacRefusal::Rate(7_350))?,
        };
        let channels = read(4)?;
        // GASpecificConfig (4.4.1): frames of 960 samples, a core coder; AAC-LC has no extension.
        if read(1)? != 0 || read(1)? != 0 {
            return Err(AacRefusal::Framing);
        }
        if read(1)? != 0 {
            return Err(bad());
        }
        Self::new(hz, u8::try_from(channels).unwrap_or(u8::MAX))
    }
}

impl TryFrom<String> for AacConfig {
    type Error = AacRefusal;

    fn try_from(hex: String) -> Result<Self, AacRefusal> {
        hex.parse()
    }
}

impl From<AacConfig> for String {
    fn from(config: AacConfig) -> Self {
        config.to_string()
    }
}

/// A hexadecimal text as bits, and how many of them were read.
struct Bits<'a>(&'a str, usize);

impl Bits<'_> {
    /// The next `count` bits, at most 32. None at the text's end, and where it is no digit.
    fn read(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for at in self.1..self.1 + count {
            let digit = char::from(*self.0.as_bytes().get(at / 4)?).to_digit(16)?;
            value = value << 1 | digit >> (3 - at % 4) & 1;
        }
        self.1 += count;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As GStreamer's rtpmp4gpay writes it.
    const GSTREAMER: &str = "streamtype=5;profile-level-id=2;mode=AAC-hbr;config=1210;sizelength=13;indexlength=3;indexdeltalength=3";

    fn refusal(from: &str, to: &str) -> String {
        let fmtp = GSTREAMER.replace(from, to);
        assert_ne!(fmtp, GSTREAMER);
        AacConfig::from_fmtp(&fmtp, 44_100).unwrap_err().to_string()
    }

    #[test]
    fn every_rate_and_both_channels_are_read_as_they_are_written() {
        for hz in RATES {
            for channels in [1, 2] {
                let config = AacConfig::new(hz, channels).unwrap();
                assert_eq!(AacConfig::from_fmtp(&config.fmtp(), hz), Ok(config));
                let json = serde_json::to_string(&config).unwrap();
                assert_eq!(serde_json::from_str::<AacConfig>(&json).unwrap(), config);
            }
        }
        assert_eq!(AacConfig::new(48_000, 2).unwrap().specific(), [0x11, 0x90]);
        assert_eq!(AacConfig::from_fmtp(GSTREAMER, 44_100), AacConfig::new(44_100, 2));
        // The rate in 24 bits, and implicit SBR behind (sync extension 0x2b7) that only its own decoders look at.
        assert_eq!("1780ac4410".parse(), AacConfig::new(88_200, 2));
        assert_eq!("139056e5a5".parse(), AacConfig::new(22_050, 2));
    }

    #[test]
    fn what_is_not_taken_says_what_to_do() {
        for (from, to, says) in [
            ("AAC-hbr", "AAC-lbr", "mode=AAC-hbr"),
            ("mode=AAC-hbr;", "", "mode=AAC-hbr"),
            ("sizelength=13", "sizelength=6", "sizeLength=\"6\""),
            (";indexdeltalength=3", "", "indexDeltaLength=\"\""),
            (";config", ";CTSDeltaLength=16;config", "CTSDeltaLength=\"16\""),
            (";config", ";maxDisplacement=5;config", "in their order"),
            ("config=1210;", "", "has no config"),
            ("1210", "12", "like 1190"),
            ("1210", "wxyz", "like 1190"),
            ("1210", "", "like 1190"),
            ("1210", "2b920800", "object type 5"),
            ("1210", "eb8a0800", "object type 29"),
            ("1210", "f8f6", "object type 39"),
            ("1210", "1214", "1024 samples"),
            ("1210", "1230", "channel configuration 6"),
            ("1210", "1200", "channel configuration 0"),
            ("1210", "1610", "7350 Hz"),
            ("1210", "1190", "a clock of 44100 Hz and the config 48000 Hz"),
        ] {
            let text = refusal(from, to);
            assert!(text.contains(says), "{to}: {text}");
        }
        assert!(refusal("1210", "2b920800").contains("AAC-LC inside"));
        assert!(refusal("1210", &"z".repeat(900)).len() < 200, "bounded");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text: String, hex in "[0-9a-f]{0,40}", clock: u32) {
            let _ = AacConfig::from_fmtp(&text, clock);
            if let Ok(config) = hex.parse::<AacConfig>() {
                assert!(RATES.contains(&config.rate().hz()) && matches!(config.channels(), 1 | 2));
                assert_eq!(config.to_string().parse(), Ok(config));
            }
        }
    }
}
