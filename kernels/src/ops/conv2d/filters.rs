//! Filters packed for tiles: those of one tile lie side by side, place after place of the window.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::shape::Shape;
use crate::device::chunk;

/// All filters, packed by the threads together, each of which then reads all.
pub struct Packed {
    /// For each `width` filters, a row of them for each element of a window; zeros where there are fewer.
    slivers: Vec<RwLock<Vec<f32>>>,
    width: usize,
}

impl Packed {
    /// Room for the filters of a convolution, `width` to a tile.
    pub fn new(shape: &Shape, width: usize) -> Self {
        // Not zeros, which memory is only found for when they are first touched.
        let sliver = || RwLock::new(vec![f32::NAN; shape.window() * width]);
        let count = shape.filters.div_ceil(width);
        Self {
            slivers: (0..count).map(|_| sliver()).collect(),
            width,
        }
    }

    /// How many tiles cover the filters.
    pub fn count(&self) -> usize {
        self.slivers.len()
    }

    /// Packs the part of thread `index` of `threads`.
    pub fn pack(&self, filters: &[f32], count: usize, threads: usize, index: usize) {
        let width = self.width;
        for sliver in chunk(self.slivers.len(), 1, threads, index) {
            let mut packed = self.slivers[sliver]
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let first = sliver * width;
            let end = count.min(first + width);
            let places = packed.chunks_exact_mut(width);
            for (packed, place) in places.zip(filters.chunks_exact(count)) {
                packed[..end - first].copy_from_slice(&place[first..end]);
                packed[end - first..].fill(0.0);
            }
        }
    }

    /// What was packed for a tile.
    pub fn sliver(&self, index: usize) -> RwLockReadGuard<'_, Vec<f32>> {
        self.slivers[index]
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
