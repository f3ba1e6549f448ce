//! Pictures of simple shapes, with a caption and labels that say what is in them.
//!
//! A picture is `size` by `size` pixels of red, green and blue. On a noisy grey ground lie two to four shapes, each in a cell of
//! its own of a grid of three by three and in a colour of its own. The caption is made of the same scene as the picture; the
//! check reads the scene from the pixels ([`reading`]) and compares it with labels and caption.

mod reading;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::items::{Form, Items};
use super::super::random::{Bits as _, Draws};
use super::super::table::{Column, MISSING, Table, Values};

/// Random stream of its items.
const STREAM: u64 = 26;
/// Cells along a side.
const GRID: usize = 3;
/// Most shapes of a picture.
const MOST: usize = 4;

const SHAPES: [&str; 4] = ["circle", "square", "triangle", "diamond"];
const SIZES: [&str; 2] = ["small", "large"];
const COLORS: [(&str, [u8; 3]); 6] = [
    ("red", [220, 40, 40]),
    ("green", [40, 180, 60]),
    ("blue", [50, 70, 220]),
    ("yellow", [230, 210, 50]),
    ("magenta", [200, 50, 200]),
    ("cyan", [50, 200, 210]),
];
const ROWS: [&str; GRID] = ["top", "middle", "bottom"];
const COLUMNS: [&str; GRID] = ["left", "centre", "right"];

/// What pictures are to be like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pictures {
    /// Pixels along a side, a multiple of 3.
    pub size: usize,
    /// Largest difference that noise makes in a pixel.
    pub noise: u8,
}

impl Default for Pictures {
    fn default() -> Self {
        Self {
            size: 96,
            noise: 20,
        }
    }
}

/// A shape: all by its place in the lists above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thing {
    /// Row by row.
    cell: usize,
    shape: usize,
    size: usize,
    color: usize,
}

/// What is told of a thing: its name, its labels, and which of them it is.
type Label = (&'static str, Vec<String>, fn(&Thing) -> usize);

/// A recipe that was looked at.
pub struct Maker {
    recipe: Pictures,
}

impl Pictures {
    /// What makes them.
    ///
    /// # Errors
    /// The parameter that is out of its range.
    pub fn build(&self) -> Result<Maker, String> {
        let size = self.size;
        if !(72..=1536).contains(&size) || !size.is_multiple_of(GRID) {
            return Err(format!(
                "`size` is {size}: expected a multiple of {GRID} from 72 to 1536"
            ));
        }
        if self.noise > 30 {
            return Err(format!(
                "`noise` is {}: expected 0 to 30, or colours are lost in it",
                self.noise
            ));
        }
        Ok(Maker {
            recipe: self.clone(),
        })
    }
}

/// The things of a picture, by their cells.
fn scene(draws: &mut Draws) -> Vec<Thing> {
    let count = 2 + draws.below(MOST as u64 - 1) as usize;
    let mut cells: [usize; GRID * GRID] = std::array::from_fn(|cell| cell);
    let mut colors: [usize; COLORS.len()] = std::array::from_fn(|color| color);
    let mut things: Vec<Thing> = (0..count)
        .map(|taken| {
            let chosen = taken + draws.below((cells.len() - taken) as u64) as usize;
            cells.swap(taken, chosen);
            let chosen = taken + draws.below((colors.len() - taken) as u64) as usize;
            colors.swap(taken, chosen);
            Thing {
                cell: cells[taken],
                color: colors[taken],
                shape: draws.below(SHAPES.len() as u64) as usize,
                size: draws.below(SIZES.len() as u64) as usize,
            }
        })
        .collect();
    things.sort_unstable_by_key(|thing| thing.cell);
    things
}

/// A scene in words.
fn caption(things: &[Thing]) -> String {
    let one = |thing: &Thing| {
        let Thing {
            cell,
            shape,
            size,
            color,
        } = *thing;
        let (size, color, shape) = (SIZES[size], COLORS[color].0, SHAPES[shape]);
        format!(
            "a {size} {color} {shape} at the {} {}",
            ROWS[cell / GRID],
            COLUMNS[cell % GRID]
        )
    };
    let all: Vec<String> = things.iter().map(one).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => all.concat(),
    }
}

impl Maker {
    /// Half the height of a thing, in pixels.
    fn radius(&self, thing: &Thing) -> f64 {
        let cell = (self.recipe.size / GRID) as f64;
        cell * [0.24, 0.42][thing.size]
    }

    /// Colours a thing in.
    fn draw(&self, thing: &Thing, pixels: &mut [[u8; 3]]) {
        let (side, cell) = (self.recipe.size, self.recipe.size / GRID);
        let radius = self.radius(thing);
        let corner = [thing.cell / GRID * cell, thing.cell % GRID * cell];
        let middle = cell as f64 / 2.0;
        for row in 0..cell {
            let y = (row as f64 + 0.5 - middle) / radius;
            // What of the row lies within, as half a width.
            let half = match SHAPES[thing.shape] {
                _ if y.abs() > 1.0 => continue,
                "circle" => (1.0 - y * y).sqrt(),
                "square" => 1.0,
                "triangle" => f64::midpoint(1.0, y),
                _ => 1.0 - y.abs(),
            };
            let from = (middle - half * radius).round() as usize;
            let to = (middle + half * radius).round() as usize;
            let start = (corner[0] + row) * side + corner[1];
            pixels[start + from..start + to].fill(COLORS[thing.color].1);
        }
    }

