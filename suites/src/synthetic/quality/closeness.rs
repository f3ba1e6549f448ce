//! How close synthetic rows come to real ones, by the rules of `SDMetrics` 0.32.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use assay_kernels::buffer::Buffer;
use assay_kernels::device;
use assay_kernels::element::DType;
use assay_kernels::program::{Checked, Fill, Program};
use assay_kernels::synthetic::closest::{self, Closest, Compared};
use assay_protocol::{CaseSpec, DeviceKind, DeviceSelector, Failure, TimingMode, Work};
use rayon::prelude::*;
use serde::Serialize;

use super::some_rows;
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{MISSING, Table, Values};

/// Rows of each table that are compared, at most, by the host and by a CUDA device.
const ROWS: usize = 5_000;
const ROWS_ON_CUDA: usize = 100_000;
/// Random streams of the rows that are compared, and of uniform ones.
const STREAMS: [u64; 3] = [20, 21, 22];
const UNIFORM_STREAM: u64 = 23;

/// Distances of synthetic rows from their closest real rows, in a sample of either.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Closeness {
    /// Real rows that were compared, drawn at random.
    pub real_rows: usize,
    /// Synthetic ones.
    pub synthetic_rows: usize,
    /// Those held out, and as many of the real ones beside them; absent without rows held out.
    pub held_out_rows: Option<usize>,
    /// Median distance of a synthetic row from its closest real row.
    pub distance: f64,
    /// The same of as many [`uniform`] rows, which know nothing of anybody.
    pub random_distance: f64,
    /// [`baseline_protection`].
    pub baseline_protection: Option<f64>,
    /// [`overfit_protection`]; absent without rows held out.
    pub overfit_protection: Option<f64>,
}

/// What rows are compared with: a sample of those that were learned from, uniform ones, and others of the same distribution.
pub struct Yardstick<'a> {
    device: &'a DeviceSelector,
    train: Table,
    random_distance: f64,
    /// As many of the rows learned from, and of those held out, so that neither is closer by number alone.
    halves: Option<[Table; 2]>,
    seed: u64,
}

impl<'a> Yardstick<'a> {
    /// Draws the samples, for tables of `rows` rows that are aligned with `train`, to be compared by a device. `None` where there is
    /// nothing to compare.
    ///
    /// Against overfitting, as many rows are taken of `held_out` as of `train`: what `num_rows_subsample` does in `SDMetrics`.
    ///
    /// # Errors
    /// If the device cannot.
    pub fn new(
        device: &'a DeviceSelector,
        train: &Table,
        held_out: Option<&Table>,
        rows: usize,
        seed: u64,
    ) -> Result<Option<Self>, Failure> {
        let most = most_rows(device);
        let train = some_rows(train, most, seed, STREAMS[0]);
        let random = uniform(&train, rows.min(most), seed);
        let distances = distances_on(device, &random, &train)?;
        let Some(random_distance) = distances.as_deref().and_then(median) else {
            return Ok(None);
        };
        let halves = held_out.map(|held_out| {
            let others = some_rows(held_out, train.rows(), seed, STREAMS[2]);
            [
                train.select(&(0..others.rows()).collect::<Vec<_>>()),
                others,
            ]
        });
        Ok(Some(Self {
            device,
            train,
            random_distance,
            halves,
            seed,
        }))
    }

    /// Compares a sample of a table's rows. `None` where there are none.
    ///
    /// # Errors
    /// If the device cannot.
    pub fn closeness(&self, table: &Table) -> Result<Option<Closeness>, Failure> {
        let made = some_rows(table, most_rows(self.device), self.seed, STREAMS[1]);
        let to = |others: &Table| distances_on(self.device, &made, others);
        let Some(distance) = to(&self.train)?.as_deref().and_then(median) else {
            return Ok(None);
        };
        let overfit = match &self.halves {
            None => None,
            Some([same, others]) => match (to(same)?, to(others)?) {
                (Some(near), Some(far)) => Some((others.rows(), overfit_protection(&near, &far))),
                _ => None,
            },
        };
        Ok(Some(Closeness {
            real_rows: self.train.rows(),
            synthetic_rows: made.rows(),
            held_out_rows: overfit.map(|(rows, _)| rows),
            distance,
            random_distance: self.random_distance,
            baseline_protection: baseline_protection(distance, self.random_distance),
            overfit_protection: overfit.map(|(_, score)| score),
        }))
    }
}

/// Rows of each table that a device compares, at most: the work grows with the square.
fn most_rows(device: &DeviceSelector) -> usize {
    match device.kind {
        DeviceKind::Cpu => ROWS,
        DeviceKind::Cuda => ROWS_ON_CUDA,
    }
}

