//! What is in a picture, from its pixels alone, and what a caption says, from its words.

use super::{COLORS, GRID, ROWS};

/// A thing: shape, size, colour and place, in words.
type Told = [String; 4];

/// The pixels of one colour: how many, where they begin and end, and the sum of their rows.
#[derive(Clone, Copy)]
struct Patch {
    count: usize,
    rows: [usize; 2],
    columns: [usize; 2],
    sum_of_rows: usize,
}

/// The things in a picture, by their places.
pub fn read(bytes: &[u8], length: usize) -> Result<Vec<Told>, String> {
    if bytes.len() != length * length * 3 {
        return Err(format!(
            "{} bytes, expected {}",
            bytes.len(),
            length * length * 3
        ));
    }
    let mut patches: [Option<Patch>; COLORS.len()] = [None; COLORS.len()];
    for (place, pixel) in bytes.chunks_exact(3).enumerate() {
        let Some(color) = color([pixel[0], pixel[1], pixel[2]]) else {
            continue;
        };
        let (row, column) = (place / length, place % length);
        let patch = patches[color].get_or_insert(Patch {
            count: 0,
            rows: [row, row],
            columns: [column, column],
            sum_of_rows: 0,
        });
        patch.count += 1;
        patch.rows[1] = row;
        patch.columns = [patch.columns[0].min(column), patch.columns[1].max(column)];
        patch.sum_of_rows += row;
    }
    let seen = (0..)
        .zip(patches)
        .filter_map(|(color, patch): (usize, _)| Some((color, patch?)));
    let mut things: Vec<(usize, Told)> = seen
        .map(|(color, patch)| {
            let (cell, [shape, size, place]) = thing(patch, length);
            (cell, [shape, size, COLORS[color].0.to_owned(), place])
        })
        .collect();
    things.sort();
    Ok(things.into_iter().map(|(_, told)| told).collect())
}

/// The nearest colour; none of the ground, which is grey.
fn color(pixel: [u8; 3]) -> Option<usize> {
    let (least, most) = (pixel.iter().min()?, pixel.iter().max()?);
    if most - least < 75 {
        return None;
    }
    let distance = |color: &[u8; 3]| -> u32 {
        let differences = color
            .iter()
            .zip(pixel)
            .map(|(a, b)| u32::from(a.abs_diff(b)).pow(2));
        differences.sum()
    };
    (0..COLORS.len()).min_by_key(|color| distance(&COLORS[*color].1))
}

/// The cell of a patch, and its shape, size and place.
fn thing(patch: Patch, length: usize) -> (usize, [String; 3]) {
    let cell = length / GRID;
    let height = patch.rows[1] - patch.rows[0] + 1;
    let width = patch.columns[1] - patch.columns[0] + 1;
    let filled = patch.count as f64 / (height * width) as f64;
    // Where the middle of what is filled lies, from 0 at the top to 1.
    let balance = (patch.sum_of_rows as f64 / patch.count as f64 - patch.rows[0] as f64 + 0.5)
        / height as f64;
    // A square fills all, a circle pi/4, the others half; a triangle's is below.
    let shape = match filled {
        f if f > 0.9 => "square",
        f if f > 0.66 => "circle",
        _ if balance > 0.58 => "triangle",
        _ => "diamond",
    };
    let size = if height as f64 > 0.66 * cell as f64 {
        "large"
    } else {
        "small"
    };
    let (row, column) = (
        usize::midpoint(patch.rows[0], patch.rows[1]) / cell,
        usize::midpoint(patch.columns[0], patch.columns[1]) / cell,
    );
    let place = format!("{} {}", ROWS[row.min(2)], super::COLUMNS[column.min(2)]);
    (row * GRID + column, [shape.into(), size.into(), place])
}

/// The things that a caption tells of, in its order.
pub fn in_words(caption: &str) -> Result<Vec<Told>, String> {
    let parts = caption.split(", ").flat_map(|part| part.split(" and "));
    let thing = |part: &str| match part.split(' ').collect::<Vec<_>>()[..] {
        ["a", size, color, shape, "at", "the", row, column] => Ok([
            shape.into(),
            size.into(),
            color.into(),
            format!("{row} {column}"),
        ]),
        _ => Err(format!("`{part}` tells of nothing")),
    };
    parts.map(thing).collect()
}
