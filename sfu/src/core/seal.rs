//! SRTP for what a viewer is sent: header, payload and tag written straight into the send batch.
//!
//! A packet's nonce is its SSRC and 48-bit index, so the same pair must never protect two different packets (RFC 3711,
//! 9.1; with GCM a second use would give the authentication key away). The rules that keep it so:
//! - the index is given in full by the caller and the sequence number is written from it here: header, nonce and
//!   rollover counter cannot disagree;
//! - what is sealed under an index is a pure function of the packet that [`super::rewrite::Track`] gives that index to,
//!   so sending it again gives the same bytes, and [`super::history::History`] takes a sequence number only once;
//! - retransmissions in their own stream (RFC 4588) count their own index up.

use std::sync::Arc;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rtc::crypto::{BlockCipherAlgorithm, RTCCrypto, RTCCryptoProvider};
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

/// The largest index (RFC 3711, 3.3.1: a rollover counter of 32 bits above 16 of sequence number).
const MAX_INDEX: u64 = (1 << 48) - 1;

/// An RTP header to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) ssrc: u32,
    /// Rollover counter and sequence number in one.
    pub(crate) index: u64,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) timestamp: u32,
    /// An encoded extension block (RFC 8285: profile, length, elements, padding), or nothing.
    pub(crate) extensions: &'a [u8],
}

/// Why a packet could not be sealed. The viewer cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the SRTP key is used up")]
    Exhausted,
    #[error("the cipher failed")]
    Cipher,
}

/// Protects one viewer's RTP.
pub(crate) enum Sealer {
    /// AEAD_AES_128_GCM (RFC 7714), by `ring` directly: half the time of going through `rtc-srtp`.
    Gcm(Box<Gcm>),
    /// AES_CM_128_HMAC_SHA1_80, for clients without GCM.
    Other(Box<Context>),
}

