//! Transposes blocks of 16 by 16 elements within vector registers, so that cache lines are read and written whole.
#![allow(unsafe_code)] // vector instructions that take addresses, chosen at run time

#[cfg(target_arch = "x86_64")]
mod x86;

/// Side of a block: a cache line of `f32`.
pub const SIDE: usize = 16;

/// A way to transpose blocks.
#[derive(Clone, Copy, Debug)]
pub struct Block(Kernel);

/// `(to, elements between its rows, from, elements between its rows)`
type Kernel = unsafe fn(*mut f32, usize, *const f32, usize);

impl Block {
    /// The best on this machine. If it `streams`, it stores past the caches where the machine can.
    pub fn best(streams: bool) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = x86::best(streams) {
            return Self(kernel);
        }
        let _ = streams;
        Self(plain)
    }

    /// Writes the block at the beginning of `input`, whose rows are `cols` apart, to the beginning of `out`, whose rows
    /// are `rows` apart.
    ///
    /// # Panics
    /// If either has no whole block.
    #[inline]
    pub fn transpose(self, out: &mut [f32], rows: usize, input: &[f32], cols: usize) {
        let last = (SIDE - 1) * rows + SIDE;
        assert!(out.len() >= last, "a whole block of output");
        let last = (SIDE - 1) * cols + SIDE;
        assert!(input.len() >= last, "a whole block of input");
        // SAFETY: all elements of the block are inside both slices, and `best` chose what the processor can do.
        unsafe { (self.0)(out.as_mut_ptr(), rows, input.as_ptr(), cols) };
    }

    /// To be called behind the last block: makes what was stored past the caches visible to whom this thread meets next.
    #[inline]
    pub fn finish() {
        #[cfg(target_arch = "x86_64")]
        x86::fence();
    }
}

/// Columns of a tile of [`Shifted`] at most: what is kept of each, a line, stays in the first cache.
pub const MOST_WIDE: usize = 256;

/// A way to transpose to rows that begin anywhere in a cache line, and still store whole lines.
#[derive(Clone, Copy, Debug)]
pub struct Shifted(());

/// Blocks that are transposed with one above the other.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// The input.
    pub input: &'a [f32],
    /// Of the input.
    pub cols: usize,
    /// The first row and column of the tile, multiples of [`SIDE`].
    pub at: [usize; 2],
    /// Rows and columns of the tile, multiples of [`SIDE`].
    pub size: [usize; 2],
}

impl Shifted {
    /// If this machine has one.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx512() {
            return Some(Self(()));
        }
        None
    }

    /// Writes a tile to columns `first ..` of it, which are the rows of `out`, each of `rows` elements: all lines that end before the
    /// last row of the tile. `first` is the column of the input that the first row of `out` is.
    ///
    /// # Panics
    /// If the tile is not inside, or `out` does not begin with a cache line.
    #[allow(clippy::unused_self)] // whoever has one may do this
    pub fn tile(self, out: &mut [f32], rows: usize, first: usize, tile: Tile) {
        let Tile {
            input,
            cols,
            at: [row, column],
            size: [height, width],
        } = tile;
        let whole = [row, column, height, width]
            .iter()
            .all(|n| n.is_multiple_of(SIDE));
        assert!(whole && width <= MOST_WIDE, "whole blocks, not too many");
        assert!(
            row + height <= rows && (column + width) * rows <= out.len(),
            "a tile of the output"
        );
        assert!(
            first + column + width <= cols && rows * cols <= input.len(),
            "a tile of the input"
        );
        assert!(
            out.as_ptr().addr().is_multiple_of(SIDE * size_of::<f32>()),
            "a line begins here"
        );
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has AVX-512, since there is a `Shifted`; the tile is inside both, with a block above it if it is
        // not the first, and its columns begin with a line, since they are a multiple of as many elements.
        unsafe {
            let to = out.as_mut_ptr().add(column * rows + row);
            let from = input.as_ptr().add(row * cols + first + column);
            x86::shifted((to, rows), (from, cols), [height, width], row == 0);
        }
    }
}

/// For any machine.
///
/// # Safety
/// There must be whole blocks of either kind.
unsafe fn plain(to: *mut f32, rows: usize, from: *const f32, cols: usize) {
    for column in 0..SIDE {
        for row in 0..SIDE {
            // SAFETY: inside the block.
            unsafe { *to.add(column * rows + row) = *from.add(row * cols + column) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Kernel, SIDE, plain};

    const ROWS: usize = 2 * SIDE;
    const COLS: usize = 3 * SIDE;

    /// Aligned to a line, as stores past the caches want it.
    #[repr(align(64))]
    struct Output([f32; ROWS * COLS]);

    /// Every implementation that this machine can run.
    fn blocks() -> Vec<Block> {
        let kernels: Vec<Kernel> = vec![plain];
        #[cfg(target_arch = "x86_64")]
        let kernels = kernels.into_iter().chain(super::x86::all());
        kernels.into_iter().map(Block).collect()
    }

    #[test]
    fn every_element_goes_to_its_place_and_nothing_else_changes() {
        let input: Vec<f32> = (0..ROWS * COLS).map(|i| i as f32).collect();
        for block in blocks() {
            let mut lines = Output([-1.0; ROWS * COLS]);
            let out = &mut lines.0;
            block.transpose(
                &mut out[SIDE * ROWS + SIDE..],
                ROWS,
                &input[SIDE * COLS + SIDE..],
                COLS,
            );
            Block::finish();
            for (i, found) in out.iter().enumerate() {
                let (column, row) = (i / ROWS, i % ROWS);
                let moved = (SIDE..2 * SIDE).contains(&column) && row >= SIDE;
                let exact = if moved {
                    input[row * COLS + column]
                } else {
                    -1.0
                };
                assert_eq!(found.to_bits(), exact.to_bits(), "{block:?} {row} {column}");
            }
        }
    }
}
