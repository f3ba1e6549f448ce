//! Convolution without any other copy of the input: a tile's windows are read where they lie in the image.
//!
//! Filters are packed by all threads first; then each has its own pixels of the output. For each place of the window,
//! and each channel of it, a tile adds the products of some pixels and some filters in registers. The order of
//! the sums is that of the window, so the bits do not depend on the number of threads.

use super::filters::Packed;
use super::shape::{Shape, Window};
use super::tile::{self, add_products, in_tiles};
use crate::device::{Member, Team};

/// Convolves `iterations` times, and returns the nanoseconds that it took.
pub fn time(
    team: &Team,
    iterations: u64,
    shape: Shape,
    input: &[f32],
    filters: &[f32],
    output: &mut [f32],
) -> u64 {
    let [rows, width] = tile::best();
    let packed = Packed::new(&shape, width);
    let zeros = vec![0.0; shape.line()];
    let mut first_pixel = 0;
    let parts = team.split_mut(output, rows * shape.filters);
    let tasks = parts.into_iter().map(|output| {
        let first = first_pixel;
        first_pixel += output.len() / shape.filters;
        (first, output)
    });
    team.time(iterations, tasks.collect(), |member: &Member, task| {
        packed.pack(filters, shape.filters, team.threads(), member.index);
        member.meet();
        for index in 0..packed.count() {
            let sliver = packed.sliver(index);
            let of_filters = OfFilters {
                shape: &shape,
                input,
                zeros: &zeros,
                sliver: &sliver,
                first: index * width,
            };
            pixels(&of_filters, task.0, task.1);
        }
        // Nobody packs the next iteration's filters while another still reads these.
        member.meet();
    })
}

/// What the pixels of some filters are made of.
struct OfFilters<'a> {
    shape: &'a Shape,
    input: &'a [f32],
    /// Pixels outside of the image.
    zeros: &'a [f32],
    /// The filters, and the number of the first.
    sliver: &'a [f32],
    first: usize,
}

impl OfFilters<'_> {
    /// The channels of some pixels of a window, of which those of one line are all in the image or none is.
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn channels(&self, window: &Window, [r, s]: [usize; 2], len: usize) -> &[f32] {
        let Shape {
            height,
            width,
            channels,
            padding,
            ..
        } = *self.shape;
        // Beyond the left or upper border, they are very large.
        let row = (window.top + r).wrapping_sub(padding);
        let column = (window.left + s).wrapping_sub(padding);
        if row < height && column < width {
            &self.input[((window.image * height + row) * width + column) * channels..][..len]
        } else {
            &self.zeros[..len]
        }
    }

    /// Whether no window has a pixel beyond the left or right border.
    fn are_inside(&self, windows: &[Window]) -> bool {
        let Shape {
            width,
            kernel,
            padding,
            ..
        } = *self.shape;
        windows
            .iter()
            .all(|window| window.left >= padding && window.left + kernel <= padding + width)
    }
}

in_tiles! {
    /// Some filters of the pixels from `first` on.
    fn pixels(of_filters: &OfFilters, first: usize, output: &mut [f32]) = pixels_of
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn pixels_of<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    of_filters: &OfFilters,
    first: usize,
    output: &mut [f32],
) {
    let all = of_filters.shape.filters;
    for (index, pixels) in output.chunks_mut(ROWS * all).enumerate() {
        let first = first + index * ROWS;
        // Rows that no pixel has repeat the first one.
        let mut windows = [of_filters.shape.window_of(first); ROWS];
        for (window, pixel) in windows.iter_mut().zip(first..first + pixels.len() / all) {
            *window = of_filters.shape.window_of(pixel);
        }
        let tile = sums::<ROWS, COLS, FUSED>(of_filters, &windows);
        for (pixel, sums) in pixels.chunks_exact_mut(all).zip(&tile) {
            tile::store(&mut pixel[of_filters.first..], sums);
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn sums<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    of_filters: &OfFilters,
    windows: &[Window; ROWS],
) -> [[f32; COLS]; ROWS] {
    let Shape {
        kernel, channels, ..
    } = *of_filters.shape;
    // Of a line at a time, or of a pixel.
    let columns = if of_filters.are_inside(windows) {
        kernel
    } else {
        1
    };
    let mut tile = [[0.0; COLS]; ROWS];
    let (filters, _) = of_filters.sliver.as_chunks::<COLS>();
    for (piece, filters) in filters.chunks_exact(columns * channels).enumerate() {
        let first = piece * columns;
        let place = [first / kernel, first % kernel];
        let pixels = windows
            .each_ref()
            .map(|window| of_filters.channels(window, place, filters.len()));
        tile = add_products::<ROWS, COLS, FUSED>(tile, &pixels, filters);
    }
    tile
}
