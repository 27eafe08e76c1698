//! VP9 from RTP (RFC 9628). A frame of each spatial layer is a unit; together they are a superframe (VP9, Annex B).

use bytes::Bytes;

use super::fragment::Fragment;
use super::{AccessUnit, Damaged};

/// The packets of a picture.
#[derive(Debug, Default)]
pub struct Payloads {
    fragment: Fragment,
}

impl Payloads {
    pub(super) fn handle(&mut self, payload: &Bytes, unit: &mut AccessUnit) -> Result<(), Damaged> {
        let descriptor = Descriptor::read(payload).ok_or(Damaged)?;
        let body = payload.get(descriptor.length..).filter(|body| !body.is_empty()).ok_or(Damaged)?;
        let cut = if descriptor.begins { self.fragment.begin(&[]) } else { Ok(()) };
        self.fragment.extend(body)?;
        if descriptor.ends
            && let Some(frame) = self.fragment.take()
        {
            unit.picture = true;
            // The layers above may be predicted from the keyframe's lowest one only.
            unit.keyframe |= unit.units.is_empty() && is_key(&frame);
            unit.units.push(frame);
        }
        cut
    }

    pub(super) fn finish(&mut self) -> Result<(), Damaged> {
        self.fragment.finish()
    }
}

/// What the payload descriptor says (RFC 9628, 4.2).
struct Descriptor {
    length: usize,
    begins: bool,
    ends: bool,
}

impl Descriptor {
    fn read(payload: &[u8]) -> Option<Self> {
        let mut bytes = payload.iter().copied();
        let flags = bytes.next()?;
        let [picture_id, predicted, layers, flexible] = [0x80, 0x40, 0x20, 0x10].map(|bit| flags & bit != 0);
        if picture_id && bytes.next()? & 0x80 != 0 {
            bytes.next()?;
        }
        if layers {
            bytes.next()?;
            if !flexible {
                bytes.next()?; // TL0PICIDX
            }
        }
        if flexible && predicted {
            // At most three references, each telling whether another follows.
            let mut more = 3;
            while more > 0 && bytes.next()? & 1 != 0 {
                more -= 1;
            }
        }
        if flags & 0x02 != 0 {
            skip_structure(&mut bytes)?;
        }
        let length = payload.len() - bytes.len();
        Some(Self { length, begins: flags & 0x08 != 0, ends: flags & 0x04 != 0 })
    }
}

/// The scalability structure (RFC 9628, 4.2.1).
fn skip_structure(bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    let head = bytes.next()?;
    let (layers, sizes, groups) = (usize::from(head >> 5) + 1, head & 0x10 != 0, head & 0x08 != 0);
    if sizes {
        bytes.nth(layers * 4 - 1)?;
    }
    if groups {
        for _ in 0..bytes.next()? {
            let references = usize::from(bytes.next()? >> 2 & 3);
            if references > 0 {
                bytes.nth(references - 1)?;
            }
        }
    }
    Some(())
}

/// Whether a frame's uncompressed header says that it is a keyframe (VP9, 6.2): neither one that only shows an older frame.
fn is_key(frame: &[u8]) -> bool {
    let Some(&first) = frame.first() else { return false };
    let reserved = if first & 0x30 == 0x30 { 1 } else { 0 };
    let bits = (first << 4) << reserved;
    // show_existing_frame, frame_type
    bits & 0xc0 == 0
}

/// A picture's frames as a sample has them: alone, or as a superframe with its index.
#[must_use]
pub fn superframe(frames: &[Bytes]) -> Bytes {
    if let [frame] = frames {
        return frame.clone();
    }
    let count = frames.len().min(8);
    let frames = &frames[..count];
    let marker = 0xc0 | 3 << 3 | u8::try_from(count.saturating_sub(1)).unwrap_or(7);
    let mut out: Vec<u8> = frames.concat();
    out.push(marker);
    for frame in frames {
        out.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.push(marker);
    out.into()
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;
    use crate::core::depacketizer::Depacketizer;

    fn unit(payloads: &[&[u8]]) -> AccessUnit {
        let mut depacketizer = Depacketizer::new(Codec::Vp9).unwrap();
        for payload in payloads {
            depacketizer.handle_payload(&Bytes::copy_from_slice(payload), false);
        }
        depacketizer.finish().unwrap()
    }

    #[test]
    fn descriptors_of_every_form_are_taken_off() {
        let key = 0x82;
        let inter = 0x86;
        let plain = unit(&[&[0x88, 0x80, 0x01, key, 1], &[0x84, 0x80, 0x01, 2]]);
        assert_eq!(plain.units, [Bytes::copy_from_slice(&[key, 1, 2])]);
        assert!(plain.keyframe && plain.intact);
        // Flexible mode with two references; layers and TL0PICIDX; a structure of one layer with sizes and one group.
        let flexible = unit(&[&[0x40 | 0x10 | 0x0c, 0x03, 0x04, inter, 7]]);
        assert_eq!(flexible.units, [Bytes::copy_from_slice(&[inter, 7])]);
        assert!(!flexible.keyframe && flexible.intact);
        let structured =
            unit(&[&[0x20 | 0x0c | 0x02, 0x00, 0x05, 0x18, 0, 64, 0, 64, 1, 0x04, 0x01, key, 8]]);
        assert_eq!(structured.units, [Bytes::copy_from_slice(&[key, 8])]);
        assert!(structured.keyframe);
    }

    #[test]
    fn spatial_layers_make_a_superframe() {
        let layers = unit(&[&[0x20 | 0x0c, 0x00, 0x05, 0x82, 1], &[0x20 | 0x0c, 0x02, 0x05, 0x86, 2, 3]]);
        assert_eq!(layers.units.len(), 2);
        let marker = 0xc0 | 3 << 3 | 1;
        let expected = [0x82, 1, 0x86, 2, 3, marker, 2, 0, 0, 0, 3, 0, 0, 0, marker];
        assert_eq!(superframe(&layers.units), &expected[..]);
    }

    #[test]
    fn damage_is_seen() {
        let no_start: &[u8] = &[0x04, 1];
        let no_end: &[u8] = &[0x08, 0x82, 1];
        let short: &[u8] = &[0x80 | 0x08, 0x80];
        let nothing: &[u8] = &[0x0c];
        let structure: &[u8] = &[0x0c | 0x02, 0xf8, 1];
        for bad in [no_start, no_end, short, nothing, structure] {
            assert!(!unit(&[bad, &[0x0c, 0x86, 5]]).intact, "{bad:x?}");
        }
    }
}
