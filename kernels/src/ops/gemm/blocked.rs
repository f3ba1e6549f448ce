//! Our own GEMM: cache-blocked, packed and register-tiled.
//!
//! After K. Goto, R. A. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS
//! 34(3), 2008, in the loop order of BLIS. Panels of `B` are packed by all threads together and read by all;
//! each thread multiplies its own rows of `A`. The inner kernel holds a tile of `C` in registers.
//! Every element of `C` is summed in the order of `k`, so the bits do not depend on the number of threads.
#![allow(unsafe_code)] // calling functions compiled for more than the baseline

use std::sync::{PoisonError, RwLock};

use super::Shape;
use crate::device::{Member, Team, chunk};
#[cfg(target_arch = "x86_64")]
use crate::simd::{has_avx2, has_avx512};

/// Depth of a panel: a sliver of `A` and one of `B` stay in the L1 cache.
const KC: usize = 256;
/// Rows of a block of `A`, which stays in the L2 cache; a multiple of every tile's height.
const MC: usize = 240;
/// Columns of a panel of `B`, which stays in the L3 cache.
const NC: usize = 4096;

/// Multiplies `iterations` times, and returns the nanoseconds that it took.
pub fn time(
    team: &Team,
    iterations: u64,
    shape: Shape,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) -> u64 {
    let tile = Tile::best();
    let panel: Vec<_> = (0..team.threads())
        .map(|_| RwLock::new(Vec::new()))
        .collect();
    let product = Product {
        shape,
        tile,
        a,
        b,
        threads: team.threads(),
        panel: &panel,
    };
    let mut first_row = 0;
    let rows = team.split_mut(c, tile.rows * shape.n);
    let tasks = rows.into_iter().map(|c| {
        let first = first_row;
        first_row += c.len() / shape.n;
        Share {
            first_row: first,
            c,
            block: Vec::new(),
        }
    });
    team.time(iterations, tasks.collect(), |member, task| {
        product.multiply(member, task);
    })
}

/// A register tile, and the instructions that its kernel uses.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    cols: usize,
    kernel: Kernel,
}

/// Multiplies a packed block of `A` by a packed sliver of `B` into some columns of `C`.
type Kernel = fn(&mut Columns, block: &[f32], sliver: &[f32], depth: usize);

/// Some columns of some rows of `C`.
struct Columns<'a> {
    /// Whole rows, `stride` elements each.
    rows: &'a mut [f32],
    stride: usize,
    first: usize,
    count: usize,
    /// Whether this is the first panel, which overwrites what `C` held.
    overwrite: bool,
}

impl Tile {
    /// The largest tile that fits the registers of this machine: 32 of 16 lanes, 16 of 8, or 16 of 4.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                // SAFETY: the processor has every feature that the function enables.
                let kernel: Kernel =
                    |c, block, sliver, depth| unsafe { avx512(c, block, sliver, depth) };
                return Self {
                    rows: 12,
                    cols: 32,
                    kernel,
                };
            }
            if has_avx2() {
                // SAFETY: the processor has every feature that the function enables.
                let kernel: Kernel =
                    |c, block, sliver, depth| unsafe { avx2(c, block, sliver, depth) };
                return Self {
                    rows: 6,
                    cols: 16,
                    kernel,
                };
            }
        }
        Self {
            rows: 6,
            cols: 8,
            kernel: slivers::<6, 8, false>,
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn avx512(c: &mut Columns, block: &[f32], sliver: &[f32], depth: usize) {
    slivers::<12, 32, true>(c, block, sliver, depth);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(c: &mut Columns, block: &[f32], sliver: &[f32], depth: usize) {
    slivers::<6, 16, true>(c, block, sliver, depth);
}

/// What all threads know.
struct Product<'a> {
    shape: Shape,
    tile: Tile,
    a: &'a [f32],
    b: &'a [f32],
    threads: usize,
    /// The packed panel of `B`: each thread writes its own part, and reads all.
    panel: &'a [RwLock<Vec<f32>>],
}

/// What one thread works on.
struct Share<'a> {
    first_row: usize,
    /// Its rows of `C`.
    c: &'a mut [f32],
    /// The packed block of `A`.
    block: Vec<f32>,
}

/// A part of `B`: `depth` rows from `k` on, and `count` columns from `j` on.
#[derive(Clone, Copy)]
struct Panel {
    k: usize,
    depth: usize,
    j: usize,
    count: usize,
}

