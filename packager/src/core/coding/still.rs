//! H.264: still frames, pictures of a few bytes that repeat the one before, written by ourselves where the publisher sent none.
//!
//! A P slice whose macroblocks are all skipped copies its reference exactly (H.264, 8.4.1.1: with no neighbours the
//! predicted motion is zero). It is not a reference itself (`nal_ref_idc` 0), so the publisher's next frame decodes as if it
//! had not been there. Only streams coded with CAVLC are served, which is what browsers' constrained baseline is: with CABAC
//! the skip flags would have to be arithmetic-coded.

use bytes::Bytes;
use h264_reader::nal::NalHeader;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::slice::{FieldPic, PicOrderCountLsb, SliceHeader};
use h264_reader::nal::sps::{FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::BitReader;

use super::{Coding, VideoConfig, payload};

/// A slice header and the little that follows it lie in the first bytes of a slice; the rest need not be unescaped.
const HEADER_BYTES: usize = 64;

/// A still frame that can follow a picture.
#[derive(Debug)]
pub struct Still(Bytes);

impl Still {
    /// The still frame for the picture whose first slice is `slice`. None where the stream's coding does not allow it.
    #[must_use]
    pub fn after(config: &VideoConfig, slice: &[u8]) -> Option<Self> {
        let Coding::H264(parameters) = &config.coding else { return None };
        let header = NalHeader::new(*slice.first()?).ok()?;
        if header.nal_ref_idc() == 0 || config.reorder_frames != Some(0) {
            return None;
        }
        let rbsp = payload(slice.get(..HEADER_BYTES.min(slice.len()))?, 1);
        let mut reader = BitReader::new(&*rbsp);
        let (picture, sps, pps) =
            SliceHeader::from_bits(&parameters.context, &mut reader, header, None).ok()?;
        let plain = matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames)
            && matches!(picture.field_pic, FieldPic::Frame)
            && picture.colour_plane.is_none()
            && pps.slice_groups.is_none()
            && !pps.entropy_coding_mode_flag
            && !pps.weighted_pred_flag;
        if !plain {
            return None;
        }
        write(&picture, sps, pps).map(Self)
    }

    /// The sample: one NAL unit behind its length.
    #[must_use]
    pub fn picture(&self) -> Bytes {
        self.0.clone()
    }
}

fn write(picture: &SliceHeader, sps: &SeqParameterSet, pps: &PicParameterSet) -> Option<Bytes> {
    let mut bits = Bits::default();
    bits.exp_golomb(0); // first_mb_in_slice
    bits.exp_golomb(5); // slice_type: P, and so are all slices of the picture
    bits.exp_golomb(u32::from(pps.pic_parameter_set_id.id()));
    let frame_num_bits = u32::from(sps.log2_max_frame_num());
    // The picture was a reference: the next one counts one further.
    bits.put(u32::from(picture.frame_num).wrapping_add(1), frame_num_bits);
    match &sps.pic_order_cnt {
        PicOrderCntType::TypeZero { log2_max_pic_order_cnt_lsb_minus4 } => {
            let lsb = match picture.pic_order_cnt_lsb.as_ref()? {
                PicOrderCountLsb::Frame(lsb) => *lsb,
                PicOrderCountLsb::FieldsAbsolute { pic_order_cnt_lsb, .. } => *pic_order_cnt_lsb,
                PicOrderCountLsb::FieldsDelta(_) => return None,
            };
            // Frames count in twos: between the picture and the next one there is room for one.
            bits.put(lsb.wrapping_add(1), u32::from(*log2_max_pic_order_cnt_lsb_minus4) + 4);
            if pps.bottom_field_pic_order_in_frame_present_flag {
                bits.exp_golomb(0);
            }
        }
        PicOrderCntType::TypeTwo => {}
        PicOrderCntType::TypeOne { .. } => return None,
    }
    if pps.redundant_pic_cnt_present_flag {
        bits.exp_golomb(0);
    }
    bits.put(1, 1); // num_ref_idx_active_override_flag: one reference, the newest
    bits.exp_golomb(0);
    bits.put(0, 1); // ref_pic_list_modification_flag_l0
    bits.exp_golomb(0); // slice_qp_delta
    if pps.deblocking_filter_control_present_flag {
        bits.exp_golomb(1); // disable_deblocking_filter_idc
    }
    bits.exp_golomb(sps.pic_width_in_mbs().checked_mul(sps.pic_height_in_map_units())?); // mb_skip_run
    let mut unit = vec![0x01]; // nal_ref_idc 0, a slice of a picture that is not an IDR
    escape(&bits.finish(), &mut unit);
    let mut sample = u32::try_from(unit.len()).ok()?.to_be_bytes().to_vec();
    sample.extend_from_slice(&unit);
    Some(sample.into())
}

/// Emulation prevention (H.264, 7.4.1.1).
fn escape(rbsp: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// The lowest `count` bits of `value`, highest first.
    fn put(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(value >> at & 1 != 0) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// ue(v); se(v) of 0 is the same.
    fn exp_golomb(&mut self, value: u32) {
        let code = value.saturating_add(1);
        let length = 32 - code.leading_zeros();
        self.put(0, length - 1);
        self.put(code, length);
    }

    /// With the stop bit.
    fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bicast_shared::media::Codec;

    use super::*;
    use crate::core::depacketizer::AccessUnit;

    #[test]
    fn bits_are_written_as_the_standard_says() {
        let mut bits = Bits::default();
        for value in [0, 1, 2, 3, 7] {
            bits.exp_golomb(value);
        }
        // 1 010 011 00100 0001000 and the stop bit
        assert_eq!(bits.finish(), [0b1010_0110, 0b0100_0001, 0b0001_0000]);
        let mut out = Vec::new();
        escape(&[0, 0, 1, 0, 0, 0, 0, 3], &mut out);
        assert_eq!(out, [0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3]);
    }

    proptest::proptest! {
        #[test]
        fn any_slice_is_survived(tail: Vec<u8>, sps: Vec<u8>, pps: Vec<u8>, flip in 0..64_usize, by: u8) {
            let config = |sps: &[u8], pps: &[u8]| {
                let unit = AccessUnit {
                    sps: vec![Bytes::copy_from_slice(sps)],
                    pps: vec![Bytes::copy_from_slice(pps)],
                    ..AccessUnit::default()
                };
                VideoConfig::of_keyframe(Codec::H264, &unit, None).ok().flatten()
            };
            // 160x90 constrained baseline, by x264.
            let known = [
                0x67, 0x42, 0xc0, 0x0b, 0xda, 0x0a, 0x37, 0xe4, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xf2, 0x3c,
                0x50, 0xaa, 0x80,
            ];
            let mut changed = known;
            let at = flip % changed.len();
            changed[at] ^= by;
            let pictures = [config(&known, &[0x68, 0xce, 0x03, 0x1c, 0x80]), config(&changed, &pps), config(&sps, &pps)];
            assert!(pictures[0].is_some());
            for config in pictures.iter().flatten() {
                let mut slice = vec![0x41];
                slice.extend_from_slice(&tail);
                drop(Still::after(config, &slice));
                slice[0] = 0x65;
                drop(Still::after(config, &slice));
            }
        }
    }
}
