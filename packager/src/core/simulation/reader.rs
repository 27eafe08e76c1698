//! A reader like hls.js, and stricter: it checks every playlist it gets against `llhls.md`'s rules and every part against
//! its playlist, and remembers the samples.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::cmaf::probe::{self, ProbedSample};
use crate::core::playlist::{self, MediaRequest};
use crate::core::snapshot::FeedSnapshot;
use crate::core::window::Segment;

/// What was seen of one rendition.
#[derive(Debug, Default)]
pub(crate) struct Track {
    /// Samples in the order of the parts, with the number of the segment they came in.
    pub(crate) samples: Vec<(u64, ProbedSample)>,
    /// Ticks of parts that were marked as gaps.
    pub(crate) gaps: i64,
    /// Media time at which each discontinuity was.
    pub(crate) discontinuities: Vec<u64>,
    /// EXTINF per segment, in seconds.
    pub(crate) segments: BTreeMap<u64, f64>,
    /// When each part was first listed, and how long it lasts.
    pub(crate) listed: Vec<(i64, f64)>,
    /// Parts shorter than 85 % that no exception covers.
    pub(crate) short: usize,
    header: Vec<String>,
    parts: BTreeMap<(u64, u64), Part>,
    hint: Option<(u64, u64)>,
    pub(crate) program_times: BTreeMap<u64, String>,
    end: Option<i64>,
    /// The newest segment of which something could be decoded.
    decodable: Option<u64>,
    /// Init sections that were hinted, and those in force at parts.
    pub(crate) hinted_inits: BTreeSet<String>,
    pub(crate) inits: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    duration: f64,
    independent: bool,
    gap: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The renditions of the newest instance.
    pub(crate) tracks: BTreeMap<String, Track>,
    pub(crate) instance: String,
    /// Instances that were read to their end, with their names.
    pub(crate) past: Vec<(String, BTreeMap<String, Track>)>,
    played: bool,
    pub(crate) first_playable: Option<i64>,
    pub(crate) ended: bool,
}

impl Reader {
    pub(crate) fn video(&self) -> &Track {
        &self.tracks["video0"]
    }

    pub(crate) fn audio(&self) -> &Track {
        &self.tracks["audio0"]
    }

    pub(crate) fn read(&mut self, snapshot: &FeedSnapshot, millis: i64) {
        if snapshot.instance != self.instance {
            assert!(self.ended || !self.played, "who plays an instance is told that it is over");
            let before = std::mem::replace(&mut self.instance, snapshot.instance.clone());
            let tracks = std::mem::take(&mut self.tracks);
            if self.played {
                self.past.push((before, tracks));
            }
            self.played = false;
        }
        if snapshot.playable() {
            self.first_playable.get_or_insert(millis);
            self.played = true;
        }
        self.ended = snapshot.ended;
        for rendition in &snapshot.renditions {
            let text = playlist::media(snapshot, &rendition.name, MediaRequest::default()).unwrap();
            let track = self.tracks.entry(rendition.name.clone()).or_default();
            track.read(&text, snapshot, rendition, millis);
        }
    }
}

impl Reader {
    /// The process has ended and another one goes on: what is behind segment `kept` was never stored.
    pub(crate) fn handle_restart(&mut self, kept: u64) {
        for track in self.tracks.values_mut() {
            track.hint = None;
            track.end = None;
            track.parts.clear();
            track.segments.retain(|number, _| *number <= kept);
            track.program_times.retain(|number, _| *number <= kept);
        }
    }
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.split_once(&format!("{name}="))?.1;
    Some(match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap().0,
        None => rest.split(',').next().unwrap(),
    })
}

fn part_name(uri: &str) -> (u64, u64) {
    let file = uri.rsplit('/').next().unwrap().strip_suffix(".m4s").unwrap();
    let (segment, part) = file.split_once('.').unwrap();
    (segment.parse().unwrap(), part.parse().unwrap())
}

