//! A reader that gives only so many bytes: what parses a broken file may go round in it for ever.

use std::io::{Error, Read, Result, Seek, SeekFrom};

/// More than the header of any real clip: what is read of it beside its samples.
const MOST: u64 = 1 << 30;

/// Reads another reader until its budget is used up.
#[derive(Debug)]
pub struct Budget<R> {
    inner: R,
    left: u64,
}

impl<R> Budget<R> {
    /// For reading the headers of a file of `size` bytes: each byte twice, and a gigabyte at most.
    pub fn for_headers(inner: R, size: u64) -> Self {
        Self { inner, left: size.saturating_mul(2).saturating_add(65_536).min(MOST) }
    }
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| Error::other("its boxes lead round in a circle or are more than a gigabyte"))?;
        Ok(count)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_file_can_be_read_twice_but_not_for_ever() {
        let file = [7; 1_000];
        let mut reader = Budget::for_headers(Cursor::new(&file), file.len() as u64);
        let mut rounds = 0;
        let error = loop {
            reader.seek(SeekFrom::Start(0)).unwrap();
            match reader.read_exact(&mut [0; 1_000]) {
                Ok(()) => rounds += 1,
                Err(error) => break error,
            }
        };
        assert!((2..100).contains(&rounds) && error.to_string().contains("circle"), "{rounds} {error}");
    }
}
