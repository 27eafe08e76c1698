//! Boxes in front of a chunk that carry time and events: prft and emsg (ISO/IEC 14496-12, 8.16.5; 23009-1, 5.10.3.3).

use super::boxes::{Found, u32_at};
use super::ledger::{At, Ledger};

/// From 1900, as NTP counts, to 1970.
const TO_UNIX: u64 = 2_208_988_800;

/// Judges them, where there are any. `begin`: the chunk's decode time.
pub(super) fn judge(ledger: &mut Ledger, at: At<'_>, list: &[Found<'_>], begin: Option<u64>) {
    let moof = list.iter().position(|found| found.kind == *b"moof").unwrap_or(list.len());
    for (place, found) in list.iter().enumerate() {
        match &found.kind {
            b"prft" => {
                ledger.judge(75, place < moof, at, || "a prft behind its moof".into());
                let time = reference(found.body);
                ledger.judge(75, time.is_some_and(|(ntp, _)| ntp >> 32 > TO_UNIX), at, || {
                    "a prft without a time after 1970".into()
                });
                let said = time.map(|(_, media)| media);
                ledger.judge(75, said == begin, at, || {
                    format!("a prft of media time {said:?} in front of tfdt {begin:?}")
                });
            }
            b"emsg" => {
                let right = place < moof && found.body.first() == Some(&1);
                ledger.judge(75, right, at, || "an emsg behind its moof, or not of version 1".into());
            }
            _ => {}
        }
    }
}

/// NTP time and media time of a prft of version 1.
fn reference(body: &[u8]) -> Option<(u64, u64)> {
    let long = |at| Some(u64::from(u32_at(body, at)?) << 32 | u64::from(u32_at(body, at + 4)?));
    (body.first() == Some(&1)).then(|| long(8).zip(long(16)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prft(version: u8, seconds: u32, media: u32) -> Vec<u8> {
        let words = [1, seconds, 0, 0, media];
        [&[version, 0, 0, 24][..], &words.map(u32::to_be_bytes).concat()].concat()
    }

    fn broken(list: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let list: Vec<_> = list.iter().map(|(kind, body)| Found { kind: **kind, body, start: 0 }).collect();
        let mut ledger = Ledger::default();
        judge(&mut ledger, At::whole("u"), &list, Some(9));
        ledger.broken()
    }

    #[test]
    fn times_and_events_can_be_wrong() {
        const NOW: u32 = 4_000_000_000;
        let moof = (b"moof", &[][..]);
        let good = prft(1, NOW, 9);
        assert_eq!(broken(&[(b"prft", &good), (b"emsg", &[1]), moof]), [0_u8; 0]);
        assert_eq!(broken(&[moof, (b"prft", &good)]), [75]);
        assert_eq!(broken(&[(b"prft", &prft(1, NOW, 8)), moof]), [75]);
        assert_eq!(broken(&[(b"prft", &prft(0, NOW, 9)), moof]), [75]);
        assert_eq!(broken(&[(b"prft", &prft(1, 1_000, 9)), moof]), [75], "no NTP");
        assert_eq!(broken(&[moof, (b"emsg", &[1])]), [75]);
        assert_eq!(broken(&[(b"emsg", &[0]), moof]), [75]);
    }
}
