//! Opus from RTP (RFC 7587): one packet is one frame's payload; its table of contents byte says how long it lasts.

/// Ticks of the 48 kHz clock that a packet lasts (RFC 6716, 3.1 and 3.2); none when it is malformed.
#[must_use]
pub fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    // More than 120 ms is not allowed.
    (1..=5_760).contains(&(frame * frames)).then_some(frame * frames)
}

/// The length of [`SILENCE`] in ticks.
pub const SILENCE_TICKS: u32 = 960;

/// 20 ms of silence: a CELT frame with its silence flag set. Decoders of every channel count take it.
pub const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contents_says_how_long_a_packet_lasts() {
        assert_eq!(duration(SILENCE), Some(SILENCE_TICKS));
        assert_eq!(duration(&[0x78, 1]), Some(960), "hybrid 20 ms");
        assert_eq!(duration(&[0x18, 1]), Some(2_880), "SILK 60 ms");
        assert_eq!(duration(&[0x80, 1]), Some(120), "CELT 2.5 ms");
        assert_eq!(duration(&[0xf9, 1]), Some(1_920), "two frames");
        assert_eq!(duration(&[0xfb, 0x03, 1]), Some(2_880), "three frames, said so");
        assert_eq!(duration(&[0xfb, 0x00]), None);
        assert_eq!(duration(&[0x1b, 0x3f]), None, "too long");
        assert_eq!(duration(&[0xfb]), None);
        assert_eq!(duration(&[]), None);
    }
}
