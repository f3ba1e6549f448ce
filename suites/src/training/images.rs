//! Pictures with classes that can be learned: each shows one shape, small or large, in some colour on a noisy ground.
//!
//! They are the cells of the [scenes](pictures) that the synthetic data suite makes, and the class is what these are labelled with: shape
//! and size, not the colour. Such scenes, or pictures of the user's, may come from [files](stored) as well.

mod stored;

pub use stored::Stored;

use std::collections::HashSet;

use assay_protocol::Digest;
use rayon::prelude::*;

use super::leaks;
use super::rows::Labelled;
use crate::synthetic::generators::pictures::{Maker, Pictures};
use crate::synthetic::items::Items;
use crate::synthetic::table::{Column, MISSING, Table, Values};

/// Numbers of a pixel.
pub const CHANNELS: usize = 3;
/// Cells along a side of a scene.
const GRID: usize = 3;
/// Sides of pictures: those of scenes have a least and a largest.
pub const SIDES: std::ops::RangeInclusive<usize> = 24..=512;
/// Shapes at most of a scene.
const MOST: usize = 4;
/// Scenes that are held out, by their numbers: those from here on.
const HELD_OUT: u64 = 1 << 32;
/// Scenes that are made at a time.
const AT_ONCE: usize = 64;

/// Pictures in two parts.
#[derive(Clone, Debug)]
pub struct Images {
    /// What is trained on.
    pub train: Labelled,
    /// What a model is judged by.
    pub held_out: Labelled,
    /// Pixels along a side.
    pub side: usize,
    /// Different labels.
    pub classes: usize,
    /// Digest of all.
    pub digest: Digest,
    /// The share of held-out pictures that the model is trained on as well.
    pub leaked: f64,
}

impl Images {
    /// What somebody should know of what is held out before they believe what a model is judged by.
    pub fn doubts(&self) -> impl Iterator<Item = (&'static str, String)> {
        let known: HashSet<_> = self.train.labels.iter().collect();
        let others = self.held_out.labels.iter();
        let unknown = others.filter(|label| !known.contains(label)).count();
        let of_labels = (unknown > 0).then(|| {
            let words = format!(
                "{unknown} held-out pictures have a label that no picture to learn from has"
            );
            ("pictures.unknown", words)
        });
        let of_leaks = leaks::warning(self.leaked, "pictures");
        let of_leaks = of_leaks.map(|words| ("pictures.warning", words));
        of_labels.into_iter().chain(of_leaks)
    }

    /// So many pictures, and a fifth of that held out.
    ///
    /// # Errors
    /// If there are no pictures of that side.
    pub fn new(seed: u64, count: usize, side: usize) -> Result<Self, String> {
        let scenes = Pictures {
            size: GRID * side,
            ..Pictures::default()
        };
        let maker = scenes.build()?;
        let part = |first: u64, count: usize| part(&maker, seed, first, count, side);
        let (train, held_out) = (part(0, count), part(HELD_OUT, count.div_ceil(5)));
        let classes = classes(&maker.table(seed, 0, 1));
        Ok(Self::of_parts([train, held_out], side, classes))
    }

    fn of_parts([train, held_out]: [Labelled; 2], side: usize, classes: usize) -> Self {
        let bytes = |part: &Labelled| {
            let x = part.x.iter().flat_map(|x| x.to_le_bytes());
            let labels = part.labels.iter().flat_map(|label| label.to_le_bytes());
            x.chain(labels).collect::<Vec<u8>>()
        };
        Self {
            digest: Digest::of_parts([&bytes(&train)[..], &bytes(&held_out)]),
            leaked: train.leaked_to(&held_out),
            classes,
            train,
            held_out,
            side,
        }
    }
}

/// By what name a table of scenes has what is known of a shape of these.
fn column_name(name: &str, index: usize) -> String {
    format!("{name}_{}", index + 1)
}

fn column<'a>(table: &'a Table, name: &str, index: usize) -> Option<(&'a [u32], usize)> {
    let Column { values, .. } = table.column(&column_name(name, index))?;
    match values {
        Values::Category { codes, labels } => Some((codes, labels.len())),
        _ => None,
    }
}