/// `min(1, distance / random_distance)`, of medians: 1 where synthetic rows are no closer to real ones than random ones are. `None`
/// where random rows are copies too, as of constant columns. `SDMetrics`: `DCRBaselineProtection`, not a number there.
pub fn baseline_protection(distance: f64, random_distance: f64) -> Option<f64> {
    (random_distance > 0.0).then(|| (distance / random_distance).min(1.0))
}

/// `min(1, 2 (1 - share))`, with the share of synthetic rows that are closer to the rows learned from than to rows held out, ties
/// not among them: 1 where it makes no difference, 0 where all are. `SDMetrics`: `DCROverfittingProtection`.
pub fn overfit_protection(from_train: &[f64], from_held_out: &[f64]) -> f64 {
    let pairs = from_train.iter().zip(from_held_out);
    let closer = pairs.filter(|(near, far)| near < far).count();
    (2.0 * (1.0 - closer as f64 / from_train.len() as f64)).min(1.0)
}

/// From each row of a table to the closest of another, aligned one: 0 to 1, the mean over columns that are no keys. Numbers differ by
/// their distance over the other table's range, at most 1; categories, and numbers of a column that is constant there, by 0 or 1; a
/// missing value by 1 from any that is not. `None` where a table has no rows, or no such column. `SDMetrics`: `calculate_dcr`.
///
/// On the host, or on a CUDA device: to the same bits ([`closest`]).
///
/// # Errors
/// If the device cannot.
pub fn distances_on(
    device: &DeviceSelector,
    from: &Table,
    to: &Table,
) -> Result<Option<Vec<f64>>, Failure> {
    let Some(pair) = Pair::of(from, to) else {
        return Ok(None);
    };
    match device.kind {
        DeviceKind::Cpu => Ok(Some(pair.on_host())),
        DeviceKind::Cuda => pair.on_device(device).map(Some),
    }
}

/// As [`distances_on`], on the host.
pub fn distances(from: &Table, to: &Table) -> Option<Vec<f64>> {
    Pair::of(from, to).map(|pair| pair.on_host())
}

/// Two tables as numbers: categories by their codes, with a scale of 0.
struct Pair {
    size: Closest,
    /// Column by column.
    from: Vec<f64>,
    to: Vec<f64>,
    scales: Vec<f64>,
}

impl Pair {
    fn of(from: &Table, to: &Table) -> Option<Self> {
        let mut pair = Self {
            size: Closest {
                rows: from.rows(),
                others: to.rows(),
                columns: 0,
            },
            from: vec![],
            to: vec![],
            scales: vec![],
        };
        for (from, to) in from.columns.iter().zip(&to.columns) {
            pair.add(&from.values, &to.values);
        }
        let Closest {
            rows,
            others,
            columns,
        } = pair.size;
        (rows > 0 && others > 0 && columns > 0).then_some(pair)
    }

    fn add(&mut self, from: &Values, to: &Values) {
        let scale = match (from, to) {
            (Values::Number { values: from, .. }, Values::Number { values: to, .. }) => {
                self.from.extend(from);
                self.to.extend(to);
                let range = bounds(to).map_or(0.0, |(low, high)| high - low);
                // Of a column that is constant, or whose range is no number, values are the same or not.
                let scale = 1.0 / range;
                if scale.is_finite() { scale } else { 0.0 }
            }
            (Values::Category { codes: from, .. }, Values::Category { codes: to, .. }) => {
                let number = |code: &u32| match *code {
                    MISSING => f64::NAN,
                    code => f64::from(code),
                };
                self.from.extend(from.iter().map(number));
                self.to.extend(to.iter().map(number));
                0.0
            }
            _ => return,
        };
        self.scales.push(scale);
        self.size.columns += 1;
    }

    fn on_host(&self) -> Vec<f64> {
        let Closest {
            rows,
            others,
            columns,
        } = self.size;
        let of_row = |(sums, row): &mut (Vec<f64>, Vec<f64>), place: usize| {
            for (column, x) in row.iter_mut().enumerate() {
                *x = self.from[column * rows + place];
            }
            closest::nearest(row, &self.to, &self.scales, sums)
        };
        let room = || (vec![0.0; others], vec![0.0; columns]);
        (0..rows).into_par_iter().map_init(room, of_row).collect()
    }

