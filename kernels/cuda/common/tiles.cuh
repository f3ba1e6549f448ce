// Which tile of a matrix a block of a one-dimensional grid takes.
#pragma once

#include "common/cuda.cuh"

namespace assay {

/// A place in a grid of tiles.
struct Tile {
    u32 row, column;
};

/// Tile number `index` of `rows` by `columns`, in an order in which blocks that run at the same time share operands: down
/// bands of 8 rows of tiles, column by column.
ASSAY_DEVICE Tile tile_in_bands(u32 index, u32 rows, u32 columns) {
    constexpr u32 HEIGHT = 8;
    const u32 band = index / (HEIGHT * columns), within = index % (HEIGHT * columns);
    const u32 height = minimum(HEIGHT, rows - band * HEIGHT);
    return {band * HEIGHT + within % height, within / height};
}

/// A tile of one of several matrices of the same size, and which of them.
struct BatchTile {
    u64 matrix;
    Tile tile;
};

ASSAY_DEVICE BatchTile tile_in_batch(u32 index, u32 rows, u32 columns) {
    const u32 tiles = rows * columns;
    return {index / tiles, tile_in_bands(index % tiles, rows, columns)};
}

}  // namespace assay
