//! The implementations for CUDA devices.

use assay_protocol::Failure;

use super::Tensors;
use super::shape::{NAMES, Shape};
use crate::parameters::Arguments;
use crate::program::{Arg, Launch, Source, Step, cuda_source};

static SOURCE: Source = cuda_source!("dense/conv2d.cu");

/// Pixels and filters of a block of the implicit product.
const TILE: [usize; 2] = [128, 128];
/// Lines, pixels of a line, and filters of a direct block.
const BLOCK: [usize; 3] = [8, 16, 64];
/// Shared memory with which several direct blocks are on a multiprocessor, and what every one of them has.
const SHARED_BYTES: [usize; 2] = [48 << 10, 96 << 10];

/// The one step of a case.
pub fn step(arguments: &Arguments, shape: &Shape, tensors: Tensors) -> Result<Step, Failure> {
    let is_direct = arguments.choice("variant", &[("implicit-gemm", false), ("direct", true)])?;
    let sizes = sizes(shape)?;
    if shape.is_nothing() {
        // The sum of nothing: zeros, if anything.
        let (buffer, byte) = (tensors.output, 0);
        return Ok(Step::Set { buffer, byte });
    }
    let launch = if is_direct {
        direct(shape)?
    } else {
        implicit(shape)?
    };
    let buffers = [tensors.output, tensors.input, tensors.filters].map(Arg::Buffer);
    Ok(Step::Launch(launch.args(buffers).args(sizes.map(Arg::U32))))
}

/// Every size, as kernels take it.
pub fn sizes(shape: &Shape) -> Result<[u32; 10], Failure> {
    const MOST: usize = i32::MAX as usize;
    // A tile's last window may begin behind the border, by less than a tile.
    let beyond = (16_usize.saturating_mul(shape.stride)).saturating_add(shape.kernel);
    let border = shape.padding.saturating_mul(2).saturating_add(beyond);
    let spans = [shape.height, shape.width].map(|side| side.saturating_add(border));
    let counts = [shape.pixels(), shape.window(), shape.filters];
    if spans.iter().chain(&counts).any(|count| *count > MOST) {
        return Err(Failure::Failed(format!(
            "parameters {NAMES}: expected fewer than 2^31 pixels of the output, elements of a \
             window, filters, and places along a side on CUDA devices"
        )));
    }
    let sizes = [
        shape.batch,
        shape.channels,
        shape.filters,
        shape.height,
        shape.width,
        shape.kernel,
        shape.stride,
        shape.padding,
        shape.out_height,
        shape.out_width,
    ];
    // Where there is nothing to add up, no kernel sees them.
    Ok(sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX)))
}

/// The tiled product, without arguments.
pub fn implicit(shape: &Shape) -> Result<Launch, Failure> {
    let tiles = [
        shape.pixels().div_ceil(TILE[0]),
        shape.filters.div_ceil(TILE[1]),
    ];
    let is_vector = shape.channels.is_multiple_of(4) && shape.filters.is_multiple_of(4);
    let kernel = format!("conv2d_implicit<{is_vector}>");
    Ok(Launch::new(&SOURCE, kernel, blocks(&tiles)?, 256))
}

fn direct(shape: &Shape) -> Result<Launch, Failure> {
    let [few, most] = SHARED_BYTES;
    let fits = |(channels, limit): &(usize, usize)| {
        (shape.channels > 4 || *channels == 4) && shared_bytes(shape, *channels) <= *limit
    };
    let chosen = [(8, few), (4, few), (4, most)].into_iter().find(fits);
    let (channels, _) = chosen.ok_or_else(|| {
        Failure::Skipped(format!(
            "variant `direct` does not fit into the shared memory of a block with `kernel` {} and `stride` {}; \
             `implicit-gemm` has no such limit",
            shape.kernel, shape.stride
        ))
    })?;
    let [lines, line, filters] = BLOCK;
    let tiles = [
        shape.batch,
        shape.out_height.div_ceil(lines),
        shape.out_width.div_ceil(line),
        shape.filters.div_ceil(filters),
    ];
    let kernel = format!("conv2d_direct<{channels}>");
    Ok(Launch {
        shared_bytes: shared_bytes(shape, channels) as u32,
        ..Launch::new(&SOURCE, kernel, blocks(&tiles)?, 256)
    })
}

/// Shared memory of a direct block that takes some channels at a time.
fn shared_bytes(shape: &Shape, channels: usize) -> usize {
    let [lines, line, filters] = BLOCK;
    let side = |pixels: usize| (pixels - 1) * shape.stride + shape.kernel;
    // Sides are below 2^31, so none of this is beyond 64 bits.
    let patch = (side(lines) * side(line)).saturating_mul(channels + 4);
    patch
        .saturating_add(shape.kernel * channels * filters)
        .saturating_mul(4)
}

/// Blocks of a launch.
fn blocks(tiles: &[usize]) -> Result<u32, Failure> {
    let count = tiles
        .iter()
        .try_fold(1_usize, |count, tiles| count.checked_mul(*tiles));
    let count = count.and_then(|count| i32::try_from(count).ok());
    count.map(i32::cast_unsigned).ok_or_else(|| {
        Failure::Failed(format!("parameters {NAMES}: too many tiles for one launch"))
    })
}
