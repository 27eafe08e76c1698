//! Init segments: `ftyp` and `moov` of a single fragmented track.

use bicast_shared::media::aac::AacConfig;
use bytes::Bytes;
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Audio, Codec, Dinf, Dops, Dref, Encode, Esds, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex,
    Mvhd, Opus, Smhd, Stbl, Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};

use crate::core::cmaf::fragment::TRACK_ID;
use crate::core::coding::VideoConfig;

/// The init segment of a video track, with 90,000 ticks a second. None when a parameter set is too large for it.
#[must_use]
pub fn video(config: &VideoConfig) -> Option<Bytes> {
    let tkhd = Tkhd { width: config.width.into(), height: config.height.into(), ..track_header() };
    let minf = Minf { vmhd: Some(Vmhd::default()), ..media_information(config.sample_entry()?) };
    file(90_000, tkhd, (b"vide", "bicast video"), minf)
}

/// The init segment of an Opus track, with 48,000 ticks a second.
#[must_use]
pub fn opus(channels: u8) -> Option<Bytes> {
    let entry = Opus {
        audio: Audio {
            data_reference_index: 1,
            channel_count: u16::from(channels),
            sample_size: 16,
            sample_rate: 48_000.into(),
        },
        // A live stream is joined in its middle: there is no encoder delay at its beginning to skip.
        dops: Dops {
            output_channel_count: channels,
            pre_skip: 0,
            input_sample_rate: 48_000,
            output_gain: 0,
            channel_mapping: None,
        },
        btrt: None,
    };
    sound(48_000, entry.into())
}

/// The init segment of an AAC track, with as many ticks a second as it has samples.
#[must_use]
pub fn aac(config: AacConfig) -> Option<Bytes> {
    let hz = config.rate().hz();
    let dec_config = DecoderConfig {
        // MPEG-4 Audio in an audio stream (ISO/IEC 14496-1, tables 5 and 6).
        object_type_indication: 0x40,
        stream_type: 5,
        dec_specific: Some(DecoderSpecific { raw: config.specific().to_vec(), ..DecoderSpecific::default() }),
        ..DecoderConfig::default()
    };
    let entry = Mp4a {
        audio: Audio {
            data_reference_index: 1,
            channel_count: u16::from(config.channels()),
            sample_size: 16,
            // 88.2 and 96 kHz have no place in 16 bits: other writers put 0, and decoders read the config.
            sample_rate: u16::try_from(hz).unwrap_or(0).into(),
        },
        esds: Esds {
            es_desc: EsDescriptor { dec_config, sl_config: SLConfig {}, ..EsDescriptor::default() },
        },
        btrt: None,
        taic: None,
    };
    sound(hz, entry.into())
}

fn sound(timescale: u32, entry: Codec) -> Option<Bytes> {
    let tkhd = Tkhd { volume: 1.into(), alternate_group: 1, ..track_header() };
    let minf = Minf { smhd: Some(Smhd::default()), ..media_information(entry) };
    file(timescale, tkhd, (b"soun", "bicast audio"), minf)
}

fn track_header() -> Tkhd {
    Tkhd { track_id: TRACK_ID, enabled: true, in_movie: true, ..Tkhd::default() }
}

fn media_information(entry: Codec) -> Minf {
    let dinf = Dinf { dref: Dref { entries: vec![Url::default().into()] } };
    Minf { dinf, stbl: Stbl { stsd: Stsd { codecs: vec![entry] }, ..Stbl::default() }, ..Minf::default() }
}

fn file(timescale: u32, tkhd: Tkhd, handler: (&[u8; 4], &str), minf: Minf) -> Option<Bytes> {
    let brand = |name: &[u8; 4]| FourCC::new(name);
    let ftyp = Ftyp {
        major_brand: brand(b"iso6"),
        minor_version: 0,
        compatible_brands: vec![brand(b"iso6"), brand(b"cmfc"), brand(b"mp41")],
    };
    let hdlr = Hdlr { handler: FourCC::new(handler.0), name: handler.1.into() };
    let mdhd = Mdhd { timescale, language: "und".into(), ..Mdhd::default() };
    let trex = Trex { track_id: TRACK_ID, default_sample_description_index: 1, ..Trex::default() };
    let moov = Moov {
        mvhd: Mvhd {
            timescale,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex { mehd: None, trex: vec![trex] }),
        trak: vec![Trak { tkhd, mdia: Mdia { mdhd, hdlr, minf }, ..Trak::default() }],
        ..Moov::default()
    };
    let mut out = Vec::with_capacity(1_024);
    ftyp.encode(&mut out).ok()?;
    moov.encode(&mut out).ok()?;
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{Any, DecodeMaybe};

    #[test]
    fn opus_is_described_in_big_endian_with_its_channels() {
        let bytes = opus(2).unwrap();
        let at = bytes.windows(4).position(|w| w == b"dOps").unwrap();
        assert_eq!(bytes[at + 4..at + 15], [0, 2, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        let mut rest = &bytes[..];
        let Some(Any::Ftyp(ftyp)) = Any::decode_maybe(&mut rest).unwrap() else { panic!() };
        assert!(ftyp.compatible_brands.contains(&FourCC::new(b"cmfc")));
        let Some(Any::Moov(moov)) = Any::decode_maybe(&mut rest).unwrap() else { panic!() };
        assert!(rest.is_empty());
        assert_eq!((moov.mvhd.duration, moov.trak[0].tkhd.duration), (0, 0));
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, 48_000);
        assert_eq!(moov.mvex.unwrap().trex[0].track_id, TRACK_ID);
    }

    #[test]
    fn aac_is_described_by_its_config_at_its_own_rate() {
        for (hz, channels, specific, said) in
            [(44_100, 2, [0x12, 0x10], 44_100), (8_000, 1, [0x15, 0x88], 8_000), (96_000, 2, [0x10, 0x10], 0)]
        {
            let bytes = aac(AacConfig::new(hz, channels).unwrap()).unwrap();
            // ISO/IEC 14496-1, 7.2.6: MPEG-4 Audio in an audio stream, its config, and MP4's own sync layer.
            let descriptors = [
                &[3, 25, 0, 0, 0, 4, 17, 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2][..],
                &specific,
                &[6, 1, 2],
            ]
            .concat();
            let at = bytes.windows(4).position(|w| w == b"esds").unwrap();
            assert_eq!(bytes[at + 8..at + 8 + descriptors.len()], descriptors);
            let mut rest = &bytes[..];
            let Some(Any::Ftyp(_)) = Any::decode_maybe(&mut rest).unwrap() else { panic!() };
            let Some(Any::Moov(moov)) = Any::decode_maybe(&mut rest).unwrap() else { panic!() };
            let mdia = &moov.trak[0].mdia;
            assert_eq!(mdia.mdhd.timescale, hz);
            let Codec::Mp4a(entry) = &mdia.minf.stbl.stsd.codecs[0] else { panic!() };
            assert_eq!((entry.audio.channel_count, entry.audio.sample_rate), (channels.into(), said.into()));
        }
    }
}
