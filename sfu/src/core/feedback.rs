//! What viewers say back: compound RTCP (RFC 3550, 4585, 5104, 3611) read whole, packet by packet.

/// One statement of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// How a stream of ours arrives (RFC 3550, 6.4.1).
    Report(ReportBlock),
    /// A packet of a stream is missing.
    Nack { ssrc: u32, sequence_number: u16 },
    /// The picture cannot be decoded: PLI or FIR.
    KeyframeWanted { ssrc: u32 },
    /// The viewer's clock (XR RRTR, RFC 3611, 4.4), to be answered with a DLRR block.
    ReferenceTime { sender: u32, ntp: u64 },
}

/// A report block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// The stream of ours.
    pub(crate) ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Lost since the stream began, less what came twice: signed, 24 bits.
    pub(crate) lost: i32,
    /// The highest sequence number that came, with the count of its wraps above it.
    pub(crate) highest: u32,
    /// Interarrival jitter in ticks of the stream's clock.
    pub(crate) jitter: u32,
    /// The middle 32 bits of the NTP time of our last sender report that arrived; 0 for none.
    pub(crate) last_report: u32,
    /// How long ago that was, in 65,536ths of a second.
    pub(crate) delay: u32,
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

/// Reads a compound packet and hands over what concerns us; unknown packets are skipped. False when the rest of the
/// compound could not be read.
pub(crate) fn read(mut compound: &[u8], mut say: impl FnMut(Feedback)) -> bool {
    while let Some(header) = compound.first_chunk::<8>() {
        let length = (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1) * 4;
        let Some(packet) = compound.get(..length).filter(|packet| header[0] >> 6 == 2 && packet.len() >= 8)
        else {
            return false;
        };
        let count = header[0] & 0x1f;
        let body = packet.get(8..).unwrap_or_default();
        match header[1] {
            SENDER_REPORT => reports(count, body.get(20..).unwrap_or_default(), &mut say),
            RECEIVER_REPORT => reports(count, body, &mut say),
            TRANSPORT_FEEDBACK if count == 1 => nacks(body, &mut say),
            PAYLOAD_FEEDBACK if count == 1 => {
                if let Some(ssrc) = body.first_chunk::<4>() {
                    say(Feedback::KeyframeWanted { ssrc: u32::from_be_bytes(*ssrc) });
                }
            }
            PAYLOAD_FEEDBACK if count == 4 => {
                for entry in body.get(4..).unwrap_or_default().chunks_exact(8) {
                    say(Feedback::KeyframeWanted { ssrc: word(entry, 0) });
                }
            }
            EXTENDED_REPORT => extended(word(packet, 4), body, &mut say),
            _ => {}
        }
        compound = compound.get(length..).unwrap_or_default();
    }
    // A BYE without a source is the only packet of 4 bytes.
    compound.is_empty() || compound.len() == 4
}

fn reports(count: u8, body: &[u8], say: &mut impl FnMut(Feedback)) {
    for block in body.chunks_exact(24).take(count.into()) {
        say(Feedback::Report(ReportBlock {
            ssrc: word(block, 0),
            fraction_lost: block[4],
            // Sign-extended from 24 bits.
            lost: i32::from_be_bytes([block[5], block[6], block[7], 0]) >> 8,
            highest: word(block, 8),
            jitter: word(block, 12),
            last_report: word(block, 16),
            delay: word(block, 20),
        }));
    }
}

fn nacks(body: &[u8], say: &mut impl FnMut(Feedback)) {
    let Some(ssrc) = body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) else { return };
    for entry in body.get(4..).unwrap_or_default().chunks_exact(4) {
        let first = u16::from_be_bytes([entry[0], entry[1]]);
        let following = u16::from_be_bytes([entry[2], entry[3]]);
        say(Feedback::Nack { ssrc, sequence_number: first });
        for bit in (0..16).filter(|bit| following >> bit & 1 == 1) {
            say(Feedback::Nack { ssrc, sequence_number: first.wrapping_add(bit + 1) });
        }
    }
}

fn extended(sender: u32, mut blocks: &[u8], say: &mut impl FnMut(Feedback)) {
    while let Some(head) = blocks.first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])) * 4;
        let Some(content) = blocks.get(4..4 + length) else { return };
        if head[0] == 4
            && let Some(ntp) = content.first_chunk::<8>()
        {
            say(Feedback::ReferenceTime { sender, ntp: u64::from_be_bytes(*ntp) });
        }
        blocks = blocks.get(4 + length..).unwrap_or_default();
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use rtc_rtcp::packet::Packet;
    use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtc_rtcp::receiver_report::ReceiverReport;
    use rtc_rtcp::reception_report::ReceptionReport;
    use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

    use super::*;

    fn compound(packets: &[Box<dyn Packet>]) -> Vec<u8> {
        rtc_rtcp::packet::marshal(packets).unwrap().to_vec()
    }

    fn all(bytes: &[u8]) -> (Vec<Feedback>, bool) {
        let mut said = Vec::new();
        let whole = read(bytes, |feedback| said.push(feedback));
        (said, whole)
    }

    #[test]
    fn a_compound_is_read_whole_also_behind_an_empty_report() {
        let report = ReceptionReport {
            ssrc: 5,
            fraction_lost: 9,
            total_lost: 0xff_fffd,
            last_sequence_number: 65_540,
            jitter: 450,
            last_sender_report: 77,
            delay: 6,
        };
        let bytes = compound(&[
            Box::new(ReceiverReport::default()),
            Box::new(ReceiverReport { ssrc: 1, reports: vec![report], ..Default::default() }),
            Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: 5 }),
            Box::new(TransportLayerNack {
                sender_ssrc: 1,
                media_ssrc: 5,
                nacks: vec![NackPair { packet_id: 65_535, lost_packets: 0b101 }],
            }),
        ]);
        let nack = |sequence_number| Feedback::Nack { ssrc: 5, sequence_number };
        let expected = vec![
            Feedback::Report(ReportBlock {
                ssrc: 5,
                fraction_lost: 9,
                lost: -3,
                highest: 65_540,
                jitter: 450,
                last_report: 77,
                delay: 6,
            }),
            Feedback::KeyframeWanted { ssrc: 5 },
            nack(65_535),
            nack(0),
            nack(2),
        ];
        assert_eq!(all(&bytes), (expected, true));
    }

    #[test]
    fn fir_and_reference_times_are_understood_and_unknown_packets_skipped() {
        let mut bytes = vec![0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0];
        bytes.extend([0x80, 210, 0, 1, 1, 2, 3, 4]);
        bytes.extend([0x80, 207, 0, 5, 0, 0, 0, 9, 99, 0, 0, 0, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        let expected = vec![
            Feedback::KeyframeWanted { ssrc: 5 },
            Feedback::ReferenceTime { sender: 9, ntp: 0x0102_0304_0506_0708 },
        ];
        assert_eq!(all(&bytes), (expected, true));
    }

    #[test]
    fn broken_compounds_are_survived() {
        let good = compound(&[Box::new(TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: 5,
            nacks: vec![NackPair { packet_id: 1, lost_packets: 0 }; 3],
        })]);
        for end in 0..good.len() {
            let (said, whole) = all(&good[..end]);
            assert!(said.is_empty() && (!whole || end == 0 || end == 4), "{end}");
        }
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = value;
                all(&bytes);
            }
        }
    }
}
