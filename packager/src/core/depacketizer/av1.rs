//! AV1 from RTP (the AOM's "RTP Payload Format For AV1", 4.3 and 4.4): OBUs, several to a packet or one over several.
//!
//! A sample of CMAF is a temporal unit without its delimiter, each OBU with its size (AV1-ISOBMFF, 2.4).

use bytes::{BufMut, Bytes, BytesMut};

use super::fragment::Fragment;
use super::{AccessUnit, Damaged};

/// The OBU types that matter here (AV1, 6.2.2).
pub mod obu {
    /// Sequence header.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// Temporal delimiter.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// Frame header.
    pub const FRAME_HEADER: u8 = 3;
    /// Frame: header and tiles in one.
    pub const FRAME: u8 = 6;
    /// Tile list: for other uses than video.
    pub const TILE_LIST: u8 = 8;
    /// Padding.
    pub const PADDING: u8 = 15;

    /// The type of an OBU; that of padding for an empty one.
    #[must_use]
    pub fn kind(obu: &[u8]) -> u8 {
        obu.first().map_or(PADDING, |b| (b >> 3) & 0x0f)
    }
}

/// The packets of a temporal unit.
#[derive(Debug, Default)]
pub struct Payloads {
    fragment: Fragment,
}

impl Payloads {
    pub(super) fn handle(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        let &header = payload.first().ok_or(Damaged)?;
        let (continues, goes_on) = (header & 0x80 != 0, header & 0x40 != 0);
        let (count, new_sequence) = (usize::from(header >> 4 & 3), header & 0x08 != 0);
        unit.keyframe |= new_sequence;
        let mut elements = elements(payload, count)?;
        let last = elements.pop().ok_or(Damaged)?;
        let mut first = true;
        let mut whole =
            |fragment: &mut Fragment, element: Bytes| match std::mem::take(&mut first) && continues {
                true => {
                    fragment.extend(&element)?;
                    add(&fragment.take().ok_or(Damaged)?, unit)
                }
                false => fragment.finish().and(add(&element, unit)),
            };
        let alone = elements.is_empty();
        for element in elements {
            whole(&mut self.fragment, element)?;
        }
        if !goes_on {
            return whole(&mut self.fragment, last);
        }
        if alone && continues { self.fragment.extend(&last) } else { self.fragment.begin(&last) }
    }

    pub(super) fn finish(&mut self) -> Result<(), Damaged> {
        self.fragment.finish()
    }
}

/// The OBU elements of a packet: each behind its length, but for the last one where their `count` is told (4.3).
fn elements(payload: &Bytes, count: usize) -> Result<Vec<Bytes>, Damaged> {
    let mut elements = Vec::new();
    let mut at = 1;
    while at < payload.len() {
        if count > 0 && elements.len() + 1 == count {
            elements.push(payload.slice(at..));
            return Ok(elements);
        }
        let (length, size) = leb128(&payload[at..]).ok_or(Damaged)?;
        let end = at.checked_add(size).and_then(|start| start.checked_add(length)).ok_or(Damaged)?;
        if end > payload.len() {
            return Err(Damaged);
        }
        elements.push(payload.slice(at + size..end));
        at = end;
    }
    if count > 0 && elements.len() != count { Err(Damaged) } else { Ok(elements) }
}

/// A number and how many bytes it took (AV1, 4.10.5); no OBU needs more than 32 bits.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn put_leb128(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes a whole OBU, with or without its size, and keeps it with it.
fn add(element: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
    let &header = element.first().ok_or(Damaged)?;
    if header & 0x80 != 0 {
        return Err(Damaged);
    }
    let head = if header & 0x04 != 0 { 2 } else { 1 };
    let mut body = element.get(head..).ok_or(Damaged)?;
    if header & 0x02 != 0 {
        let (length, size) = leb128(body).ok_or(Damaged)?;
        body = body.get(size..).and_then(|rest| rest.get(..length)).ok_or(Damaged)?;
    }
    let kind = obu::kind(element);
    if matches!(kind, obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING) {
        return Ok(());
    }
    let mut out = BytesMut::with_capacity(body.len() + 8);
    out.put_u8(header | 0x02);
    out.put_slice(&element[1..head]);
    put_leb128(&mut out, body.len());
    out.put_slice(body);
    let sized = out.freeze();
    if kind == obu::SEQUENCE_HEADER {
        unit.sps.push(sized.clone());
    }
    unit.picture |= matches!(kind, obu::FRAME_HEADER | obu::FRAME);
    unit.units.push(sized);
    Ok(())
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;
    use crate::core::depacketizer::Depacketizer;

    fn unit(payloads: &[&[u8]]) -> AccessUnit {
        let mut depacketizer = Depacketizer::new(Codec::Av1).unwrap();
        for payload in payloads {
            depacketizer.handle_payload(&Bytes::copy_from_slice(payload), false);
        }
        depacketizer.finish().unwrap()
    }

    const SEQUENCE: u8 = obu::SEQUENCE_HEADER << 3;
    const FRAME: u8 = obu::FRAME << 3;
    const DELIMITER: u8 = obu::TEMPORAL_DELIMITER << 3;

    #[test]
    fn elements_become_obus_with_their_sizes() {
        // W = 3: a delimiter, a sequence header, and a frame of which the rest follows in two packets.
        let first = [0x40 | 0x30 | 0x08, 1, DELIMITER, 3, SEQUENCE, 1, 2, FRAME, 3];
        let got = unit(&[&first, &[0x80 | 0x40 | 0x10, 4], &[0x80, 1, 5, 3, FRAME | 2, 1, 6]]);
        let sequence = Bytes::from_static(&[SEQUENCE | 2, 2, 1, 2]);
        let frame = Bytes::from_static(&[FRAME | 2, 3, 3, 4, 5]);
        assert_eq!(got.sps, std::slice::from_ref(&sequence));
        assert_eq!(got.units, [sequence, frame, Bytes::from_static(&[FRAME | 2, 1, 6])]);
        assert!(got.keyframe && got.picture && got.intact);
        assert!(!unit(&[&[0x10, FRAME, 1]]).keyframe);
        let extended = unit(&[&[0x10, FRAME | 4, 0x20, 9]]);
        assert_eq!(extended.units, [Bytes::from_static(&[FRAME | 4 | 2, 0x20, 1, 9])]);
    }

    #[test]
    fn damage_is_seen() {
        let no_start: &[u8] = &[0x80 | 0x10, 5];
        let no_end: &[u8] = &[0x40 | 0x10, FRAME, 5];
        let lie: &[u8] = &[0x00, 9, FRAME, 5];
        let endless: &[u8] = &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let too_few: &[u8] = &[0x30, 1, FRAME];
        let forbidden: &[u8] = &[0x10, 0x80 | FRAME, 1];
        let bad_size: &[u8] = &[0x10, FRAME | 2, 9, 1];
        for bad in [no_start, no_end, lie, endless, too_few, forbidden, bad_size, &[0x10]] {
            assert!(!unit(&[bad, &[0x10, FRAME, 5]]).intact, "{bad:x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn sizes_are_read_back(value in 0_usize..1 << 28) {
            let mut out = BytesMut::new();
            put_leb128(&mut out, value);
            assert_eq!(leb128(&out), Some((value, out.len())));
        }
    }
}
