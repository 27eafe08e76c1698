//! A file to which lines are added, whole or not at all: half a line in the middle would make all of it unreadable.

use std::fs::File;
use std::io::{self, Write};

/// What lines are written to.
pub(super) trait Tail: Write {
    /// Cuts off what stands behind this many bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Waits until the disk has it.
    fn keep(&mut self) -> io::Result<()>;
}

impl Tail for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn keep(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whole lines.
pub(super) struct Lines<F> {
    file: F,
    /// Bytes of whole lines.
    whole: u64,
    /// Half a line stands behind them.
    torn: bool,
}

impl<F: Tail> Lines<F> {
    /// Lines that are added to so many bytes of them.
    pub(super) const fn new(file: F, whole: u64) -> Self {
        Self { file, whole, torn: false }
    }

    /// Adds a line, which ends with a newline.
    ///
    /// # Errors
    /// It cannot be written: what stands there is what stood there before. Or it is there and may not outlast a loss of power.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.cut(self.whole)?;
            self.torn = false;
        }
        if let Err(error) = self.file.write_all(line) {
            // Where it cannot be cut off now nothing is written behind it before it is; the last line may be half a one at the next start.
            self.torn = self.file.cut(self.whole).is_err();
            return Err(error);
        }
        self.whole += line.len() as u64;
        self.file.keep()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes more, which may refuse to cut.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
        cuts: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.bytes.extend(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tail for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.cuts {
                return Err(io::ErrorKind::Other.into());
            }
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }

        fn keep(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_leaves_no_half_line_in_the_middle() {
        for cuts in [true, false] {
            let mut lines = Lines::new(Disk { bytes: b"one\n".to_vec(), room: 6, cuts }, 4);
            lines.add(b"two\n").unwrap();
            assert_eq!(lines.add(b"three\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
            lines.file.room = 100;
            if !cuts {
                assert!(lines.add(b"four\n").is_err(), "nothing is written behind half a line");
                assert_eq!(lines.file.bytes, b"one\ntwo\nth", "which is the last one");
                lines.file.cuts = true;
            }
            lines.add(b"three\n").unwrap();
            assert_eq!(lines.file.bytes, b"one\ntwo\nthree\n");
        }
    }

    #[test]
    fn a_file_that_is_added_to_can_be_cut() {
        let path = std::env::temp_dir().join(format!("bicast-lines-{}", std::process::id()));
        std::fs::write(&path, "one\nha").unwrap();
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let mut lines = Lines { torn: true, ..Lines::new(file, 4) };
        lines.add(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        std::fs::remove_file(&path).unwrap();
    }
}
