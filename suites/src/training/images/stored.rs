//! Pictures of files: an array of them, and a table with a row for each. The last tenth is held out.
//!
//! What `assay synth make pictures` writes are scenes of several pictures, whose labels say where in them each is and what it shows. Other
//! tables have a column of labels: of texts each is a class, and whole numbers are classes themselves.

use std::ops::Range;
use std::path::Path;

use assay_protocol::Failure;

use super::{CHANNELS, GRID, Images, MOST, classes, column, column_name, cut, number, shapes};
use crate::synthetic::generators::pictures::Pictures;
use crate::synthetic::items::{Form, Items as _, npy};
use crate::synthetic::table::{MISSING, Table, Values, file};
use crate::training::rows::{Labelled, MOST_CLASSES};

/// The column of labels where nobody names another.
const LABEL: &str = "label";
/// What a table of scenes says of each picture in them.
const OF_PICTURE: [&str; 3] = ["shape", "size", "place"];

/// Where pictures come from.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The array,
    pub images: &'a Path,
    /// the table,
    pub labels: &'a Path,
    /// and its column with labels, where somebody names one.
    pub label: Option<&'a str>,
}

/// The pictures of an item of the array: the cell that each lies in, unless it is the whole item, and its class.
type Shown = Vec<(Option<usize>, u32)>;

impl Images {
    /// Pictures of files, of so many pixels along a side.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or if they have pictures of another size, fewer than two, or one without a class.
    pub fn of_files(stored: Stored, side: usize) -> Result<Self, Failure> {
        let say = |what: String| Failure::Failed(format!("parameter `labels`: {what}"));
        let in_file = |what: String| say(format!("{}: {what}", stored.labels.display()));
        let table = file::read(stored.labels).map_err(|error| say(error.to_string()))?;
        let is_scenes = stored.label.is_none() && table.column(&column_name("place", 0)).is_some();
        let of_item = if is_scenes { GRID * side } else { side };
        let (bytes, count) = items(stored.images, of_item, is_scenes)?;
        if table.rows() != count {
            return Err(in_file(format!(
                "it has {} rows: expected one for each of the {count} items of `images`",
                table.rows()
            )));
        }
        let (shown, classes) = if is_scenes {
            of_scenes(&table)
        } else {
            of_labels(&table, stored.label.unwrap_or(LABEL))
        }
        .map_err(in_file)?;
        let all = Items {
            bytes: &bytes,
            shown: &shown,
            side,
        };
        let split = count - count.div_ceil(10);
        let parts = [all.part(0..split), all.part(split..count)];
        if parts.iter().any(|part| part.labels.is_empty()) {
            return Err(in_file(format!(
                "it has {count} rows: expected at least 2, for the last tenth is held out"
            )));
        }
        Ok(Self::of_parts(parts, side, classes))
    }
}

/// The bytes of a file of pictures, or of scenes, with so many pixels along a side, and how many these are.
fn items(path: &Path, pixels: usize, is_scenes: bool) -> Result<(Vec<u8>, usize), Failure> {
    let form = Form::Array {
        element: "|u1",
        bytes: 1,
        shape: vec![pixels, pixels, CHANNELS],
    };
    npy::read(path, &form).map_err(|error| {
        let what = if is_scenes {
            format!("its labels are of scenes, whose sides are {GRID} times `side`")
        } else {
            "their sides are `side`".into()
        };
        Failure::Failed(format!("parameter `images`: {error}; {what}"))
    })
}

/// All items of an array, and what they show.
struct Items<'a> {
    bytes: &'a [u8],
    shown: &'a [Shown],
    side: usize,
}

impl Items<'_> {
    /// The pictures of some.
    fn part(&self, range: Range<usize>) -> Labelled {
        let mut part = Labelled {
            x: vec![],
            labels: vec![],
        };
        let len = self.bytes.len() / self.shown.len().max(1);
        for item in range {
            let bytes = &self.bytes[item * len..][..len];
            for (cell, class) in &self.shown[item] {
                match cell {
                    Some(cell) => part.x.extend(cut(bytes, *cell, self.side)),
                    None => part.x.extend(bytes.iter().map(|byte| number(*byte))),
                }
                part.labels.push(*class);
            }
        }
        part
    }
}

