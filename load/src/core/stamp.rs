//! The time of sending in a packet's payload: its last 16 bytes.
//!
//! No byte of it is below 0x40, so that it never completes a start code of H.264 (Annex B), whoever scans for them.

/// Bytes at the end of a payload.
pub const SIZE: usize = 16;
const MAGIC: [u8; 6] = *b"bicast";

/// Appends the stamp of `nanos` since the Unix epoch.
pub fn write(nanos: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    // Seven bits a byte, the highest first.
    out.extend((0..10).rev().map(|n| 0x80 | u8::try_from(nanos >> (7 * n) & 0x7f).unwrap_or(0)));
}

/// The stamp at the end of a payload; none where there is no such.
#[must_use]
pub fn read(payload: &[u8]) -> Option<u64> {
    let stamp = payload.last_chunk::<SIZE>()?;
    let (magic, digits) = stamp.split_at(MAGIC.len());
    (magic == MAGIC).then(|| digits.iter().fold(0, |nanos, digit| nanos << 7 | u64::from(digit & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for nanos in [0, 1, 1_795_411_739_123_456_789, u64::MAX] {
            let mut payload = vec![0x41, 0, 0];
            write(nanos, &mut payload);
            assert_eq!(payload.len(), 3 + SIZE);
            assert_eq!(read(&payload), Some(nanos));
            assert!(payload[3..].iter().all(|byte| *byte >= 0x40));
            assert_eq!(read(&payload[..18]), None);
        }
        assert_eq!(read(b"an H.264 slice of somebody else"), None);
        assert_eq!(read(&[]), None);
    }
}
