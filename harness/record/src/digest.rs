//! The digest of what is too long to be held: read once, piece by piece.

use std::io::{self, Read};

use assay_protocol::{Digest, Digesting};

/// How much is held at a time, in bytes.
const CHUNK: usize = 1 << 18;

/// SHA-256 of all that can be read.
pub fn digest_of(mut from: impl Read) -> io::Result<Digest> {
    let mut digesting = Digesting::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(digesting.finish()),
            read => digesting.update(&chunk[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::Digest;

    use super::{CHUNK, digest_of};

    #[test]
    fn it_is_that_of_all_bytes_however_many() {
        for length in [0, 1, CHUNK, 2 * CHUNK + 1] {
            let bytes = vec![7; length];
            assert_eq!(digest_of(&bytes[..]).unwrap(), Digest::of(&bytes));
        }
    }
}
