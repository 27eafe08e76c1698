//! Rendition reports (4.4.5.4, B.1).

use std::collections::BTreeSet;

use url::Url;

use super::ledger::{At, Ledger};
use super::media::seconds;
use super::playlist::{Media, Tag};

/// Judges the reports of a playlist at `url` against the addresses of all (`others`: those of pictures and sound without its
/// own; `iframes`: of keyframes).
pub(crate) fn judge(ledger: &mut Ledger, url: &str, media: &Media, others: &[&str], iframes: &[Url]) {
    let at = At::whole(url);
    let Some(base) = Url::parse(url).ok().filter(|_| !media.ended && media.part_target.is_some()) else {
        return;
    };
    let path = |text: &str| base.join(text).ok().map(|url| url.path().to_owned());
    let mut said = BTreeSet::new();
    for report in &media.reports {
        let at = at.line(report.line);
        let uri = report.attributes.get("URI").unwrap_or_default();
        let relative = !uri.is_empty() && Url::parse(uri).is_err();
        ledger.judge(35, relative, at, || format!("a report of {uri:?}, which is no relative address"));
        // May be left out where it is the same as in this playlist.
        let number = |name| report.attributes.get(name).is_none_or(|text| text.parse::<u64>().is_ok());
        ledger.judge(35, number("LAST-MSN") && number("LAST-PART"), at, || {
            "LAST-MSN or LAST-PART is no number".into()
        });
        if let Some(path) = path(uri) {
            let twice = !said.insert(path);
            ledger.judge(35, !twice, at, || format!("two reports of {uri:?}"));
        }
    }
    let missing = others.iter().find(|other| path(other).is_none_or(|path| !said.contains(&path)));
    ledger.judge(35, missing.is_none(), at, || format!("no report of {missing:?}"));
    let known = |path: &String| {
        let of = |text: &str| Url::parse(text).is_ok_and(|url| url.path() == path);
        others.iter().any(|other| of(other)) || iframes.iter().any(|one| one.path() == path)
    };
    let unknown = said.iter().find(|path| !known(path));
    ledger
        .judge(35, unknown.is_none(), at, || format!("a report of {unknown:?}, which is no other rendition"));
    let of_iframes = iframes.iter().filter(|one| said.contains(one.path())).count();
    if of_iframes > 0 {
        ledger.judge(47, of_iframes == iframes.len(), at, || {
            format!("{of_iframes} of {} I-frame playlists have a report", iframes.len())
        });
    }
}

/// Judges the freshness of a report in `media`: none may be behind what its playlist had listed before this one was asked for.
pub(crate) fn judge_fresh(ledger: &mut Ledger, url: &str, media: &Media, report: &Tag, known: (u64, u64)) {
    let own = media.newest_part();
    let said = |name, own: Option<u64>| report.attributes.number(name).or(own);
    let last = said("LAST-MSN", own.map(|own| own.0)).zip(said("LAST-PART", own.map(|own| own.1)));
    if let Some(last) = last {
        ledger.judge(36, last >= known, At::whole(url).line(report.line), || {
            format!("a report of {last:?} where its playlist had {known:?} before")
        });
    }
}

/// Judges whether renditions that were loaded at the same time are level: no more than a part of each, and what a cache may hold
/// back of a plain playlist, lies between their ends.
pub(crate) fn judge_level(ledger: &mut Ledger, renditions: &[(&str, &Media)]) {
    let end = |media: &Media| {
        let newest = media.segments.iter().rev().find(|segment| segment.date.is_some())?;
        Some(newest.date? + newest.length())
    };
    let ends: Vec<_> = renditions.iter().filter_map(|(_, media)| end(media)).collect();
    let Some((least, most)) = ends.iter().min().zip(ends.iter().max()) else { return };
    let part = renditions.iter().filter_map(|(_, media)| media.part_target).max().unwrap_or(0);
    let target = renditions.iter().filter_map(|(_, media)| media.target()).max().unwrap_or(0);
    if let (Some((url, _)), true) = (renditions.first(), ends.len() > 1) {
        let room = 2 * part + target * 500_000 + 1_000_000;
        ledger.judge(36, most - least <= room, At::whole(url), || {
            format!("renditions end {} s apart", seconds(most - least))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::core::media::tests::GOOD;

    fn broken(text: &str) -> Vec<u8> {
        let iframes =
            ["http://h/v/iframes.m3u8", "http://h/w/iframes.m3u8"].map(|url| Url::parse(url).unwrap());
        let mut ledger = Ledger::default();
        let media = Media::parse(text);
        judge(&mut ledger, "http://h/v/media.m3u8?t=1", &media, &["http://h/a/media.m3u8"], &iframes);
        ledger.broken()
    }

    #[test]
    fn every_other_rendition_has_one_report() {
        assert_eq!(broken(GOOD), [0_u8; 0]);
        let report = GOOD.lines().find(|line| line.contains("REPORT")).unwrap();
        let more = |uri: &str| format!("{GOOD}{}\n", report.replace("../a/media.m3u8", uri));
        for (from, to) in [
            ("#EXT-X-RENDITION-REPORT", "#EXT-X-OTHER"),
            ("\"../a/media.m3u8\"", "\"http://h/a/media.m3u8\""),
            ("\"../a/media.m3u8\"", "\"../b/media.m3u8\""),
            ("LAST-PART=0", "LAST-PART=x"),
        ] {
            assert_eq!(broken(&GOOD.replace(from, to)), [35], "{to}");
        }
        assert_eq!(broken(&GOOD.replace(",LAST-PART=0", "")), [0_u8; 0], "the same as here");
        assert_eq!(broken(&more("../a/media.m3u8")), [35], "twice");
        assert_eq!(broken(&more("media.m3u8")), [35], "of itself");
        assert_eq!(broken(&more("iframes.m3u8")), [47], "of one, and not of the other");
    }

    #[test]
    fn reports_are_as_new_as_their_playlist() {
        let media = Media::parse(&GOOD.replace(",LAST-PART=0", ""));
        let see = |known| {
            let mut ledger = Ledger::default();
            judge_fresh(&mut ledger, "u", &media, &media.reports[0], known);
            ledger.broken()
        };
        assert_eq!(see((12, 0)), [0_u8; 0]);
        assert_eq!(see((12, 1)), [36]);
    }

    #[test]
    fn renditions_end_together() {
        let (one, near, far) = (
            Media::parse(GOOD),
            Media::parse(&GOOD.replace("00:00:03.900Z", "00:00:07.900Z")),
            Media::parse(&GOOD.replace("00:00:03.900Z", "00:00:07.901Z")),
        );
        let see = |other| {
            let mut ledger = Ledger::default();
            judge_level(&mut ledger, &[("a", &one), ("b", other)]);
            ledger.broken()
        };
        assert_eq!(see(&near), [0_u8; 0]);
        assert_eq!(see(&far), [36]);
    }
}
