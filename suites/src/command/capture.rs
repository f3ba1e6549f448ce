//! Reading what a command prints: always to the end, so that it never blocks, and never more than a
//! bound is kept.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

/// Most bytes of standard output that are kept.
pub const MAX_STDOUT_BYTES: usize = 16 << 20;
/// Most bytes of standard error that are kept: the last.
const TAIL_BYTES: usize = 64 << 10;
/// As large as a pipe.
const BUFFER_BYTES: usize = 64 << 10;

/// Standard output of one execution.
pub struct Captured {
    kept: Vec<u8>,
    bytes: u64,
}

impl Captured {
    /// Reads to the end.
    pub fn read(from: impl Read) -> Self {
        let mut captured = Self {
            kept: Vec::new(),
            bytes: 0,
        };
        for_each_piece(from, |piece| {
            let room = MAX_STDOUT_BYTES - captured.kept.len();
            captured
                .kept
                .extend_from_slice(&piece[..piece.len().min(room)]);
            captured.bytes += piece.len() as u64;
        });
        captured
    }

    /// All of it, unless it is longer than [`MAX_STDOUT_BYTES`].
    pub fn whole(&self) -> Option<&[u8]> {
        (self.bytes == self.kept.len() as u64).then_some(&self.kept)
    }

    /// Why there is no [`Self::whole`].
    pub fn too_long(&self) -> String {
        format!("{} bytes long with {MAX_STDOUT_BYTES} kept", self.bytes)
    }
}

/// The end of a command's standard error. Shown, it is a clause for the end of a sentence.
#[derive(Default)]
pub struct Tail {
    kept: VecDeque<u8>,
    bytes: u64,
}

impl Tail {
    /// Reads to the end.
    pub fn read(from: impl Read) -> Self {
        let mut tail = Self::default();
        for_each_piece(from, |piece| {
            tail.kept.extend(piece);
            tail.kept
                .drain(..tail.kept.len().saturating_sub(TAIL_BYTES));
            tail.bytes += piece.len() as u64;
        });
        tail
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept: Vec<u8> = self.kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let text = text.trim_end();
        match self.bytes {
            0 => f.write_str("its standard error is empty"),
            bytes if bytes > kept.len() as u64 => {
                write!(f, "the last of {bytes} bytes of its standard error: {text}")
            }
            _ => write!(f, "its standard error: {text}"),
        }
    }
}

/// A pipe fails to be read only where it has ended for us in any case.
fn for_each_piece(mut from: impl Read, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) => take(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Captured, MAX_STDOUT_BYTES, TAIL_BYTES, Tail};
    use std::io::Read as _;

    #[test]
    fn the_bound_itself_is_whole_and_one_byte_more_is_not() {
        let bound = MAX_STDOUT_BYTES as u64;
        let exact = Captured::read(io::repeat(7).take(bound));
        assert_eq!(exact.whole().map(<[u8]>::len), Some(MAX_STDOUT_BYTES));
        let over = Captured::read(io::repeat(7).take(bound + 1));
        assert!(over.whole().is_none() && over.too_long().contains("16777217"));
    }

    #[test]
    fn a_tail_is_the_end() {
        assert_eq!(Tail::default().to_string(), "its standard error is empty");
        let long = [vec![b'a'; TAIL_BYTES], b"the end\n".to_vec()].concat();
        let shown = Tail::read(&long[..]).to_string();
        assert!(shown.ends_with("aaathe end") && shown.len() < TAIL_BYTES + 100);
    }
}
