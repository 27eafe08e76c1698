//! Sessions whose sound is AAC.

use std::collections::VecDeque;

use bicast_shared::id::TrackId;
use bicast_shared::media::aac::{AacConfig, FRAME};
use bicast_shared::media::{Codec, TrackInfo};
use bytes::Bytes;

use super::publisher::{BASELINE, Publisher};
use super::reader::Track;
use super::{Session, files, tracks};
use crate::core::cmaf::probe;

/// A second of a tone in stereo at 44.1 kHz, by ffmpeg, as ADTS.
const TONE: &[u8] = include_bytes!("../../../tests/fixtures/tone.aac");

/// Sends access units over and over, some packets each.
pub(crate) struct AacSource {
    config: AacConfig,
    units: Vec<Bytes>,
    /// Access units in a packet.
    together: usize,
    /// The largest piece of one.
    mtu: usize,
    sent: usize,
}

/// A packet: timestamp, marker, payload.
type Packet = (u32, bool, Bytes);

impl AacSource {
    fn tone() -> Self {
        let config = AacConfig::new(44_100, 2).unwrap();
        Self { config, units: tone(), together: 1, mtu: 1_200, sent: 0 }
    }

    /// Silence, which fits any rate.
    fn silent(hz: u32, channels: u8) -> Self {
        let config = AacConfig::new(hz, channels).unwrap();
        Self { config, units: vec![Bytes::from_static(config.silence())], together: 1, mtu: 1_200, sent: 0 }
    }

    fn track(&self, id: u8) -> TrackInfo {
        let config = self.config;
        TrackInfo::single(TrackId(id), Codec::Aac, config.rate(), config.channels(), config.fmtp())
    }

    /// What is sent until `since` milliseconds after the first packet.
    pub(crate) fn poll(&mut self, since: i64) -> Vec<Packet> {
        let mut packets = Vec::new();
        let samples = since * i64::from(self.config.rate().hz()) / 1_000;
        // A packet is sent when its last access unit has been encoded.
        while i64::try_from(self.sent + self.together - 1).unwrap() * i64::from(FRAME) <= samples {
            let timestamp = u32::try_from(self.sent).unwrap().wrapping_mul(FRAME).wrapping_add(0xffff_8000);
            let next = self.sent..self.sent + self.together;
            let units: Vec<&Bytes> = next.map(|n| &self.units[n % self.units.len()]).collect();
            self.sent += self.together;
            let size = |unit: &Bytes| u16::try_from(unit.len() << 3).unwrap().to_be_bytes();
            let packet = |media: &[u8]| -> Bytes {
                let headers: Vec<u8> = units.iter().flat_map(|unit| size(unit)).collect();
                let bits = u16::try_from(headers.len() * 8).unwrap().to_be_bytes();
                [&bits[..], &headers, media].concat().into()
            };
            let media = units.iter().map(|unit| &unit[..]).collect::<Vec<_>>().concat();
            let pieces = if self.together == 1 { self.mtu } else { media.len() };
            let count = media.len().div_ceil(pieces);
            packets.extend(
                (1..).zip(media.chunks(pieces)).map(|(n, piece)| (timestamp, n == count, packet(piece))),
            );
        }
        packets
    }
}

fn tone() -> Vec<Bytes> {
    let mut rest = TONE;
    let mut units = Vec::new();
    while let [0xff, 0xf1, _, a, b, c, ..] = *rest {
        let length = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c >> 5);
        units.push(Bytes::from_static(&rest[7..length]));
        rest = &rest[length..];
    }
    assert!(rest.is_empty() && units.len() > 40);
    units
}

/// A session of this sound, with a picture or without.
fn session(source: AacSource, picture: bool, seconds: i64, lose: fn(i64) -> bool) -> Session {
    let mut session = Session::new();
    session.lose_sound = lose;
    let mut all = tracks(picture.then_some(Codec::H264), false);
    all.push(source.track(u8::from(picture)));
    session.begin_epoch(all);
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.video = picture;
    publisher.audio_key.track = TrackId(u8::from(picture));
    publisher.aac = Some(source);
    session.run(&mut publisher, seconds * 1_000);
    session
}

/// The access units that were written, in order.
fn written(session: &Session) -> Vec<Bytes> {
    let snapshot = session.core.snapshot();
    let mut units = Vec::new();
    for segment in &snapshot.rendition("audio0").unwrap().segments {
        for part in &segment.parts {
            let samples = probe::samples(&part.data).unwrap();
            units.extend(samples.iter().map(|s| part.data.slice(s.offset..s.offset + s.size as usize)));
        }
    }
    units
}

/// How many of them are silence that nobody sent.
fn silent(session: &Session) -> usize {
    let silence = AacConfig::new(44_100, 2).unwrap().silence();
    written(session).iter().filter(|unit| unit[..] == *silence).count()
}