    fn scenes(seed: u64, first: u64, items: usize) -> Vec<Vec<Thing>> {
        let one = |item| scene(&mut Draws::of_row(seed, STREAM, item));
        (first..first + items as u64).map(one).collect()
    }
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Array {
            element: "|u1",
            bytes: 1,
            shape: vec![self.recipe.size, self.recipe.size, 3],
        }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        const GROUND: u8 = 120;
        let mut draws = Draws::of_row(seed, STREAM, item);
        let things = scene(&mut draws);
        let mut pixels = vec![[GROUND; 3]; self.recipe.size * self.recipe.size];
        for thing in &things {
            self.draw(thing, &mut pixels);
        }
        let range = 2 * u32::from(self.recipe.noise) + 1;
        for words in pixels.as_flattened_mut().chunks_mut(4) {
            // Four bytes of noise of one word of random bits; its bias is below 1 in 4.
            for (value, byte) in words.iter_mut().zip(draws.word().to_le_bytes()) {
                let noise = ((u32::from(byte) * range) >> 8) as u8;
                *value = value
                    .saturating_add(noise)
                    .saturating_sub(self.recipe.noise);
            }
        }
        out.extend_from_slice(pixels.as_flattened());
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        let scenes = Self::scenes(seed, first, items);
        let captions = scenes.iter().map(|things| Some(caption(things)));
        let counts = scenes.iter().map(|things| things.len() as f64);
        let mut columns = vec![
            Column {
                name: "caption".into(),
                values: Values::Key {
                    values: captions.collect(),
                },
            },
            Column {
                name: "things".into(),
                values: Values::Number {
                    values: counts.collect(),
                    decimals: Some(0),
                },
            },
        ];
        let cells: Vec<String> = (0..GRID * GRID)
            .map(|cell| format!("{} {}", ROWS[cell / GRID], COLUMNS[cell % GRID]))
            .collect();
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let of_thing: [Label; 4] = [
            ("shape", texts(&SHAPES), |thing| thing.shape),
            ("size", texts(&SIZES), |thing| thing.size),
            ("colour", texts(&COLORS.map(|(name, _)| name)), |thing| {
                thing.color
            }),
            ("place", cells, |thing| thing.cell),
        ];
        for index in 0..MOST {
            for (name, labels, value) in &of_thing {
                let code = |things: &Vec<Thing>| {
                    things
                        .get(index)
                        .map_or(MISSING, |thing| value(thing) as u32)
                };
                columns.push(Column {
                    name: format!("{name}_{}", index + 1),
                    values: Values::Category {
                        codes: scenes.iter().map(code).collect(),
                        labels: Arc::new(labels.clone()),
                    },
                });
            }
        }
        Table { columns }
    }

    /// That what is seen in the picture is what its labels and its caption say.
    fn check(&self, seed: u64, item: u64, bytes: &[u8]) -> Result<(), String> {
        let shown = reading::read(bytes, self.recipe.size)?;
        let labels = self.table(seed, item, 1);
        let text = |name: String| {
            labels
                .column(&name)
                .map(|column| column.values.text(0).into_owned())
        };
        let mut told = vec![];
        for index in 1..=MOST {
            let thing = ["shape", "size", "colour", "place"]
                .map(|name| text(format!("{name}_{index}")).unwrap_or_default());
            if !thing[0].is_empty() {
                told.push(thing);
            }
        }
        if shown != told {
            return Err(format!(
                "the picture shows {shown:?}, its labels say {told:?}"
            ));
        }
        let caption = text("caption".into()).unwrap_or_default();
        let words = reading::in_words(&caption)?;
        if words != told {
            return Err(format!(
                "the caption `{caption}` is not what its labels say, {told:?}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Items as _, Pictures};
    use crate::synthetic::items::bytes;

    #[test]
    fn pictures_are_read_back_as_their_labels_and_captions() {
        for (size, noise) in [(72, 0), (96, 20), (192, 30)] {
            let maker = Pictures { size, noise }.build().unwrap();
            for item in 0..150 {
                maker
                    .check(6, item, &bytes(&maker, 6, item, 1))
                    .unwrap_or_else(|what| panic!("{size} {noise} {item}: {what}"));
            }
        }
    }

    #[test]
    fn other_pictures_do_not_agree() {
        let maker = Pictures::default().build().unwrap();
        for item in 0..30 {
            let other = bytes(&maker, 6, item + 1, 1);
            assert!(maker.check(6, item, &other).unwrap_err().contains("shows"));
            // Colours in another order.
            let mut turned = bytes(&maker, 6, item, 1);
            turned
                .chunks_exact_mut(3)
                .for_each(|pixel| pixel.rotate_left(1));
            assert!(maker.check(6, item, &turned).is_err());
            assert!(maker.check(6, item, &other[1..]).is_err());
        }
    }

    #[test]
    fn sizes_that_do_not_do_are_refused() {
        let refused = |size, noise| Pictures { size, noise }.build().err().unwrap();
        assert!(refused(50, 1).contains("`size` is 50"));
        assert!(refused(96, 80).contains("`noise` is 80"));
    }
}
