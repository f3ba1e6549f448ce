//! Geometry of launches that bricks share: `ml/rows.cuh` on the side of the host.

use crate::element::DType;
use crate::program::{Arg, Launch, Source, blocks};

/// Packs of a row that a thread keeps: `KEPT` there.
const KEPT: usize = 4;

/// Elements that move at once: 16 bytes, where lines of `cols` elements are whole packs.
pub fn pack(dtype: DType, cols: usize) -> usize {
    let whole = 16 / dtype.bytes();
    if cols.is_multiple_of(whole) { whole } else { 1 }
}

/// A kernel over rows, one block each: `kernel<T, W>`.
pub fn by_rows(
    source: &'static Source,
    kernel: &str,
    dtype: DType,
    rows: usize,
    cols: usize,
) -> Launch {
    let width = pack(dtype, cols);
    let threads = (cols / width)
        .div_ceil(KEPT)
        .next_power_of_two()
        .clamp(32, 1024);
    let kernel = format!("{kernel}<{}, {width}>", dtype.cuda());
    Launch::new(
        source,
        kernel,
        blocks(rows, 1, i32::MAX.unsigned_abs()),
        threads as u32,
    )
    .args([Arg::size(rows), Arg::size(cols)])
}

/// A kernel over `n` elements, in lines of `line`, one pack a thread: `kernel<template T, W>`.
pub fn by_elements(
    source: &'static Source,
    kernel: &str,
    template: &str,
    dtype: DType,
    (n, line): (usize, usize),
) -> Launch {
    const THREADS: u32 = 256;
    let width = pack(dtype, line);
    let kernel = format!("{kernel}<{template}{}, {width}>", dtype.cuda());
    Launch::new(
        source,
        kernel,
        blocks(n, THREADS as usize * width, u32::MAX >> 1),
        THREADS,
    )
    .args([Arg::size(n)])
}