/// Each sample as long as 1024 of the publisher's, but for the steps by which it follows the master clock, and decoded when the one
/// before ends (the reader has looked).
fn assert_even(track: &Track) {
    assert!(track.samples.iter().all(|(_, sample)| (1_021..=1_027).contains(&sample.duration)));
    assert_eq!((track.short, track.gaps), (0, 0));
}

#[test]
fn aac_is_cut_with_the_picture_and_every_access_unit_is_there_once() {
    for together in [1, 3] {
        let session = session(AacSource { together, ..AacSource::tone() }, true, 40, |_| false);
        let (video, audio) = (session.reader.video(), session.reader.audio());
        assert_eq!((video.short, video.gaps), (0, 0));
        assert_even(audio);
        let units = tone();
        let silence = AacConfig::new(44_100, 2).unwrap().silence();
        let all = written(&session);
        // The picture may have begun before.
        let late = all.iter().take_while(|unit| unit[..] == *silence).count();
        assert!(late <= 2 * together, "{late}");
        let all = &all[late..];
        let first = units.iter().position(|unit| *unit == all[0]).unwrap();
        let expected = units.iter().cycle().skip(first);
        assert!(all.len() > 1_600 && all.iter().zip(expected).all(|(written, sent)| written == sent));
        // Both begin each segment within a frame of sound.
        for (number, sample) in &video.samples {
            let begins = video.samples.iter().find(|(n, _)| n == number).unwrap().1 == *sample;
            let Some((_, heard)) = audio.samples.iter().find(|(n, _)| n == number && begins) else {
                continue;
            };
            let late = heard.presentation - sample.presentation * 441 / 900;
            assert!((-30..1_060).contains(&late), "segment {number}: sound is {late} samples off");
        }
        let snapshot = session.core.snapshot();
        let sound = snapshot.rendition("audio0").unwrap();
        assert_eq!((sound.codecs.as_str(), sound.timescale), ("mp4a.40.2", 44_100));
    }
}

#[test]
fn sound_alone_keeps_every_rule_at_every_rate() {
    for (hz, channels) in
        [(8_000, 1), (11_025, 2), (16_000, 1), (22_050, 2), (24_000, 2), (44_100, 1), (96_000, 2)]
    {
        let session = session(AacSource::silent(hz, channels), false, 30, |_| false);
        assert_even(session.reader.audio());
        let lengths: VecDeque<f64> = session.reader.audio().segments.values().copied().collect();
        assert!(
            lengths.len() > 10 && lengths.iter().skip(1).all(|s| (1.8..2.3).contains(s)),
            "{hz}: {lengths:?}"
        );
    }
}

#[test]
fn lost_packets_are_silence_of_their_length_and_fragments_of_what_is_damaged_are_not_played() {
    // Fragments of at most 40 bytes: two or three packets for each access unit.
    let source = || AacSource { mtu: 40, ..AacSource::tone() };
    let whole = session(source(), true, 20, |_| false);
    assert_eq!(whole.core.snapshot().lost_access_units, 0);
    let lossy = session(source(), true, 20, |sequence| sequence % 100 == 50);
    assert_even(lossy.reader.audio());
    let silent = silent(&lossy);
    let lost = usize::try_from(lossy.core.snapshot().lost_access_units).unwrap();
    // What had not ended, and what had lost its beginning, is known to be lost; each loses one of 861 access units.
    assert!((15..30).contains(&silent) && lost == silent, "{silent} silent, {lost} counted");
    let (with, without) = (written(&lossy).len(), written(&whole).len());
    assert!(with.abs_diff(without) < 12, "{with} {without}: nothing moved");
}

#[test]
fn ffmpeg_decodes_aac_and_the_silence_in_it() {
    let lossy = session(AacSource::tone(), true, 12, |sequence| sequence % 100 == 50);
    let silent = silent(&lossy);
    assert!(silent >= 4, "{silent}");
    let mut sessions = vec![(lossy, 1, "aac,44100,2,1/44100".to_owned())];
    for (hz, channels) in [(8_000, 1), (16_000, 2), (48_000, 1), (96_000, 2)] {
        let silence = session(AacSource::silent(hz, channels), false, 8, |_| false);
        sessions.push((silence, 0, format!("aac,{hz},{channels},1/{hz}")));
    }
    for (mut session, rendition, expected) in sessions {
        session.end();
        let file = files::file(&session, rendition);
        let Some(text) = files::sound(&file) else { return };
        assert_eq!(text, expected);
        let samples = probe::samples(&file).unwrap().len();
        let decode = ["-v", "error", "-i", "-", "-f", "framecrc", "-"];
        let text = files::run("ffmpeg", &decode, &file).unwrap();
        let decoded = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(decoded, samples, "{expected}");
    }
}