/// The GCM key and salt of one direction.
pub(crate) struct Gcm {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl Sealer {
    /// A sealer for what is sent with the local keys of a DTLS-SRTP session.
    pub(crate) fn new(
        profile: ProtectionProfile,
        keys: &SessionKeys,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Option<Self> {
        let (key, salt) = (&keys.local_master_key, &keys.local_master_salt);
        if matches!(profile, ProtectionProfile::AeadAes128Gcm) {
            let key = derive(crypto.crypto(), key, salt, LABEL_ENCRYPTION)?;
            let session_salt = derive(crypto.crypto(), &keys.local_master_key, salt, LABEL_SALT)?;
            return Some(Self::Gcm(Box::new(Gcm {
                key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
                salt: *session_salt.first_chunk()?,
            })));
        }
        let context = Context::new(key, salt, profile, None, None, crypto.crypto()).ok()?;
        Some(Self::Other(Box::new(context)))
    }

    /// Appends the protected packet to `out` and tells its size. `prefix` stands before the payload (the original
    /// sequence number of a retransmission).
    pub(crate) fn seal(
        &mut self,
        header: &Header<'_>,
        prefix: &[u8],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<usize, SealError> {
        if header.index > MAX_INDEX {
            return Err(SealError::Exhausted);
        }
        let start = out.len();
        write_header(header, out);
        let body = out.len();
        out.extend_from_slice(prefix);
        out.extend_from_slice(payload);
        match self {
            Self::Gcm(gcm) => {
                let nonce = Nonce::assume_unique_for_key(gcm.nonce(header));
                let (aad, plaintext) = out[start..].split_at_mut(body - start);
                let tag = gcm.key.seal_in_place_separate_tag(nonce, Aad::from(aad), plaintext);
                out.extend_from_slice(tag.map_err(|_| SealError::Cipher)?.as_ref());
            }
            Self::Other(context) => {
                let sealed = context.encrypt_rtp(&out[start..]).map_err(|_| SealError::Cipher)?;
                out.truncate(start);
                out.extend_from_slice(&sealed);
            }
        }
        Ok(out.len() - start)
    }
}

impl Gcm {
    /// RFC 7714, 8.1: two zero bytes, SSRC, rollover counter, sequence number, XORed with the salt.
    fn nonce(&self, header: &Header<'_>) -> [u8; NONCE_LEN] {
        let mut nonce = self.salt;
        let ssrc = header.ssrc.to_be_bytes();
        let index = header.index.to_be_bytes();
        nonce[2..6].iter_mut().zip(ssrc).for_each(|(byte, mask)| *byte ^= mask);
        nonce[6..12].iter_mut().zip(&index[2..]).for_each(|(byte, mask)| *byte ^= mask);
        nonce
    }
}

fn write_header(header: &Header<'_>, out: &mut Vec<u8>) {
    let extended = if header.extensions.is_empty() { 0x80 } else { 0x90 };
    let index = header.index.to_be_bytes();
    let ts = header.timestamp.to_be_bytes();
    let ssrc = header.ssrc.to_be_bytes();
    out.extend_from_slice(&[
        extended,
        u8::from(header.marker) << 7 | header.payload_type & 0x7f,
        index[6],
        index[7],
        ts[0],
        ts[1],
        ts[2],
        ts[3],
        ssrc[0],
        ssrc[1],
        ssrc[2],
        ssrc[3],
    ]);
    out.extend_from_slice(header.extensions);
}

const LABEL_ENCRYPTION: u8 = 0;
const LABEL_SALT: u8 = 2;

/// One block of RFC 3711, 4.3: AES of the salt with the label in its 8th byte.
fn derive(crypto: &dyn RTCCrypto, master_key: &[u8], master_salt: &[u8], label: u8) -> Option<[u8; 16]> {
    let mut block = [0; 16];
    block.get_mut(..master_salt.len())?.copy_from_slice(master_salt);
    block[7] ^= label;
    crypto.block_encrypt(BlockCipherAlgorithm::Aes128, master_key, &mut block).ok()?;
    Some(block)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn keys(profile: ProtectionProfile) -> SessionKeys {
        let salt = profile.salt_len();
        let bytes = |seed: u8, len: usize| (0..len).map(|n| seed.wrapping_mul(31) ^ n as u8).collect();
        SessionKeys {
            local_master_key: bytes(1, 16),
            local_master_salt: bytes(2, salt),
            remote_master_key: bytes(3, 16),
            remote_master_salt: bytes(4, salt),
        }
    }

    proptest! {
        /// Byte for byte what `rtc-srtp` makes of the same packets, over rollovers, with and without extensions.
        #[test]
        fn sealed_packets_are_those_of_an_independent_implementation(
            gcm: bool,
            ssrc: u32,
            first in 0_u64..0x8000,
            steps in proptest::collection::vec(
                (1_u64..0x3fff, any::<(u32, bool, bool)>(), 0_u8..128,
                 proptest::collection::vec(any::<u8>(), 0..1300)),
                1..24,
            ),
        ) {
            let crypto = rtc::crypto::default_provider().unwrap();
            let profile =
                if gcm { ProtectionProfile::AeadAes128Gcm } else { ProtectionProfile::Aes128CmHmacSha1_80 };
            let keys = keys(profile);
            let mut ours = Sealer::new(profile, &keys, &crypto).unwrap();
            let mut theirs = Context::new(
                &keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto.crypto(),
            ).unwrap();
            let mut reader = Context::new(
                &keys.local_master_key, &keys.local_master_salt, profile, None, None, crypto.crypto(),
            ).unwrap();
            let mut index = first;
            for (step, (timestamp, marker, extended), payload_type, payload) in steps {
                let extensions: &[u8] = if extended { &[0xbe, 0xde, 0, 1, 0x52, 0, 0, 0] } else { &[] };
                let header = Header { ssrc, index, payload_type, marker, timestamp, extensions };
                let mut plain = Vec::new();
                write_header(&header, &mut plain);
                plain.extend_from_slice(&payload);
                let mut out = vec![0xaa; 3];
                let size = ours.seal(&header, &payload[..payload.len().min(2)],
                    &payload[payload.len().min(2)..], &mut out).unwrap();
                prop_assert_eq!(&out[..3], &[0xaa; 3]);
                prop_assert_eq!(size, out.len() - 3);
                let expected = theirs.encrypt_rtp(&plain).unwrap();
                prop_assert_eq!(&out[3..], &expected[..]);
                let opened = reader.decrypt_rtp(&out[3..]).unwrap();
                prop_assert_eq!(&opened[..], &plain[..]);
                index += step;
            }
        }
    }

    #[test]
    fn a_used_up_key_seals_nothing() {
        let crypto = rtc::crypto::default_provider().unwrap();
        let profile = ProtectionProfile::AeadAes128Gcm;
        let mut sealer = Sealer::new(profile, &keys(profile), &crypto).unwrap();
        let header = Header {
            ssrc: 1,
            index: MAX_INDEX + 1,
            payload_type: 96,
            marker: false,
            timestamp: 0,
            extensions: &[],
        };
        let mut out = Vec::new();
        assert_eq!(sealer.seal(&header, &[], &[1], &mut out), Err(SealError::Exhausted));
        assert!(out.is_empty());
    }
}