/// What scenes show, by a table as it is written with them, and how many classes there are.
fn of_scenes(table: &Table) -> Result<(Vec<Shown>, usize), String> {
    let known = Pictures::default().build()?.table(0, 0, 1);
    let is_needed = |name: &str| {
        let mut needed = (0..MOST).flat_map(|index| OF_PICTURE.map(|of| column_name(of, index)));
        needed.any(|needed| needed == name)
    };
    let names = known.columns.iter().enumerate();
    let needed: Vec<usize> = names
        .filter(|(_, column)| is_needed(&column.name))
        .map(|(place, _)| place)
        .collect();
    let known = known.columns_at(&needed);
    // Texts have the codes that they have in the generator; those that it does not know come behind.
    let found = known.align(table).map_err(|error| error.to_string())?;
    let row = |row: usize| {
        check_scene(&known, &found, row).map_err(|what| format!("row {}: {what}", row + 1))?;
        let shapes = shapes(&found, row).into_iter();
        Ok(shapes.map(|(cell, class)| (Some(cell), class)).collect())
    };
    let shown: Result<_, String> = (0..found.rows()).map(row).collect();
    Ok((shown?, classes(&known)))
}

/// That a row of a table says of each picture in a scene what it shows, and where.
fn check_scene(known: &Table, found: &Table, row: usize) -> Result<(), String> {
    let code = |table, name, index| {
        let (codes, labels): (&[u32], usize) = column(table, name, index)?;
        Some((codes[row.min(codes.len() - 1)], labels))
    };
    let is_there =
        |index: &usize| code(found, "shape", *index).is_some_and(|(code, _)| code != MISSING);
    let there: Vec<usize> = (0..MOST).filter(is_there).collect();
    if there.is_empty() {
        return Err("it has no `shape_1`: expected at least one picture in a scene".into());
    }
    for (index, name) in there
        .into_iter()
        .flat_map(|index| OF_PICTURE.map(|name| (index, name)))
    {
        let (Some((code, _)), Some((_, count))) =
            (code(found, name, index), code(known, name, index))
        else {
            continue;
        };
        if code as usize >= count {
            let name = column_name(name, index);
            let values =
                [found, known].map(|table| table.column(&name).map(|column| &column.values));
            let [Some(found), Some(Values::Category { labels, .. })] = values else {
                continue;
            };
            return Err(format!(
                "its `{name}` is `{}`: expected one of {}",
                found.text(row),
                labels.join(", ")
            ));
        }
    }
    Ok(())
}

/// The classes of a column, one for each whole picture, and how many there are.
fn of_labels(table: &Table, name: &str) -> Result<(Vec<Shown>, usize), String> {
    let Some(column) = table.column(name) else {
        let names: Vec<_> = table.columns.iter().map(|c| c.name.as_str()).collect();
        return Err(format!(
            "no column is called `{name}`; `label` is one of {}",
            names.join(", ")
        ));
    };
    let class = |row: usize| match &column.values {
        Values::Number { values, .. } => whole(values[row]),
        Values::Category { codes, .. } => Some(codes[row]).filter(|code| *code != MISSING),
        Values::Key { .. } => None,
    };
    let of_row = |row: usize| {
        class(row).ok_or_else(|| {
            format!(
                "row {}: its `{name}` is `{}`: expected a label, or a whole number from 0 to {}",
                row + 1,
                column.values.text(row),
                MOST_CLASSES - 1
            )
        })
    };
    let count = match &column.values {
        Values::Key { .. } => return Err(format!("nearly every `{name}` is another")),
        Values::Category { labels, .. } => labels.len(),
        Values::Number { values, .. } => {
            let classes = values.iter().filter_map(|value| whole(*value));
            classes.max().map_or(0, |most| most as usize + 1)
        }
    };
    let found: Vec<u32> = (0..table.rows()).map(of_row).collect::<Result<_, _>>()?;
    if !(2..=MOST_CLASSES).contains(&count) {
        return Err(format!(
            "its `{name}` has {count} classes: expected 2 to {MOST_CLASSES}"
        ));
    }
    let shown = found.into_iter().map(|class| vec![(None, class)]);
    Ok((shown.collect(), count))
}

