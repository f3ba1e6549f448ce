//! Both gradients of a convolution, on the host.
//!
//! With the windows of all output pixels as the rows of a matrix `X`, filters a matrix `F`, and `Y = X F` ([the form of the forward
//! pass](super)): `dF = X^T dY`, and `dX = dY F^T`, each row of which is added to the pixels that its window covers. Windows are copied out,
//! or added back, some pixels at a time. What one thread computes at a time is a part whose size does not depend on how many there
//! are, and parts are added in their order; so the bits are the same for any team.

use super::shape::{Shape, Window};
use crate::buffer::granule;
use crate::device::{Team, chunk};
use crate::matrix::{Matrix, MatrixMut, Store, multiply};

/// Pixels whose windows are multiplied at a time.
const PIXELS: usize = 256;
/// Parts at most of the pixels of a gradient of filters, each with sums of its own; and pixels at least of a part.
const MOST_PARTS: usize = 16;
const PART_PIXELS: usize = 1024;

/// Additions at most on the way of an element of the gradient of filters.
pub fn additions(shape: &Shape) -> usize {
    shape.pixels() + MOST_PARTS
}

fn parts(shape: &Shape) -> usize {
    shape.pixels().div_ceil(PART_PIXELS).clamp(1, MOST_PARTS)
}

/// Numbers that [`filters`] needs for its sums.
pub fn room(shape: &Shape) -> usize {
    parts(shape).saturating_mul(shape.weights())
}

/// Copies a window out of images.
fn copy(shape: &Shape, window: &Window, images: &[f32], row: &mut [f32]) {
    row.fill(0.0);
    for (r, line) in row.chunks_exact_mut(shape.line()).enumerate() {
        let (at, source) = shape.part_of_line(window, r);
        line[at..at + source.len()].copy_from_slice(&images[source]);
    }
}

/// Adds a window to what it covers of images.
fn add(shape: &Shape, window: &Window, row: &[f32], images: &mut [f32]) {
    for (r, line) in row.chunks_exact(shape.line()).enumerate() {
        let (at, source) = shape.part_of_line(window, r);
        let from = &line[at..at + source.len()];
        let places = images[source].iter_mut().zip(from);
        places.for_each(|(x, y)| *x += y);
    }
}

/// `df = X^T dy`, or added to `df`. `room` has as many numbers as [`room`] says.
pub fn filters(
    team: &Team,
    shape: &Shape,
    [x, dy]: [&[f32]; 2],
    room: &mut [f32],
    df: &mut [f32],
    store: Store,
) {
    if shape.weights() == 0 {
        return;
    }
    let count = parts(shape);
    let tasks = room.chunks_exact_mut(shape.weights()).enumerate();
    team.deal(tasks.collect(), |(part, sums)| {
        let pixels = chunk(shape.pixels(), 1, count, part);
        let mut rows = vec![0.0; PIXELS.min(pixels.len()) * shape.window()];
        sums.fill(0.0);
        for first in pixels.clone().step_by(PIXELS) {
            let count = PIXELS.min(pixels.end - first);
            let rows = &mut rows[..count * shape.window()];
            let mut window = shape.window_of(first);
            for row in rows.chunks_exact_mut(shape.window()) {
                copy(shape, &window, x, row);
                shape.advance(&mut window);
            }
            let dy = &dy[first * shape.filters..][..count * shape.filters];
            multiply(
                &mut MatrixMut::whole(sums, shape.window(), shape.filters),
                Matrix::whole(rows, count, shape.window()).transposed(),
                Matrix::whole(dy, count, shape.filters),
                Store::Add,
            );
        }
    });
    let room = &*room;
    let outputs = team.split_mut(df, granule::<f32>()).into_iter();
    let firsts = (0..team.threads())
        .map(|index| chunk(shape.weights(), granule::<f32>(), team.threads(), index).start);
    team.each(outputs.zip(firsts).collect(), |(out, first)| {
        if store == Store::Set {
            out.fill(0.0);
        }
        for sums in room.chunks_exact(shape.weights()) {
            let sums = &sums[*first..][..out.len()];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    });
}

/// `dx`: the rows of `dy F^T` added to what their windows cover; image by image, each by one thread.
pub fn input(team: &Team, shape: &Shape, [filters, dy]: [&[f32]; 2], dx: &mut [f32]) {
    let of_image = shape.out_height * shape.out_width;
    let size = shape.height * shape.width * shape.channels;
    if size == 0 {
        return;
    }
    let turned = Matrix::whole(filters, shape.window(), shape.filters).transposed();
    let tasks = dx.chunks_exact_mut(size).enumerate();
    team.deal(tasks.collect(), |(image, dx)| {
        dx.fill(0.0);
        let mut rows = vec![0.0; PIXELS.min(of_image) * shape.window()];
        for first in (0..of_image).step_by(PIXELS) {
            let count = PIXELS.min(of_image - first);
            let rows = &mut rows[..count * shape.window()];
            let dy = &dy[(image * of_image + first) * shape.filters..][..count * shape.filters];
            multiply(
                &mut MatrixMut::whole(rows, count, shape.window()),
                Matrix::whole(dy, count, shape.filters),
                turned,
                Store::Set,
            );
            // As if it were the first image.
            let mut window = shape.window_of(first);
            for row in rows.chunks_exact(shape.window()) {
                add(shape, &window, row, dx);
                shape.advance(&mut window);
            }
        }
    });
}