    /// By the program of a device, run once; its outputs are taken where those of a case would be judged.
    fn on_device(self, device: &DeviceSelector) -> Result<Vec<f64>, Failure> {
        let found = Rc::new(RefCell::new(vec![]));
        let (mut program, distances) = self.program();
        let taken = Rc::clone(&found);
        program.check(move |outcome| {
            *taken.borrow_mut() = outcome.get::<f64>(distances).to_vec();
            Checked::exact(0, "distances, to be compared with nothing")
        });
        let case = CaseSpec {
            workload: "closest-rows".into(),
            params: BTreeMap::new(),
            seed: 0.into(),
            device: device.clone(),
            timing: TimingMode::Host,
            command: None,
            kernel: None,
        };
        let mut workload = device::prepare(&case, program)?;
        workload.run(1)?;
        workload.verify()?;
        Ok(found.take())
    }

    fn program(self) -> (Program, usize) {
        let mut program = Program::new(Work::default());
        let mut input = |name, values: Vec<f64>| {
            let len = values.len();
            let fill = move |buffer: &mut Buffer, _| buffer.get_mut().copy_from_slice(&values);
            program.input(name, DType::F64, len, Fill::Host(Box::new(fill)))
        };
        let (from, to) = (input("from", self.from), input("to", self.to));
        let scales = input("scales", self.scales);
        let compared = Compared {
            from,
            to,
            scales,
            distances: program.output("distances", DType::F64, self.size.rows),
        };
        self.size.add(&mut program, compared);
        (program, compared.distances)
    }
}

/// Rows whose every value is drawn apart: numbers uniformly from the least to the largest, integers where the column has nothing
/// else and no gap, categories uniformly from those that occur; missing as often as in the table; keys are missing. `SDMetrics`:
/// `DCRBaselineProtection`, whose numbers are numpy's.
pub fn uniform(table: &Table, rows: usize, seed: u64) -> Table {
    let shares: Vec<f64> = table
        .columns
        .iter()
        .map(|column| column.values.missing() as f64 / table.rows().max(1) as f64)
        .collect();
    // Both are drawn for every cell, so that no column depends on what another one lacks.
    let draws: Vec<Vec<(f64, f64)>> = (0..rows as u64)
        .into_par_iter()
        .map(|row| {
            let mut draws = Draws::of_row(seed, UNIFORM_STREAM, row);
            (0..shares.len())
                .map(|_| (draws.unit(), draws.unit()))
                .collect()
        })
        .collect();
    let mut made = table.select(&[]);
    for (place, (column, share)) in made.columns.iter_mut().zip(&shares).enumerate() {
        let cells = draws.iter().map(|row| row[place]);
        let cells = cells.map(|(missing, at)| (missing >= *share).then_some(at));
        column.values = uniform_values(&table.columns[place].values, cells);
    }
    made
}

fn uniform_values(like: &Values, cells: impl Iterator<Item = Option<f64>>) -> Values {
    match like {
        Values::Number { values, decimals } => {
            let (low, high) = bounds(values).unwrap_or((f64::NAN, f64::NAN));
            let is_whole = *decimals == Some(0) && like.missing() == 0;
            let number = |at: f64| {
                if is_whole {
                    (low + (at * (high - low + 1.0)).floor()).min(high)
                } else {
                    low + at * (high - low)
                }
            };
            Values::Number {
                values: cells.map(|cell| cell.map_or(f64::NAN, number)).collect(),
                decimals: *decimals,
            }
        }
        Values::Category { codes, labels } => {
            let mut known: Vec<u32> = codes.iter().copied().filter(|c| *c != MISSING).collect();
            known.sort_unstable();
            known.dedup();
            let code = |at: f64| {
                let place = (at * known.len() as f64) as usize;
                known.get(place).copied().unwrap_or(MISSING)
            };
            Values::Category {
                codes: cells.map(|cell| cell.map_or(MISSING, code)).collect(),
                labels: labels.clone(),
            }
        }
        Values::Key { .. } => Values::Key {
            values: cells.map(|_| None).collect(),
        },
    }
}

/// The least and the largest number; `None` where all are missing.
fn bounds(values: &[f64]) -> Option<(f64, f64)> {
    let present = values.iter().copied().filter(|x| !x.is_nan());
    present.fold(None, |bounds: Option<(f64, f64)>, x| {
        Some(bounds.map_or((x, x), |(low, high)| (low.min(x), high.max(x))))
    })
}

/// The middle, or the mean of both middle ones.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[sorted.len() / 2 - 1], middle)
    } else {
        middle
    })
}

#[cfg(test)]
mod tests {
    use assay_kernels::device::Team;
    use assay_protocol::DeviceSelector;

    use super::{
        Closeness, Pair, Yardstick, baseline_protection, distances, overfit_protection, uniform,
    };
    use crate::synthetic::table::{Column, Table, Values, categories, census};

    fn closeness(train: &Table, held_out: Option<&Table>, made: &Table) -> Closeness {
        let yardstick = Yardstick::new(&DeviceSelector::CPU, train, held_out, made.rows(), 5);
        let found = yardstick.unwrap().unwrap().closeness(made);
        found.unwrap().unwrap()
    }

