//! Convolution as a matrix product whose left side is never there as a whole.
//!
//! After K. Goto, R. A. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, with the
//! windows of some pixels packed where that packs a block of A (as S. Chetlur et al., "cuDNN: efficient primitives for
//! deep learning", 2014, section 3, do on a GPU). All threads pack the filters; then each has its own pixels.
//! A window lies packed as a row, not transposed: its lines are copied as they lie in the image.
//! Where windows are pixels the left side lies there as the input, and the `gemm` crate multiplies.
//! Every element is summed in one order, panel by panel of the window, so the bits do not depend on the number of threads.

use super::filters::Packed;
use super::shape::{Shape, Window};
use super::tile::{self, add_products, in_tiles};
use crate::device::{Member, Team};
use crate::ops::gemm;
use crate::simd::wide;

/// Most elements of a window at a time: a tile's filters and pixels stay in the L1 cache.
const DEPTH: usize = 256;
/// From one packed row to the next: another number of cache lines than a power of two.
const PITCH: usize = DEPTH + 16;
/// Pixels of a block, which stays in the L2 cache; a multiple of every tile's.
const PIXELS: usize = 240;

/// Convolves `iterations` times, and returns the nanoseconds that it took.
pub fn time(
    team: &Team,
    iterations: u64,
    shape: Shape,
    input: &[f32],
    filters: &[f32],
    output: &mut [f32],
) -> u64 {
    if shape.is_product() {
        let product = gemm::Shape::of_one(shape.pixels(), shape.filters, shape.channels);
        return gemm::library::time(team, iterations, product, input, filters, output);
    }
    let [rows, width] = tile::best();
    let product = Product {
        shape,
        input,
        filters,
        threads: team.threads(),
        packed: Packed::new(&shape, width),
        width,
    };
    let mut first_pixel = 0;
    let parts = team.split_mut(output, rows * shape.filters);
    let tasks = parts.into_iter().map(|output| {
        let first = first_pixel;
        first_pixel += output.len() / shape.filters;
        Share {
            first_pixel: first,
            output,
            // Not zeros, which memory is only found for when they are first touched.
            block: vec![f32::NAN; PIXELS * PITCH],
        }
    });
    team.time(iterations, tasks.collect(), |member, share| {
        product.run(member, share);
    })
}

/// What all threads know.
struct Product<'a> {
    shape: Shape,
    input: &'a [f32],
    filters: &'a [f32],
    threads: usize,
    packed: Packed,
    /// Filters of a tile.
    width: usize,
}

/// What one thread works on.
struct Share<'a> {
    first_pixel: usize,
    /// All filters of its pixels.
    output: &'a mut [f32],
    /// The packed windows of a block.
    block: Vec<f32>,
}

/// Elements of windows that are summed at a time.
#[derive(Clone, Copy)]
struct Panel {
    first: usize,
    end: usize,
}

impl Product<'_> {
    fn run(&self, member: &Member, share: &mut Share) {
        let filters = self.shape.filters;
        self.packed
            .pack(self.filters, filters, self.threads, member.index);
        member.meet();
        for (index, output) in share.output.chunks_mut(PIXELS * filters).enumerate() {
            let first = share.first_pixel + index * PIXELS;
            for panel in panels(self.shape.window()) {
                pack(&mut share.block, self, first, output.len() / filters, panel);
                self.multiply(output, &share.block, panel);
            }
        }
        // Nobody packs the next iteration's filters while another still reads these.
        member.meet();
    }

    fn multiply(&self, output: &mut [f32], block: &[f32], panel: Panel) {
        for index in 0..self.packed.count() {
            let sliver = self.packed.sliver(index);
            let sliver = &sliver[panel.first * self.width..panel.end * self.width];
            let mut columns = Columns {
                stride: self.shape.filters,
                first: index * self.width,
                overwrite: panel.first == 0,
                pixels: &mut *output,
            };
            bands(&mut columns, block, sliver);
        }
    }
}

