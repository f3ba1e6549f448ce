//! Items that are no rows of a table: series, spectra, texts and pictures, made of a recipe, not learned.
//!
//! Every generator is one file that implements [`Items`]: it makes item `i` of a seed, says its labels, and checks by another way
//! than it made them that an item and its labels agree. [`Recipe`] is what it was told, as suites, commands and cards have it.

pub mod npy;
pub mod recipe;
pub mod workload;

use std::ops::Range;

use assay_kernels::program::Program;
use rayon::prelude::*;

use super::table::Table;

pub use recipe::Recipe;

/// About how many bytes one thread makes at a time: they fit into its cache.
const PART_BYTES: usize = 1 << 19;
/// How long a line is taken to be.
const LINE_BYTES: usize = 256;

/// What the bytes of an item are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line of text: plain, or a JSON object where it has several fields.
    Line {
        /// Whether it is an object.
        is_json: bool,
    },
    /// An array of one shape for all items, row-major and little-endian.
    Array {
        /// The type as `NumPy`'s format names it: `<f4`, `|u1`.
        element: &'static str,
        /// Bytes of an element.
        bytes: usize,
        /// Lengths of its axes.
        shape: Vec<usize>,
    },
}

impl Form {
    /// Bytes of an item; of a line, about so many.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Array { bytes, shape, .. } => bytes * shape.iter().product::<usize>(),
            Self::Line { .. } => LINE_BYTES,
        }
    }
}

/// What makes items. Item `i` depends on seed and `i` alone.
pub trait Items: Send + Sync {
    /// What the bytes of an item are.
    fn form(&self) -> Form;

    /// Appends the bytes of an item; a line ends with a newline.
    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>);

    /// Appends the bytes of several, one behind the other.
    fn append_range(&self, seed: u64, items: Range<u64>, out: &mut Vec<u8>) {
        for item in items {
            self.append(seed, item, out);
        }
    }

    /// Lines as a table of their fields, arrays by what is known of them: a row for each item, from `first` on.
    fn table(&self, seed: u64, first: u64, items: usize) -> Table;

    /// Whether an item is what its labels, or its own fields, say; in words if not. Reads the bytes, and shares no code with what made them.
    ///
    /// # Errors
    /// What does not agree.
    fn check(&self, seed: u64, item: u64, bytes: &[u8]) -> Result<(), String>;

    /// What makes the first items of a seed on a CUDA device, to the bit as [`Self::append`] makes them, which it compares; `None`
    /// where the host alone makes such items.
    fn program(&self, _seed: u64, _items: usize) -> Option<Program> {
        None
    }

    /// What is known of all items from the recipe alone, such as their entropy.
    fn facts(&self) -> Vec<(String, String)> {
        vec![]
    }
}

/// The bytes of items `first .. first + items`, one behind the other: the same whoever makes them, by any number of threads.
pub fn bytes(of: &dyn Items, seed: u64, first: u64, items: u64) -> Vec<u8> {
    let mut out = Vec::new();
    append_all(of, seed, first, items, &mut out);
    out
}

/// As [`bytes`], behind what `out` holds, whose memory is used again.
pub fn append_all(of: &dyn Items, seed: u64, first: u64, items: u64, out: &mut Vec<u8>) {
    let of_part = (PART_BYTES / of.form().bytes()).max(1) as u64;
    // As many parts as threads are made at a time, and put behind the others in their order.
    let together = of_part * rayon::current_num_threads() as u64;
    let mut parts: Vec<Vec<u8>> = vec![Vec::new(); rayon::current_num_threads()];
    let mut at = 0;
    while at < items {
        parts.par_iter_mut().enumerate().for_each(|(index, part)| {
            part.clear();
            let from = at + index as u64 * of_part;
            let to = (from + of_part).min(items);
            of.append_range(seed, first + from..first + to.max(from), part);
        });
        for part in &parts {
            out.extend_from_slice(part);
        }
        at += together;
    }
}

/// Numbers as the bytes of an array of them.
pub(super) fn append_f32(values: &[f32], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + 4 * values.len(), 0);
    for (bytes, value) in out[start..].chunks_exact_mut(4).zip(values) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

/// The numbers of an array of them.
pub(crate) fn read_f32(bytes: &[u8]) -> Vec<f32> {
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.chunks_exact(4).map(number).collect()
}