    /// The program that a device is given has steps for the host, too: a way of its own, with threads of its own.
    #[test]
    fn the_program_of_a_device_gives_the_same_bits() {
        let (from, to) = (census::rows(1, 0, 130), census::rows(2, 0, 97));
        let from = to.align(&from).unwrap();
        let expected = distances(&from, &to).unwrap();
        let (mut program, out) = Pair::of(&from, &to).unwrap().program();
        let team = Team::new(3).unwrap();
        let mut buffers = program.host_buffers(&team, 0).unwrap();
        program.take_cpu().unwrap()(&team, &mut buffers, 1);
        let found: &[f64] = buffers.get(out);
        let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(&expected));
    }

    fn numbers(values: &[f64]) -> Column {
        Column {
            name: "x".into(),
            values: Values::Number {
                values: values.to_vec(),
                decimals: None,
            },
        }
    }

    fn texts(name: &str, texts: &[&str]) -> Column {
        Column {
            name: name.into(),
            values: categories(texts.iter().map(|text| (*text).to_owned())),
        }
    }

    #[test]
    fn copies_are_close_and_fresh_rows_are_not() {
        let (train, held_out) = (census::rows(1, 0, 400), census::rows(1, 400, 400));
        let copied = closeness(&train, Some(&held_out), &train);
        assert!(copied.overfit_protection.unwrap() < 0.01, "{copied:?}");
        assert!(copied.distance < 1e-9 && copied.baseline_protection.unwrap() < 1e-9);
        let fresh = closeness(&train, Some(&held_out), &census::rows(2, 0, 300));
        assert!(fresh.overfit_protection.unwrap() > 0.85, "{fresh:?}");
        let rows = (fresh.real_rows, fresh.synthetic_rows, fresh.held_out_rows);
        assert_eq!(rows, (400, 300, Some(400)));
        let alone = closeness(&train, None, &train);
        assert!(alone.overfit_protection.is_none() && alone.distance < 1e-9);
    }

    #[test]
    fn distances_by_hand() {
        let to = Table::new(vec![numbers(&[0.0, 10.0]), texts("constant", &["a", "a"])]).unwrap();
        let from = Table::new(vec![
            numbers(&[4.0, 25.0, f64::NAN]),
            texts("constant", &["a", "b", ""]),
        ])
        .unwrap();
        // 4 of 10 away; beyond the range, and another label; missing both.
        let found = distances(&to.align(&from).unwrap(), &to).unwrap();
        assert_eq!(found.len(), 3);
        for (found, wanted) in found.iter().zip([0.2, 1.0, 1.0]) {
            assert!((found - wanted).abs() < 1e-15, "{found}, not {wanted}");
        }
        let one = |x: f64| Table::new(vec![numbers(&[x])]).unwrap();
        assert_eq!(distances(&one(3.0), &one(2.0)), Some(vec![1.0]));
        assert_eq!(distances(&one(2.0), &one(2.0)), Some(vec![0.0]));
        let key = Table::of_texts("id", ["k".to_owned()]);
        assert_eq!(distances(&key, &key), None);
    }

    #[test]
    fn rules_of_protection() {
        // A tie is not closer.
        assert!((overfit_protection(&[0.1, 0.2, 0.3], &[0.1, 0.2, 0.3]) - 1.0).abs() < 1e-15);
        assert!((overfit_protection(&[0.1; 4], &[0.2, 0.2, 0.2, 0.1]) - 0.5).abs() < 1e-15);
        assert_eq!(baseline_protection(0.1, 0.0), None);
        assert_eq!(baseline_protection(0.3, 0.2), Some(1.0));
    }

    #[test]
    fn uniform_rows_are_uniform_and_know_no_shares() {
        let labels: Vec<&str> = (0..1000)
            .map(|row| if row == 0 { "rare" } else { "usual" })
            .collect();
        let mut values = vec![0.0; 1000];
        (values[0], values[1]) = (100.0, f64::NAN);
        let table = Table::new(vec![numbers(&values), texts("c", &labels)]).unwrap();
        let made = uniform(&table, 4000, 1);
        let Values::Number { values, .. } = &made.columns[0].values else {
            panic!("numbers")
        };
        let high = values.iter().filter(|x| **x > 50.0).count();
        assert!((1850..2150).contains(&high), "{high}");
        assert!(values.iter().any(|x| x.is_nan()));
        let Values::Category { codes, .. } = &made.columns[1].values else {
            panic!("categories")
        };
        let rare = codes.iter().filter(|code| **code == 0).count();
        assert!((1850..2150).contains(&rare), "{rare}");
    }
}