impl Track {
    fn read(
        &mut self,
        text: &str,
        snapshot: &FeedSnapshot,
        rendition: &crate::core::snapshot::RenditionSnapshot,
        millis: i64,
    ) {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#EXTM3U");
        let fixed: Vec<String> = lines
            .iter()
            .filter(|line| {
                [
                    "#EXT-X-VERSION",
                    "#EXT-X-TARGETDURATION",
                    "#EXT-X-SERVER-CONTROL",
                    "#EXT-X-PART-INF",
                    "#EXT-X-INDEP",
                ]
                .iter()
                .any(|tag| line.starts_with(tag))
            })
            .map(|line| (*line).to_owned())
            .collect();
        if self.header.is_empty() {
            self.header = fixed;
        } else {
            assert_eq!(self.header, fixed, "header attributes must not change (6.2.1)");
        }
        let target = f64::from(snapshot.header.target_duration);
        let part_target = f64::from(snapshot.part_target_ms(rendition)) / 1_000.0;
        let value = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let mut number: u64 = value("#EXT-X-MEDIA-SEQUENCE:").parse().unwrap();
        let mut pending: Vec<((u64, u64), Part)> = Vec::new();
        let mut before_first_part = true;
        for line in &lines {
            if line.starts_with("#EXT-X-DISCONTINUITY") && !line.contains("SEQUENCE") {
                assert!(pending.is_empty(), "4.4.4.9: before the first part");
                if self.discontinuities.last().is_none_or(|last| *last < number) {
                    self.discontinuities.push(number);
                }
            } else if let Some(time) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
                assert!(pending.is_empty(), "4.4.4.9: before the first part");
                let known = self.program_times.entry(number).or_insert_with(|| time.to_owned());
                assert_eq!(known, time, "a segment's date is told once");
                before_first_part = false;
            } else if line.starts_with("#EXT-X-PART:") {
                assert!(!before_first_part, "every segment has its date");
                let part = Part {
                    duration: attribute(line, "DURATION").unwrap().parse().unwrap(),
                    independent: line.contains("INDEPENDENT=YES"),
                    gap: line.contains("GAP=YES"),
                };
                assert!(part.duration <= part_target, "{line} is longer than {part_target}");
                assert!(part.duration > 0.0, "{line}");
                let name = part_name(attribute(line, "URI").unwrap());
                assert_eq!(name, (number, pending.len() as u64));
                pending.push((name, part));
            } else if let Some(duration) = line.strip_prefix("#EXTINF:") {
                let duration: f64 = duration.trim_end_matches(',').parse().unwrap();
                assert!(duration.round() <= target, "segment {number} lasts {duration}");
                let sum: f64 = pending.iter().map(|(_, part)| part.duration).sum();
                assert!(pending.is_empty() || (sum - duration).abs() < 0.000_1, "{sum} is not {duration}");
                assert_eq!(*self.segments.entry(number).or_insert(duration), duration);
            } else if !line.starts_with('#') {
                self.check_parts(&pending, true, part_target, rendition, millis);
                pending.clear();
                number += 1;
                before_first_part = true;
            }
        }
        self.check_parts(&pending, false, part_target, rendition, millis);
        // With B-frames the very first frame is decoded a frame early, whose length is a guess.
        let runs_on = |pair: &&[Arc<Segment>]| !pair[1].head.discontinuity && pair[0].head.number > 0;
        for pair in rendition.segments.windows(2).filter(runs_on) {
            let step = pair[1].head.program_time - pair[0].head.program_time;
            let lasts = bicast_shared::time::scale(pair[0].ticks, 1_000_000_000, rendition.timescale);
            assert!((step - lasts).abs() < 3_000_000, "the date runs on by EXTINF: {step} {lasts}");
        }
        let of = |start: &'static str| lines.iter().filter_map(move |line| line.strip_prefix(start));
        let uris = |start| of(start).map(|rest| attribute(rest, "URI").unwrap().to_owned());
        self.hinted_inits.extend(uris("#EXT-X-PRELOAD-HINT:TYPE=MAP,"));
        self.inits.extend(uris("#EXT-X-MAP:"));
        let hint = lines.iter().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT:TYPE=PART"));
        assert_eq!(hint.is_none(), snapshot.ended, "one hint at every moment while live");
        assert_eq!(lines.last() == Some(&"#EXT-X-ENDLIST"), snapshot.ended);
        let newest = self.parts.keys().next_back().copied();
        // Nobody is given a playlist without a part.
        self.hint = hint.filter(|_| newest.is_some()).map(|line| part_name(attribute(line, "URI").unwrap()));
        if let (Some(hint), Some(newest)) = (self.hint, newest) {
            let next = [(newest.0, newest.1 + 1), (newest.0 + 1, 0)];
            assert!(next.contains(&hint), "{hint:?} does not follow {newest:?}");
        }
    }

    fn check_parts(
        &mut self,
        listed: &[((u64, u64), Part)],
        complete: bool,
        part_target: f64,
        rendition: &crate::core::snapshot::RenditionSnapshot,
        millis: i64,
    ) {
        for (at, (name, part)) in listed.iter().enumerate() {
            let last = complete && at + 1 == listed.len();
            let before_gap = listed.get(at + 1).is_some_and(|(_, next)| next.gap);
            if let Some(known) = self.parts.get(name) {
                assert_eq!(known, part, "a listed part does not change");
            } else {
                if let Some((number, index)) = self.hint.filter(|hint| hint != name) {
                    assert_eq!(*name, (number + 1, 0), "{number}.{index} was hinted");
                }
                self.hint = Some((name.0, name.1 + 1));
                self.parts.insert(*name, part.clone());
                self.listed.push((millis, part.duration));
                self.take(name, part, rendition);
            }
            let decided = complete || at + 1 < listed.len();
            let exempt = last || part.independent || part.gap || before_gap;
            let key = (name.0, name.1);
            if decided
                && !exempt
                && part.duration < 0.85 * part_target - 0.000_001
                && self.parts.contains_key(&key)
            {
                self.short += 1;
            }
        }
    }

    fn take(&mut self, name: &(u64, u64), part: &Part, rendition: &crate::core::snapshot::RenditionSnapshot) {
        let segment = rendition.segment(name.0).unwrap();
        let held = &segment.parts[usize::try_from(name.1).unwrap()];
        if name.1 == 0 && segment.head.discontinuity {
            self.end = None;
        }
        if part.gap {
            assert!(held.data.is_empty());
            self.gaps += held.ticks;
            self.end = self.end.map(|end| end + held.ticks);
            return;
        }
        let samples = probe::samples(&held.data).unwrap();
        assert!(!samples.is_empty());
        let ticks: i64 = samples.iter().map(|sample| i64::from(sample.duration)).sum();
        assert_eq!(ticks, held.ticks);
        let first = samples[0];
        if self.decodable != Some(name.0) && self.header.iter().any(|line| line.contains("INDEPENDENT")) {
            assert!(first.kind.is_sync(), "{name:?} cannot be decoded by itself");
        }
        self.decodable = Some(name.0);
        if let Some(end) = self.end {
            assert_eq!(first.decode, end, "tfdt runs on in {name:?}");
        }
        self.end = Some(first.decode + ticks);
        self.samples.extend(samples.into_iter().map(|sample| (name.0, sample)));
    }
}
