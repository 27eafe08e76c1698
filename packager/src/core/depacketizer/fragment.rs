//! A unit that came in several packets.

use bytes::{Bytes, BytesMut};

use super::{Damaged, LARGEST};

/// Puts fragments together.
#[derive(Debug, Default)]
pub struct Fragment(Option<BytesMut>);

impl Fragment {
    /// A unit begins with `head`. One that had begun before has lost its end.
    ///
    /// # Errors
    /// [`Damaged`] when one had begun before.
    pub fn begin(&mut self, head: &[u8]) -> Result<(), Damaged> {
        let cut = self.finish();
        self.0 = Some(BytesMut::from(head));
        cut
    }

    /// More of it.
    ///
    /// # Errors
    /// [`Damaged`] when its beginning is missing, or nothing real is so large.
    pub fn extend(&mut self, more: &[u8]) -> Result<(), Damaged> {
        let fragment = self.0.as_mut().ok_or(Damaged)?;
        if fragment.len() + more.len() > LARGEST {
            self.0 = None;
            return Err(Damaged);
        }
        fragment.extend_from_slice(more);
        Ok(())
    }

    /// The whole unit, once its last fragment is in.
    pub fn take(&mut self) -> Option<Bytes> {
        self.0.take().map(BytesMut::freeze)
    }

    /// Nothing more of it comes.
    ///
    /// # Errors
    /// [`Damaged`] when a unit has not ended.
    pub fn finish(&mut self) -> Result<(), Damaged> {
        self.0.take().map_or(Ok(()), |_| Err(Damaged))
    }
}
