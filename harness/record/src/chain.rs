//! Lines of a record, chained by hash.
//!
//! Line `i` is `{"hash":"H_i","body":BODY_i}` with `H_i = SHA-256(H_{i-1} || BODY_i)` over the bytes
//! as written, and `H_0` the hash of the format's name. So a record that was cut off is valid up to
//! the cut, and a change of any byte before it is noticed.

use assay_protocol::Digest;

const PREFIX: &[u8] = b"{\"hash\":\"";
const MIDDLE: &[u8] = b"\",\"body\":";
const SUFFIX: &[u8] = b"}";
const DIGITS: usize = 64;

/// State of a chain after some lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain(Digest);

impl Default for Chain {
    fn default() -> Self {
        Self(Digest::of("assay record 1"))
    }
}

impl Chain {
    /// Hash of the last line.
    pub fn head(&self) -> Digest {
        self.0
    }

    /// Writes `body` (JSON without line breaks) as the next line, newline included.
    pub fn seal(&mut self, body: &[u8]) -> Vec<u8> {
        self.0 = self.next(body);
        let hash = self.0.hex();
        [PREFIX, hash.as_bytes(), MIDDLE, body, SUFFIX, b"\n"].concat()
    }

    /// Checks the next line, given without its newline, and returns its body; `None` where it does not follow.
    pub fn open<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let rest = line.strip_prefix(PREFIX)?;
        let (hash, rest) = rest.split_at_checked(DIGITS)?;
        let body = rest.strip_prefix(MIDDLE)?.strip_suffix(SUFFIX)?;
        let next = self.next(body);
        (next.hex().as_bytes() == hash).then(|| {
            self.0 = next;
            body
        })
    }

    fn next(&self, body: &[u8]) -> Digest {
        Digest::of_parts([&self.0.as_bytes()[..], body])
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;
    use proptest::prelude::*;

    fn lines() -> Vec<Vec<u8>> {
        let mut chain = Chain::default();
        [&b"{\"a\":1}"[..], b"{\"b\":2}"]
            .iter()
            .map(|body| chain.seal(body))
            .collect()
    }

    #[test]
    fn lines_open_in_order_only() {
        let lines = lines();
        let bare = |i: usize| lines[i].strip_suffix(b"\n").unwrap();
        let mut chain = Chain::default();
        assert_eq!(chain.open(bare(0)), Some(&b"{\"a\":1}"[..]));
        assert_eq!(chain.open(bare(0)), None);
        assert_eq!(chain.open(bare(1)), Some(&b"{\"b\":2}"[..]));
        assert_eq!(Chain::default().open(bare(1)), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..90, change in 1u8..=255) {
            let mut line = lines()[0].strip_suffix(b"\n").unwrap().to_vec();
            let at = at % line.len();
            line[at] ^= change;
            prop_assert_eq!(Chain::default().open(&line), None);
        }
    }
}
