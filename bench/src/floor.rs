//! The floor: what a packet costs when there is nothing but the work that cannot be left out. Header, copy, AES-128-GCM
//! by `ring`, one GSO send per run. No history, no state beyond a counter, no statistics.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use quinn_udp::{Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Datagrams in one run: as many as the real path sends at once.
const RUN: usize = 16;

struct Viewer {
    key: LessSafeKey,
    salt: [u8; 12],
    ssrc: u32,
    index: u64,
    remote: SocketAddr,
}

/// A sender of the floor kind.
pub(crate) struct Floor {
    socket: UdpSocket,
    state: UdpSocketState,
    viewers: Vec<Viewer>,
    buffer: Vec<u8>,
    /// Packets that the kernel did not take.
    pub(crate) dropped: u64,
}

impl Floor {
    pub(crate) fn new(socket: UdpSocket, remotes: &[SocketAddr]) -> Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let _ = state.set_send_buffer_size((&socket).into(), 4 << 20);
        let viewers = remotes.iter().map(|remote| {
            let key = UnboundKey::new(&AES_128_GCM, &rand::random::<[u8; 16]>())
                .ok()
                .context("a key of 16 bytes is a key")?;
            let (salt, ssrc) = (rand::random(), rand::random());
            Ok(Viewer { key: LessSafeKey::new(key), salt, ssrc, index: 1, remote: *remote })
        });
        let viewers = viewers.collect::<Result<_>>()?;
        Ok(Self { socket, state, viewers, buffer: Vec::with_capacity(1 << 20), dropped: 0 })
    }

    /// Sends a frame of equal packets to every viewer.
    pub(crate) fn frame(&mut self, timestamp: u32, payloads: &[Bytes]) {
        let most = RUN.min(self.state.max_gso_segments()).max(1);
        for viewer in &mut self.viewers {
            for run in payloads.chunks(most) {
                self.buffer.clear();
                for payload in run {
                    seal(viewer, timestamp, payload, &mut self.buffer);
                }
                let segment = (run.len() > 1).then_some(self.buffer.len() / run.len());
                let transmit = Transmit {
                    destination: viewer.remote,
                    ecn: None,
                    contents: &self.buffer,
                    segment_size: segment,
                    src_ip: None,
                };
                if self.state.try_send((&self.socket).into(), &transmit).is_err() {
                    self.dropped += run.len() as u64;
                }
            }
        }
    }
}

fn seal(viewer: &mut Viewer, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let index = viewer.index.to_be_bytes();
    viewer.index += 1;
    out.extend_from_slice(&[0x80, 108, index[6], index[7]]);
    out.extend_from_slice(&timestamp.to_be_bytes());
    out.extend_from_slice(&viewer.ssrc.to_be_bytes());
    out.extend_from_slice(payload);
    let mut nonce = viewer.salt;
    nonce[2..6].iter_mut().zip(viewer.ssrc.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    nonce[6..12].iter_mut().zip(&index[2..]).for_each(|(byte, mask)| *byte ^= mask);
    let (header, body) = out[start..].split_at_mut(12);
    let nonce = Nonce::assume_unique_for_key(nonce);
    if let Ok(tag) = viewer.key.seal_in_place_separate_tag(nonce, Aad::from(header), body) {
        out.extend_from_slice(tag.as_ref());
    }
}
