//! How much there is of something for each pair of columns: a square of cells, the darker the more.

use std::fmt::Write as _;

use super::backend::{FINENESS, escaped, words_at};
use super::sheet::{Words, sheet};
use crate::text::clip;

/// Length of a cell's side, and room for names, in units of the drawing.
const CELL: u32 = 20;
const NAMES: u32 = 110;
/// Characters of a name.
const NAME: usize = 15;

/// Names, and a value from 0 to 1 for each pair: row by row, absent where there is none.
pub struct Heat<'a> {
    /// The columns.
    pub names: &'a [String],
    /// As many rows as names, of as many values.
    pub values: &'a [Vec<Option<f64>>],
}

/// Draws it.
pub fn heat(heat: &Heat<'_>, words: Words<'_>) -> Result<String, String> {
    let count = heat.names.len() as u32;
    let (width, height) = (NAMES + CELL * count, CELL * (count + 1));
    let fine = |units: u32| (units * FINENESS) as i32;
    sheet(words, "heat", (width, height), |_| {
        let mut body = String::new();
        for (row, name) in (0..).zip(heat.names) {
            let place = (
                fine(NAMES - 6),
                fine(CELL * (row + 1)) + fine(CELL) * 7 / 10,
            );
            let number = row + 1;
            body += &words_at(place, "end", &format!("{} {number}", clip(name, NAME)));
            let place = (fine(NAMES + CELL * row + CELL / 2), fine(CELL) * 7 / 10);
            body += &words_at(place, "middle", &number.to_string());
        }
        for (row, values) in (0..).zip(heat.values) {
            for (column, value) in (0..).zip(values) {
                let Some(value) = value else { continue };
                let (x, y) = (NAMES + CELL * column, CELL * (row + 1));
                let side = CELL - 1;
                let names = [row, column].map(|place: u32| escaped(&heat.names[place as usize]));
                // Writing to a string cannot fail.
                _ = write!(
                    body,
                    "<rect class=\"cell\" x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" fill-opacity=\"{:.2}\"><title>{} and {}: {value:.3}</title></rect>",
                    0.04 + 0.96 * value.clamp(0.0, 1.0),
                    names[0],
                    names[1],
                );
            }
        }
        Ok(body)
    })
}

#[cfg(test)]
mod tests {
    use super::{Heat, heat};
    use crate::chart::Words;

    #[test]
    fn there_is_a_cell_for_every_value_and_names_are_escaped() {
        let names = ["a&b".to_owned(), "c".to_owned()];
        let values = [vec![None, Some(0.5)], vec![Some(1.0), None]];
        let words = Words {
            id: "h",
            title: "t",
            description: "d",
        };
        let svg = heat(
            &Heat {
                names: &names,
                values: &values,
            },
            words,
        )
        .unwrap();
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("fill-opacity=\"1.00\"") && svg.contains("fill-opacity=\"0.52\""));
        assert!(svg.contains("a&amp;b and c: 0.500"));
    }
}
