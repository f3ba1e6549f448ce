//! How far rows of a table are from the closest row of another: the distance that says whether synthetic rows give real ones away.
//!
//! Two values of a column differ by their distance times the column's scale, at most 1; where the scale is 0 they are names, and differ
//! by 0 or 1; a value that is missing, which is no number, differs by 1 from any that is not. The distance of two rows is the mean over
//! columns. Differences are added in the order of the columns, so the bits are the same for any team and on any device.
//!
//! Source: J. Gower, "A general coefficient of similarity and some of its properties", Biometrics 27, 1971, with differences capped.
//! Work with `F` rows, `T` others and `C` columns: `4 F T C` flops (difference, product, comparison, sum), each input read once.

use assay_protocol::{ArithmeticUnit, Failure, Philox, Work};

use crate::check;
use crate::element::DType;
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{
    Arg, Checked, Fill, Launch, Outcome, Program, Source, Traffic, blocks, cuda_source,
};
use crate::simd::wide;

static SOURCE: Source = cuda_source!("synthetic/closest.cu");
const THREADS: u32 = 256;
/// Rows and others of a block's tile.
const TILE: usize = 64;
/// Blocks of a launch that are wanted at least.
const ENOUGH: usize = 528;

/// Distances from rows to the closest of others: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closest {
    /// How many rows, below 2^32.
    pub rows: usize,
    /// How many others; with none of them, all distances are infinite.
    pub others: usize,
    /// How many columns, at least one.
    pub columns: usize,
}

/// Numbers of the buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// `columns` by `rows`, of `f64`.
    pub from: usize,
    /// `columns` by `others`, of `f64`.
    pub to: usize,
    /// What a difference of each column is multiplied by, of `f64`; 0 where values are names.
    pub scales: usize,
    /// A distance of each row, 0 to 1, of `f64`, written.
    pub distances: usize,
}

impl Closest {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, compared: Compared) {
        let Self {
            rows,
            others,
            columns,
        } = self;
        let Compared {
            from,
            to,
            scales,
            distances,
        } = compared;
        let buffers = [
            ("from", from, DType::F64, rows * columns),
            ("to", to, DType::F64, others * columns),
            ("scales", scales, DType::F64, columns),
            ("distances", distances, DType::F64, rows),
        ];
        expect(program, "Closest", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [from, to, scales, distances] = buffers.many([from, to, scales, distances]);
            let (from, to, scales) = (from.get::<f64>(), to.get::<f64>(), scales.get::<f64>());
            let mut first = 0;
            let parts = team.split_mut(distances.get_mut::<f64>(), 1).into_iter();
            let parts: Vec<_> = parts
                .map(|part| {
                    let begin = first;
                    first += part.len();
                    (begin, part)
                })
                .collect();
            team.each(parts, |(begin, part)| {
                let mut sums = vec![0.0; others];
                let mut row = vec![0.0; columns];
                for (place, distance) in part.iter_mut().enumerate() {
                    for (column, x) in row.iter_mut().enumerate() {
                        *x = from[column * rows + *begin + place];
                    }
                    *distance = nearest(&row, to, scales, &mut sums);
                }
            });
        });
        self.add_launches(program, compared);
    }

    fn add_launches(self, program: &mut Program, compared: Compared) {
        let Self {
            rows,
            others,
            columns,
        } = self;
        let groups = rows.div_ceil(TILE);
        let splits = ENOUGH
            .div_ceil(groups.max(1))
            .min(others.div_ceil(TILE).max(1));
        let parts = Arg::Buffer(workspace(program, "parts", DType::F64, splits * rows));
        let sizes = [rows, others, columns, splits].map(|size| Arg::U32(size as u32));
        let inputs = [compared.from, compared.to, compared.scales].map(Arg::Buffer);
        program.launch(
            Launch::new(&SOURCE, "closest_scan", (groups * splits) as u32, THREADS)
                .args([parts])
                .args(inputs)
                .args(sizes),
        );
        let sizes = [rows, columns, splits].map(|size| Arg::U32(size as u32));
        program.launch(
            Launch::new(
                &SOURCE,
                "closest_merge",
                blocks(rows, THREADS as usize, u32::MAX),
                THREADS,
            )
            .args([Arg::Buffer(compared.distances), parts])
            .args(sizes),
        );
    }
}

/// The distance of a row, a value of each column, from the closest of others, which are columns one behind the other. `sums` has
/// room for a number of each of them.
pub fn nearest(row: &[f64], others: &[f64], scales: &[f64], sums: &mut [f64]) -> f64 {
    let count = sums.len();
    sums.fill(0.0);
    for (column, (x, scale)) in row.iter().zip(scales).enumerate() {
        let others = &others[column * count..(column + 1) * count];
        if x.is_nan() {
            add_missing(others, sums);
        } else if *scale == 0.0 {
            add_names(*x, others, sums);
        } else {
            add_numbers(*x, *scale, others, sums);
        }
    }
    sums.iter().copied().fold(f64::INFINITY, f64::min) / row.len() as f64
}