impl Product<'_> {
    fn multiply(&self, member: &Member, share: &mut Share) {
        let Shape { n, k, .. } = self.shape;
        for j in (0..n).step_by(NC) {
            for p in (0..k).step_by(KC) {
                let panel = Panel {
                    k: p,
                    depth: KC.min(k - p),
                    j,
                    count: NC.min(n - j),
                };
                self.pack_panel(member.index, panel);
                member.meet();
                self.multiply_panel(share, panel);
                member.meet();
            }
        }
    }

    /// The columns of a panel that a thread packs.
    fn columns(&self, thread: usize, panel: Panel) -> std::ops::Range<usize> {
        chunk(panel.count, self.tile.cols, self.threads, thread)
    }

    fn pack_panel(&self, thread: usize, panel: Panel) {
        let width = self.tile.cols;
        let mut part = self.panel[thread]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let columns = self.columns(thread, panel);
        part.resize(columns.len().div_ceil(width) * width * panel.depth, 0.0);
        let slivers = part.chunks_exact_mut(width * panel.depth);
        for (sliver, first) in slivers.zip(columns.clone().step_by(width)) {
            let count = width.min(columns.end - first);
            for (packed, k) in sliver.chunks_exact_mut(width).zip(panel.k..) {
                let from = k * self.shape.n + panel.j + first;
                packed[..count].copy_from_slice(&self.b[from..from + count]);
                packed[count..].fill(0.0);
            }
        }
    }

    fn multiply_panel(&self, share: &mut Share, panel: Panel) {
        let n = self.shape.n;
        let width = self.tile.cols;
        for (index, rows) in share.c.chunks_mut(MC * n).enumerate() {
            let first_row = share.first_row + index * MC;
            self.pack_block(&mut share.block, first_row, rows.len() / n, panel);
            for (thread, part) in self.panel.iter().enumerate() {
                let part = part.read().unwrap_or_else(PoisonError::into_inner);
                let columns = self.columns(thread, panel);
                let slivers = part.chunks_exact(width * panel.depth);
                for (sliver, column) in slivers.zip(columns.clone().step_by(width)) {
                    let mut c = Columns {
                        rows: &mut *rows,
                        stride: n,
                        first: panel.j + column,
                        count: width.min(columns.end - column),
                        overwrite: panel.k == 0,
                    };
                    (self.tile.kernel)(&mut c, &share.block, sliver, panel.depth);
                }
            }
        }
    }

    /// Packs rows of `A` in slivers of the tile's height, column by column, padded with zeros.
    fn pack_block(&self, block: &mut Vec<f32>, first_row: usize, rows: usize, panel: Panel) {
        let height = self.tile.rows;
        block.clear();
        block.resize(rows.div_ceil(height) * height * panel.depth, 0.0);
        for (index, sliver) in block.chunks_exact_mut(height * panel.depth).enumerate() {
            let count = height.min(rows - index * height);
            for i in 0..count {
                let from = (first_row + index * height + i) * self.shape.k + panel.k;
                let line = &self.a[from..from + panel.depth];
                for (slot, a) in sliver[i..].iter_mut().step_by(height).zip(line) {
                    *slot = *a;
                }
            }
        }
    }
}

/// Every sliver of a block by one sliver of `B`.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn slivers<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    c: &mut Columns,
    block: &[f32],
    sliver: &[f32],
    depth: usize,
) {
    let bands = c.rows.chunks_mut(ROWS * c.stride);
    for (band, a) in bands.zip(block.chunks_exact(ROWS * depth)) {
        let tile = multiply_tile::<ROWS, COLS, FUSED>(a, sliver);
        for (line, sums) in band.chunks_exact_mut(c.stride).zip(&tile) {
            let line = &mut line[c.first..c.first + c.count];
            if c.overwrite {
                line.copy_from_slice(&sums[..c.count]);
            } else {
                line.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum);
            }
        }
    }
}

/// The product of two slivers, accumulated in registers.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn multiply_tile<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    a: &[f32],
    b: &[f32],
) -> [[f32; COLS]; ROWS] {
    let mut tile = [[0.0; COLS]; ROWS];
    let (a, _) = a.as_chunks::<ROWS>();
    let (b, _) = b.as_chunks::<COLS>();
    for (a, b) in a.iter().zip(b) {
        for (sums, a) in tile.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = if FUSED {
                    a.mul_add(*b, *sum)
                } else {
                    *sum + a * b
                };
            }
        }
    }
    tile
}
