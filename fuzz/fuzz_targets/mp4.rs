//! MP4 files as `bicast publish` reads them. Its crate stands on OpenH264, Opus and a whole WebRTC stack, which would be built
//! with sanitizers for two files of it: the files themselves are taken instead.

#![no_main]

#[path = "../../publish/src/core/budget.rs"]
mod budget;
#[allow(dead_code)]
#[path = "../../publish/src/core/samples.rs"]
mod samples;

use std::io::Cursor;

use bicast_shared::time::ClockRate;
use budget::Budget;
use mp4::Mp4Reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Known: the `mp4` crate allocates what a broken `meta` box says, before it looks whether that much is there.
    if data.windows(4).any(|four| four == b"meta") {
        return;
    }
    let size = data.len() as u64;
    let Ok(reader) = Mp4Reader::read_header(Budget::for_headers(Cursor::new(data), size), size) else {
        return;
    };
    let movie = ClockRate::new(reader.timescale());
    for track in reader.tracks().values() {
        let delay = samples::initial_delay(track, movie);
        let Ok(found) = samples::samples(track) else { continue };
        assert_eq!(found.len(), track.trak.mdia.minf.stbl.stsz.sample_count as usize);
        for pair in found.windows(2) {
            assert_eq!(pair[1].decode, pair[0].decode + i64::from(pair[0].duration), "decode times run on");
        }
        for sample in &found {
            assert!(sample.size <= 64 << 20);
            assert!(sample.offset.checked_add(sample.size.into()).is_some());
            assert!(sample.present.checked_add(delay).is_some());
        }
        let end = samples::end(&found);
        assert!(end.checked_add(delay).is_some());
        assert!(!samples::reordered(&found) || found.len() > 1);
        let gap = samples::longest_gap(&found, end.max(1));
        assert_eq!(gap.is_some(), found.iter().any(|sample| sample.sync));
    }
});