/// A number that is a class.
fn whole(value: f64) -> Option<u32> {
    let is_class = value.fract() == 0.0 && (0.0..MOST_CLASSES as f64).contains(&value);
    is_class.then_some(value as u32)
}

#[cfg(test)]
mod tests {
    use super::{CHANNELS, Form, GRID, Images, Pictures, Stored, npy};
    use crate::synthetic::items::{Items as _, bytes};
    use crate::synthetic::table::cells::CellTypes;
    use crate::synthetic::table::file::Sink;

    const SIDE: usize = 24;
    const SEED: u64 = 3;

    /// A file of items, and one of their labels.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.0.path().join(name), bytes).unwrap();
        }

        fn images(&self, pixels: usize, bytes: &[u8]) {
            let form = Form::Array {
                element: "|u1",
                bytes: 1,
                shape: vec![pixels, pixels, CHANNELS],
            };
            let items = bytes.len() / form.bytes();
            let header = npy::header(&form, items as u64).unwrap();
            self.write("x.npy", &[&header[..], bytes].concat());
        }

        fn read(&self, labels: &str, label: Option<&str>) -> Result<Images, String> {
            let [images, labels] = ["x.npy", labels].map(|name| self.0.path().join(name));
            let stored = Stored {
                images: &images,
                labels: &labels,
                label,
            };
            Images::of_files(stored, SIDE).map_err(|failure| failure.to_string())
        }
    }

    /// So many scenes, as they are made, with a table of each form.
    fn scenes(items: usize) -> Place {
        let place = Place::new();
        let recipe = Pictures {
            size: GRID * SIDE,
            ..Pictures::default()
        };
        let maker = recipe.build().unwrap();
        place.images(GRID * SIDE, &bytes(&maker, SEED, 0, items as u64));
        let table = maker.table(SEED, 0, items);
        for name in ["y.csv", "y.jsonl", "y.parquet"] {
            let mut sink =
                Sink::create(&place.0.path().join(name), &table, &CellTypes::new()).unwrap();
            sink.append(&table).unwrap();
            sink.finish().unwrap();
        }
        place
    }

    #[test]
    fn scenes_of_files_have_the_pictures_of_the_generator() {
        let place = scenes(40);
        let stored = ["y.csv", "y.jsonl", "y.parquet"].map(|name| place.read(name, None).unwrap());
        let count = stored[0].train.labels.len();
        let generated = Images::new(SEED, count, SIDE).unwrap();
        for one in &stored {
            assert_eq!(one.train, generated.train);
            assert_eq!((one.classes, one.digest), (8, stored[0].digest));
            assert!((8..=16).contains(&one.held_out.labels.len()));
            assert!(one.leaked < 1e-12);
        }
        assert!(generated.leaked < 1e-12);
    }

    #[test]
    fn pictures_with_labels_are_divided_and_what_leaks_is_counted() {
        let place = Place::new();
        let of_one = SIDE * SIDE * CHANNELS;
        // The last but one shows what the third does; nobody else has its like.
        let pixel = |i: usize| [i / of_one, 2][usize::from(i / of_one == 18)] as u8 * 10;
        place.images(SIDE, &(0..20 * of_one).map(pixel).collect::<Vec<_>>());
        let label = |i: usize| format!("{},{}", ["cat", "dog"][i % 2], i % 3);
        let labels: Vec<String> = (0..20).map(label).collect();
        let table = format!("label,number\n{}\n", labels.join("\n"));
        place.write("y.csv", table.as_bytes());
        let images = place.read("y.csv", None).unwrap();
        assert_eq!(
            (images.train.labels.len(), images.held_out.labels.len()),
            (18, 2)
        );
        assert_eq!(
            (images.classes, &images.train.labels[..3]),
            (2, &[0, 1, 0][..])
        );
        assert!((images.train.x[of_one] - (10.0 - 128.0) / 64.0).abs() < 1e-6);
        assert!((images.leaked - 0.5).abs() < 1e-12, "{}", images.leaked);
        let images = place.read("y.csv", Some("number")).unwrap();
        assert_eq!(
            (images.classes, &images.train.labels[..3]),
            (3, &[0, 1, 2][..])
        );
        // What shows the same has another number.
        assert!(images.leaked < 1e-12, "{}", images.leaked);
    }

    #[test]
    fn bad_files_are_refused_by_row_and_column() {
        let place = scenes(20);
        let refused = |labels: &str, label: Option<&str>, words: &str| {
            let found = place.read(labels, label).unwrap_err();
            assert!(
                found.contains("parameter `") && found.contains(words),
                "{found}"
            );
        };
        let good = String::from_utf8(std::fs::read(place.0.path().join("y.csv")).unwrap()).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let edited = |name: &str, line: usize, from: &str, to: &str| {
            assert!(lines[line].contains(from), "{}", lines[line]);
            let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            lines[line] = lines[line].replace(from, to);
            place.write(name, (lines.join("\n") + "\n").as_bytes());
        };
        let mut shapes = ["circle", "square", "triangle", "diamond"].into_iter();
        let shape = shapes
            .find(|shape| lines[3].contains(&format!(",{shape},")))
            .unwrap();
        edited("shape.csv", 3, &format!(",{shape},"), ",blob,");
        refused("shape.csv", None, "shape.csv: row 3: its `shape_");
        refused(
            "shape.csv",
            None,
            "is `blob`: expected one of circle, square",
        );
        edited("column.csv", 0, "size_2", "extent");
        refused("column.csv", None, "column `size_2` is missing");
        place.write("few.csv", lines[..15].join("\n").as_bytes());
        refused(
            "few.csv",
            None,
            "it has 14 rows: expected one for each of the 20 items",
        );
        refused(
            "y.csv",
            Some("things"),
            "its shape is [20, 72, 72, 3]: expected items of [24, 24, 3]",
        );
        refused("none.csv", None, "none.csv");
        place.write("y.txt", b"1\n");
        refused("y.txt", None, ".csv, .jsonl or .parquet");
        place.images(SIDE, &[7; 4 * SIDE * SIDE * CHANNELS]);
        let column = |rows: &[&str]| {
            place.write(
                "l.csv",
                format!("label,n\n{}\n", rows.join("\n")).as_bytes(),
            );
        };
        for (rows, label, words) in [
            (
                ["0,1", "1,2", "-1,3", "1,4"],
                None,
                "l.csv: row 3: its `label` is `-1`: expected a label, or a whole number from 0 to 1023",
            ),
            (
                ["0,1", "1,2", "1.5,3", "1,4"],
                None,
                "row 3: its `label` is `1.5`",
            ),
            (
                ["0,1", "1,2", ",3", "1,4"],
                None,
                "row 3: its `label` is ``",
            ),
            (
                ["0,1", "1,2", "1024,3", "1,4"],
                None,
                "row 3: its `label` is `1024`",
            ),
            (
                ["a,1", "a,2", "a,3", "a,4"],
                None,
                "has 1 classes: expected 2 to 1024",
            ),
            (
                ["a,1", "b,2", "a,3", "b,4"],
                Some("m"),
                "no column is called `m`; `label` is one of label, n",
            ),
        ] {
            column(&rows);
            refused("l.csv", label, words);
        }
        place.images(SIDE, &[7; SIDE * SIDE * CHANNELS]);
        place.write("l.csv", b"label\n1\n");
        refused("l.csv", None, "it has 1 rows: expected at least 2");
    }
}
