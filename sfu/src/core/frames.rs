//! Datagrams in a TCP stream: each behind its length in two bytes (RFC 4571, 2; RFC 6544, 3).

/// The largest frame that is taken. What ICE, DTLS and RTP send fits into an Ethernet packet; only a stream that is none
/// of ours claims more.
pub(crate) const MAX_FRAME: usize = 4 << 10;
/// A frame's length, in front of it.
pub(crate) const HEADER: usize = 2;

/// The stream claims a frame of this many bytes: it cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub(crate) struct TooLong(usize);

/// Finds the frames in a stream.
#[derive(Debug, Default)]
pub(crate) struct Deframer {
    /// The beginning of a frame whose end has not come.
    partial: Vec<u8>,
}

impl Deframer {
    /// Takes the bytes that came next and gives every frame that is complete to `each`. Empty frames, which RFC 4571
    /// allows, are skipped.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(length) = length(bytes)?
                && let Some(frame) = bytes.get(HEADER..HEADER + length)
            {
                // The usual case: nothing is copied.
                if !frame.is_empty() {
                    each(frame);
                }
                bytes = bytes.get(HEADER + length..).unwrap_or_default();
                continue;
            }
            let wanted = match length(&self.partial)? {
                Some(length) => HEADER + length,
                None => HEADER,
            };
            let (taken, rest) = bytes.split_at((wanted - self.partial.len()).min(bytes.len()));
            self.partial.extend_from_slice(taken);
            bytes = rest;
            if let Some(length) = length(&self.partial)?
                && let Some(frame) = self.partial.get(HEADER..HEADER + length)
            {
                if !frame.is_empty() {
                    each(frame);
                }
                self.partial.clear();
            }
        }
        Ok(())
    }
}

/// The length of the frame that begins here; none when that is not known yet.
fn length(bytes: &[u8]) -> Result<Option<usize>, TooLong> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*header));
    if length > MAX_FRAME { Err(TooLong(length)) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(frames: &[Vec<u8>]) -> Vec<u8> {
        // By an independent implementation.
        frames.iter().flat_map(|frame| rtc_shared::tcp_framing::frame_packet(frame)).collect()
    }

    fn read(deframer: &mut Deframer, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut frames = Vec::new();
        deframer.push(bytes, |frame| frames.push(frame.to_vec()))?;
        Ok(frames)
    }

    proptest! {
        /// However the stream is cut up on its way.
        #[test]
        fn frames_come_out_as_they_went_in(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..20),
            cuts in proptest::collection::vec(1_usize..400, 1..50),
        ) {
            let stream = framed(&frames);
            let (mut rest, mut came, mut deframer) = (&stream[..], Vec::new(), Deframer::default());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                came.extend(read(&mut deframer, now).unwrap());
                rest = later;
            }
            prop_assert_eq!(came, frames);
        }
    }

    #[test]
    fn single_bytes_make_frames_and_empty_ones_are_skipped() {
        let stream = [&[0, 0, 0, 2, 7, 8, 0, 0][..], &[0, 1, 9], &[0, 0]].concat();
        let mut deframer = Deframer::default();
        let came: Vec<_> = stream.iter().flat_map(|byte| read(&mut deframer, &[*byte]).unwrap()).collect();
        assert_eq!(came, [vec![7, 8], vec![9]]);
        assert_eq!(read(&mut Deframer::default(), &stream).unwrap(), came);
        assert!(deframer.partial.is_empty());
    }

    #[test]
    fn the_largest_frame_is_taken_and_one_more_byte_ends_the_stream() {
        let largest = [vec![5; MAX_FRAME]];
        assert_eq!(read(&mut Deframer::default(), &framed(&largest)).unwrap(), largest);
        let over = u16::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        assert_eq!(read(&mut Deframer::default(), &over), Err(TooLong(MAX_FRAME + 1)));
        // Its header in two pieces, behind a frame that is fine.
        let mut deframer = Deframer::default();
        assert_eq!(read(&mut deframer, &[0, 1, 3, over[0]]).unwrap(), [[3]]);
        assert_eq!(read(&mut deframer, &over[1..]), Err(TooLong(MAX_FRAME + 1)));
        assert!(read(&mut Deframer::default(), b"GET / HTTP/1.1\r\n").is_err(), "no frame of ours");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut deframer = Deframer::default();
        let header = u16::try_from(MAX_FRAME).unwrap().to_be_bytes();
        assert!(read(&mut deframer, &header).unwrap().is_empty());
        for _ in 0..MAX_FRAME - 1 {
            assert!(read(&mut deframer, &[1]).unwrap().is_empty());
        }
        assert_eq!(deframer.partial.len(), HEADER + MAX_FRAME - 1);
        assert_eq!(read(&mut deframer, &[1]).unwrap().len(), 1);
    }
}