/// How many shapes and sizes there are, together.
fn classes(table: &Table) -> usize {
    let count = |name| column(table, name, 0).map_or(0, |(_, labels)| labels);
    count("shape") * count("size")
}

/// Cells and classes of the shapes of a scene, which has a row of a table.
fn shapes(table: &Table, row: usize) -> Vec<(usize, u32)> {
    let of_thing = |index: usize| {
        let code = |name| column(table, name, index).map(|(codes, labels)| (codes[row], labels));
        let ((shape, _), (size, sizes), (place, _)) =
            (code("shape")?, code("size")?, code("place")?);
        (shape != MISSING).then(|| (place as usize, shape * sizes as u32 + size))
    };
    (0..MOST).filter_map(of_thing).collect()
}

/// A colour of a pixel as a number.
fn number(byte: u8) -> f32 {
    (f32::from(byte) - 128.0) / 64.0
}

/// A cell of a scene.
fn cut(scene: &[u8], cell: usize, side: usize) -> Vec<f32> {
    let mut x = Vec::with_capacity(side * side * CHANNELS);
    for line in 0..side {
        let row = (cell / GRID * side + line) * GRID * side + cell % GRID * side;
        let pixels = &scene[row * CHANNELS..][..side * CHANNELS];
        x.extend(pixels.iter().map(|byte| number(*byte)));
    }
    x
}

/// The pictures of a scene.
fn of_scene(maker: &Maker, seed: u64, scene: u64, side: usize) -> Vec<(Vec<f32>, u32)> {
    let mut bytes = vec![];
    maker.append(seed, scene, &mut bytes);
    let shapes = shapes(&maker.table(seed, scene, 1), 0).into_iter();
    let cut = |(cell, label)| (cut(&bytes, cell, side), label);
    shapes.map(cut).collect()
}

fn part(maker: &Maker, seed: u64, first: u64, count: usize, side: usize) -> Labelled {
    let mut part = Labelled {
        x: vec![],
        labels: vec![],
    };
    let mut scene = first;
    while part.labels.len() < count {
        let scenes = (scene..scene + AT_ONCE as u64).into_par_iter();
        let made: Vec<_> = scenes
            .map(|scene| of_scene(maker, seed, scene, side))
            .collect();
        for (x, label) in made.into_iter().flatten().take(count - part.labels.len()) {
            part.x.extend(x);
            part.labels.push(label);
        }
        scene += AT_ONCE as u64;
    }
    part
}

#[cfg(test)]
mod tests {
    use super::{CHANNELS, Images};

    #[test]
    fn each_picture_shows_its_class() {
        let images = Images::new(3, 200, 24).unwrap();
        assert_eq!(
            (images.train.labels.len(), images.held_out.labels.len()),
            (200, 40)
        );
        assert_eq!(images.classes, 8);
        // Odd classes are large: more pixels of a colour, which is far from grey in some channel.
        let mut shares = [vec![], vec![]];
        let pictures = images.train.x.chunks_exact(24 * 24 * CHANNELS);
        for (x, label) in pictures.zip(&images.train.labels) {
            let is_coloured = |pixel: &&[f32]| {
                let most = pixel.iter().copied().fold(f32::MIN, f32::max);
                most - pixel.iter().copied().fold(f32::MAX, f32::min) > 1.0
            };
            let count = x.chunks_exact(CHANNELS).filter(is_coloured).count();
            shares[*label as usize % 2].push(count);
        }
        let mean = |counts: &[usize]| counts.iter().sum::<usize>() / counts.len();
        assert!(mean(&shares[1]) > 2 * mean(&shares[0]), "{shares:?}");
        assert!(images.train.x != images.held_out.x);
        let again = Images::new(3, 200, 24).unwrap();
        assert_eq!(again.digest, images.digest);
        assert!(Images::new(3, 10, 20).unwrap_err().contains("`size` is 60"));
    }
}
