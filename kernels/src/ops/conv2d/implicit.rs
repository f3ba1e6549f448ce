//! Convolution as a matrix product whose left side is never there as a whole.
//!
//! After K. Goto, R. A. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3), 2008, with the
//! windows of some pixels packed where that packs a block of A (as S. Chetlur et al., "cuDNN: efficient primitives for
//! deep learning", 2014, section 3, do on a GPU). All threads pack the filters; then each has its own pixels.
//! A window lies packed as a row, not transposed: its lines are copied as they lie in the image.
//! Every element is summed in one order, panel by panel of the window, so the bits do not depend on the number of threads.

use super::filters::Packed;
use super::shape::Shape;
use super::tile::{self, add_products, in_tiles};
use crate::device::{Member, Team};

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
            block: vec![0.0; PIXELS * PITCH],
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
                self.pack_block(&mut share.block, first, output.len() / filters, panel);
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
            let first = index * self.width;
            let mut columns = Columns {
                stride: self.shape.filters,
                first,
                count: self.width.min(self.shape.filters - first),
                overwrite: panel.first == 0,
                pixels: &mut *output,
            };
            bands(&mut columns, block, sliver);
        }
    }

    /// Packs a panel of the windows of some pixels, a row each.
    fn pack_block(&self, block: &mut [f32], first_pixel: usize, pixels: usize, panel: Panel) {
        let rows = block.chunks_exact_mut(PITCH);
        for (row, pixel) in rows.zip(first_pixel..first_pixel + pixels) {
            self.pack_window(&mut row[..panel.end - panel.first], pixel, panel.first);
        }
    }

    /// Elements of a window from `first` on.
    fn pack_window(&self, row: &mut [f32], pixel: usize, first: usize) {
        let line = self.shape.line();
        let window = self.shape.window_of(pixel);
        let end = first + row.len();
        for r in first / line..end.div_ceil(line) {
            // The line's part of this row, and within it, the image's.
            let of_line = first.max(r * line)..end.min((r + 1) * line);
            let (at, source) = self.shape.part_of_line(&window, r);
            let at = r * line + at;
            let inside = at.clamp(of_line.start, of_line.end)
                ..(at + source.len()).clamp(of_line.start, of_line.end);
            row[of_line.start - first..inside.start - first].fill(0.0);
            row[inside.end - first..of_line.end - first].fill(0.0);
            if !inside.is_empty() {
                let from = source.start + (inside.start - at);
                row[inside.start - first..inside.end - first]
                    .copy_from_slice(&self.input[from..from + inside.len()]);
            }
        }
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
    count: usize,
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
        let tile = multiply::<ROWS, COLS, FUSED>(band, sliver);
        for (pixel, sums) in pixels.chunks_exact_mut(stride).zip(&tile) {
            let pixel = &mut pixel[first..first + columns.count];
            if columns.overwrite {
                pixel.copy_from_slice(&sums[..columns.count]);
            } else {
                pixel.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
            }
        }
    }
}

/// A tile of sums, accumulated in registers. What rows hold behind the panel, and rows that no pixel has, count for nothing.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn multiply<const ROWS: usize, const COLS: usize, const FUSED: bool>(
    band: &[[f32; PITCH]; ROWS],
    sliver: &[[f32; COLS]],
) -> [[f32; COLS]; ROWS] {
    let mut tile = [[0.0; COLS]; ROWS];
    for (place, filters) in sliver.iter().enumerate().take(PITCH) {
        let mut pixels = [0.0; ROWS];
        for (pixel, row) in pixels.iter_mut().zip(band) {
            *pixel = row[place];
        }
        add_products::<ROWS, COLS, FUSED>(&mut tile, pixels, filters);
    }
    tile
}
