//! What we tell viewers over RTCP: sender reports, answers to their clock, and goodbye.

use bicast_shared::feed::info::TimelineMap;
use bicast_shared::id::TrackId;
use bicast_shared::time::{ClockRate, MediaTime, ProgramTime};

/// What a sender report says of one stream (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenderReport {
    pub(crate) ssrc: u32,
    pub(crate) ntp: u64,
    pub(crate) rtp_timestamp: u32,
    pub(crate) packets: u32,
    pub(crate) octets: u32,
}

/// The middle 32 bits of an NTP time, as reports refer to it.
pub(crate) const fn middle(ntp: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the middle 32 bits are meant")]
    let middle = (ntp >> 16) as u32;
    middle
}

/// The RTP timestamp that stands at `utc` on the feed's timeline: the inverse of [`TimelineMap::program_time`].
pub(crate) fn rtp_at(map: &TimelineMap, track: TrackId, rate: ClockRate, utc: ProgramTime) -> u32 {
    let nanos = (utc - map.anchor).saturating_sub(map.track(track, rate).offset_nanos);
    MediaTime(bicast_shared::time::scale(nanos, rate.hz().into(), 1_000_000_000)).rtp()
}

/// A sender report with the name of its source: one compound per stream, which every receiver understands.
pub(crate) fn sender_report(report: &SenderReport, cname: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, 200, 0, 6]);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&report.ntp.to_be_bytes());
    out.extend_from_slice(&report.rtp_timestamp.to_be_bytes());
    out.extend_from_slice(&report.packets.to_be_bytes());
    out.extend_from_slice(&report.octets.to_be_bytes());
    let name = cname.as_bytes().get(..cname.len().min(255)).unwrap_or_default();
    // An item list ends with at least one zero and is padded to words (RFC 3550, 6.5).
    let words = (4 + 2 + name.len() + 1).div_ceil(4);
    let start = out.len();
    out.extend_from_slice(&[0x81, 202]);
    out.extend_from_slice(&u16::try_from(words).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&[1, u8::try_from(name.len()).unwrap_or(0)]);
    out.extend_from_slice(name);
    out.resize(start + 4 + words * 4, 0);
}

/// The answer to a reference time: when it came (its middle 32 bits) and how long ago, in 65,536ths of a second
/// (RFC 3611, 4.5), behind an empty receiver report, because a compound has to begin with a report.
pub(crate) fn delay_since(ssrc: u32, viewer: u32, last: u32, delay: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x80, 201, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[0x80, 207, 0, 5]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[5, 0, 0, 3]);
    out.extend_from_slice(&viewer.to_be_bytes());
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&delay.to_be_bytes());
}

/// Goodbye from these streams (at most 31).
pub(crate) fn goodbye(ssrcs: &[u32], out: &mut Vec<u8>) {
    let Some(first) = ssrcs.first() else { return };
    let count = u8::try_from(ssrcs.len().min(31)).unwrap_or(31);
    out.extend_from_slice(&[0x80, 201, 0, 1]);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&[0x80 | count, 203, 0, count]);
    ssrcs.iter().take(31).for_each(|ssrc| out.extend_from_slice(&ssrc.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use bicast_shared::feed::info::TrackMap;
    use rtc_rtcp::goodbye::Goodbye;
    use rtc_rtcp::packet::unmarshal;
    use rtc_rtcp::sender_report::SenderReport as Theirs;
    use rtc_rtcp::source_description::SourceDescription;

    use super::*;

    fn map() -> TimelineMap {
        TimelineMap {
            version: 0,
            anchor: ProgramTime::from_unix_nanos(1_795_411_739_123_456_789),
            tracks: vec![TrackMap {
                track: TrackId(1),
                rate: ClockRate::OPUS,
                offset_nanos: -12_345_678,
                slewed_nanos: 0,
                related: true,
            }],
        }
    }

    #[test]
    fn the_pair_of_a_report_lies_on_the_timeline() {
        for (track, rate) in [(TrackId(0), ClockRate::VIDEO), (TrackId(1), ClockRate::OPUS)] {
            for ticks in [0, 1, 900_000, 123_456_789_012] {
                let utc = map().program_time(track, rate, MediaTime(ticks));
                assert_eq!(rtp_at(&map(), track, rate, utc), MediaTime(ticks).rtp(), "{ticks}");
            }
        }
    }

    #[test]
    fn reports_are_understood_by_an_independent_reader() {
        for cname in ["", "a", "ab", "abc", "abcd", "bicast-session"] {
            let mut out = Vec::new();
            let report =
                SenderReport { ssrc: 7, ntp: 1 << 40 | 3, rtp_timestamp: 9, packets: 11, octets: 13 };
            sender_report(&report, cname, &mut out);
            let packets = unmarshal(&mut &out[..]).unwrap();
            let theirs = packets[0].as_any().downcast_ref::<Theirs>().unwrap();
            assert_eq!((theirs.ssrc, theirs.ntp_time, theirs.rtp_time), (7, 1 << 40 | 3, 9));
            assert_eq!((theirs.packet_count, theirs.octet_count), (11, 13));
            let names = packets[1].as_any().downcast_ref::<SourceDescription>().unwrap();
            assert_eq!(names.chunks[0].source, 7);
            assert_eq!(names.chunks[0].items[0].text, cname.as_bytes());
        }
    }

    #[test]
    fn goodbye_and_delays_are_well_formed() {
        let mut out = Vec::new();
        goodbye(&[1, 2, 3], &mut out);
        let packets = unmarshal(&mut &out[..]).unwrap();
        assert_eq!(packets[1].as_any().downcast_ref::<Goodbye>().unwrap().sources, [1, 2, 3]);
        let mut out = Vec::new();
        delay_since(1, 2, 3, 4, &mut out);
        assert_eq!(unmarshal(&mut &out[..]).unwrap().len(), 2);
        assert_eq!(middle(0x0011_2233_4455_6677), 0x2233_4455);
    }
}