wide! {
    fn add_numbers(x: f64, scale: f64, others: &[f64], sums: &mut [f64]) {
        for (sum, y) in sums.iter_mut().zip(others) {
            let apart = (x - y).abs() * scale;
            // What is no number is not below 1 either.
            *sum += if apart < 1.0 { apart } else { 1.0 };
        }
    }
    #[allow(clippy::float_cmp)] // names
    fn add_names(x: f64, others: &[f64], sums: &mut [f64]) {
        for (sum, y) in sums.iter_mut().zip(others) {
            *sum += if x == *y { 0.0 } else { 1.0 };
        }
    }
    fn add_missing(others: &[f64], sums: &mut [f64]) {
        for (sum, y) in sums.iter_mut().zip(others) {
            *sum += if y.is_nan() { 0.0 } else { 1.0 };
        }
    }
}

/// The op: the first half of the columns are numbers, the others names; one value of 32 is missing.
pub struct ClosestRows;

impl Op for ClosestRows {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "closest-rows",
            summary: "distances from rows of a table to the closest rows of another",
            parameters: ["rows", "others", "columns"]
                .map(parameters::integer)
                .to_vec(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        const NAME: &str = "`rows`, `others` and `columns`";
        let (rows, others) = (arguments.size("rows")?, arguments.size("others")?);
        let columns = arguments.count("columns")?;
        for name in ["rows", "others", "columns"] {
            arguments.check_most(name, i32::MAX.unsigned_abs() as usize)?;
        }
        let [f, t, c] = [rows, others, columns].map(|size| size as u64);
        let cells = parameters::product(NAME, &[f + t, c])?;
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(NAME, &[cells + f + c, 8])?),
            flops: Some(parameters::product(NAME, &[4, f, t, c])?),
            items: Some(f),
            formula: "bytes = 8 ((F + T) C + F + C), flops = 4 F T C, items = F; F = rows, T = others, C = columns".into(),
        });
        program.traffic = Traffic::Unbounded;
        program.unit = Some(ArithmeticUnit::F64);
        let names = columns.div_ceil(2);
        let compared = Compared {
            from: program.input("from", DType::F64, rows * columns, values(0, rows, names)),
            to: program.input("to", DType::F64, others * columns, values(1, others, names)),
            scales: program.input("scales", DType::F64, columns, scales(names)),
            distances: program.output("distances", DType::F64, rows),
        };
        let closest = Closest {
            rows,
            others,
            columns,
        };
        closest.add(&mut program, compared);
        program.check(move |outcome| check(outcome, closest, compared));
        Ok(program)
    }
}

/// Columns before `names` hold multiples of 2^-20 on [0, 1), those from it on one of four names.
fn values(stream: u64, rows: usize, names: usize) -> Fill {
    Fill::Host(Box::new(move |buffer, seed| {
        let random = Philox::new(seed, stream);
        let mut words = [0_u32; 1024];
        for (index, part) in buffer.get_mut::<f64>().chunks_mut(words.len()).enumerate() {
            let words = &mut words[..part.len()];
            random.fill_words((1024 * index) as u64, words);
            for (place, (value, word)) in (1024 * index..).zip(part.iter_mut().zip(words)) {
                *value = match (*word % 32, place / rows < names) {
                    (0, _) => f64::NAN,
                    (_, true) => f64::from(*word >> 12) / f64::from(1 << 20),
                    (_, false) => f64::from(*word >> 30),
                };
            }
        }
    }))
}

/// A number of its own for each column of numbers, 0 for names.
fn scales(names: usize) -> Fill {
    Fill::Host(Box::new(move |buffer, _| {
        for (column, scale) in buffer.get_mut::<f64>().iter_mut().enumerate() {
            *scale = if column < names {
                1.0 + column as f64 / 3.0
            } else {
                0.0
            };
        }
    }))
}

/// Every pair once more, one by one, in the order that the definition has.
fn check(outcome: &Outcome, closest: Closest, compared: Compared) -> Checked {
    let Closest {
        rows,
        others,
        columns,
    } = closest;
    let [from, to] = [compared.from, compared.to].map(|buffer| outcome.get::<f64>(buffer));
    let scales = outcome.get::<f64>(compared.scales);
    let apart = |column: usize, row: usize, other: usize| {
        let (x, y) = (from[column * rows + row], to[column * others + other]);
        match (x.is_nan(), y.is_nan()) {
            (true, true) => 0.0,
            (false, false) if scales[column] > 0.0 => ((x - y).abs() * scales[column]).min(1.0),
            (false, false) => f64::from(u8::from((x - y).abs() > 0.0)),
            _ => 1.0,
        }
    };
    let distance = |row: usize, other: usize| {
        (0..columns).fold(0.0, |sum, column| sum + apart(column, row, other)) / columns as f64
    };
    let nearest = |row: usize| {
        let of_others = (0..others).map(|other| distance(row, other));
        of_others.fold(f64::INFINITY, f64::min)
    };
    let found = outcome.get::<f64>(compared.distances);
    let different = check::count(rows, |row| nearest(row).to_bits() != found[row].to_bits());
    Checked::exact(
        different,
        "distances whose bits are not those of all pairs one by one",
    )
}