wide! {
    /// Packs a panel of the windows of some pixels, a row each.
    fn pack(block: &mut [f32], product: &Product, first_pixel: usize, pixels: usize, panel: Panel) {
        let shape = &product.shape;
        let (line, pitch) = (shape.line(), shape.width * shape.channels);
        let lines = panel.first / line..panel.end.div_ceil(line);
        let is_whole = panel.end - panel.first == shape.window();
        let mut window = shape.window_of(first_pixel);
        for row in block.chunks_exact_mut(PITCH).take(pixels) {
            match shape.first_inside(&window).filter(|_| is_whole) {
                // Most windows are: where each of their lines begins and ends is known.
                Some(first) => {
                    for (r, row) in row[..panel.end].chunks_exact_mut(line).enumerate() {
                        copy(row, &product.input[first + r * pitch..][..line]);
                    }
                }
                None => {
                    for r in lines.clone() {
                        pack_line(row, product, &window, r, panel);
                    }
                }
            }
            shape.advance(&mut window);
        }
    }
}

/// What line `r` of a window has in a panel.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn pack_line(row: &mut [f32], product: &Product, window: &Window, r: usize, panel: Panel) {
    let line = product.shape.line();
    // What of the panel this line is, and what of that is in the image.
    let (from, to) = (panel.first.max(r * line), panel.end.min((r + 1) * line));
    let (at, source) = product.shape.part_of_line(window, r);
    let at = r * line + at;
    let begin = at.clamp(from, to);
    let end = (at + source.len()).clamp(begin, to);
    let row = &mut row[from - panel.first..to - panel.first];
    if end > begin {
        let input = &product.input[source.start + (begin - at)..][..end - begin];
        copy(&mut row[begin - from..end - from], input);
    }
    if end - begin < to - from {
        row[..begin - from].fill(0.0);
        row[end - from..].fill(0.0);
    }
}

/// Copies all of a slice to another of its length, which is most often short.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn copy(to: &mut [f32], from: &[f32]) {
    if from.len() >= 16 {
        copy_vectors::<16>(to, from);
    } else if from.len() >= 4 {
        copy_vectors::<4>(to, from);
    } else {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// As [`copy`], of at least one vector. The last one may cover some of the one before.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn copy_vectors<const LANES: usize>(to: &mut [f32], from: &[f32]) {
    let (vectors, _) = from.as_chunks::<LANES>();
    let (places, _) = to.as_chunks_mut::<LANES>();
    for (place, vector) in places.iter_mut().zip(vectors) {
        *place = *vector;
    }
    if let (Some(place), Some(vector)) = (to.last_chunk_mut::<LANES>(), from.last_chunk()) {
        *place = *vector;
    }
}

/// The panels of a window: as few as there can be, of as much the same depth as there can be.
fn panels(window: usize) -> impl Iterator<Item = Panel> {
    let depth = window.div_ceil(window.div_ceil(DEPTH));
    (0..window).step_by(depth).map(move |first| Panel {
        first,
        end: window.min(first + depth),
    })
}

/// Some filters of some pixels of the output.
struct Columns<'a> {
    /// All filters of each pixel, `stride` of them.
    pixels: &'a mut [f32],
    stride: usize,
    first: usize,
    /// Whether this is the first panel, which overwrites what was there.
    overwrite: bool,
}

in_tiles! {
    /// The windows of a block by the filters of one tile.
    fn bands(columns: &mut Columns, block: &[f32], sliver: &[f32]) = bands_of
}

#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn bands_of<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    columns: &mut Columns,
    block: &[f32],
    sliver: &[f32],
) {
    let (sliver, _) = sliver.as_chunks::<COLS>();
    let (rows, _) = block.as_chunks::<PITCH>();
    let (bands, _) = rows.as_chunks::<ROWS>();
    let Columns { stride, first, .. } = *columns;
    for (pixels, band) in columns.pixels.chunks_mut(ROWS * stride).zip(bands) {
        // Rows that no pixel has count for nothing.
        let tile = add_products::<ROWS, COLS, FUSED>([[0.0; COLS]; ROWS], band, sliver);
        for (pixel, sums) in pixels.chunks_exact_mut(stride).zip(&tile) {
            let pixel = &mut pixel[first..];
            if columns.overwrite {
                tile::store(pixel, sums);
            } else {
                tile::add(pixel, sums);
            }
        }
    }
}
