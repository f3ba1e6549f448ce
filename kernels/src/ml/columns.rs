//! Gradients unit by unit where units are columns, as those of weights are that products have: adaptive clipping, and centralisation.
//!
//! A unit is a column of so many rows; there may be several such blocks below each other. What is done, and who says so: see
//! [`super::gradient`], which has units that are rows. On the host a thread has some columns, and adds up in the order of rows; a block
//! of a CUDA device adds every eighth row of 32 columns, then the eight sums. Work: as for rows.

use assay_protocol::{Failure, Work};
use rayon::prelude::*;

use super::expect;
use crate::element::DType;
use crate::matrix::{Matrix, MatrixMut};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, cuda_source};
use crate::running::Running;

static SOURCE: Source = cuda_source!("ml/columns.cu");
/// Columns of a thread of the host at a time: lines of cache, whole.
const COLUMNS: usize = 64;
/// Columns and rows of a block of a CUDA device: a thread has every so many of each.
const WIDE: u32 = 32;
const TALL: u32 = 8;

/// What is done with a unit of gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// It is shrunk to `clipping` times the norm of its parameters, or of `epsilon` where that is less.
    Clip {
        /// lambda
        clipping: f32,
        /// Least norm of parameters.
        epsilon: f32,
    },
    /// Its mean is taken out.
    Centralise,
}

/// The brick: a change of each column's gradients.
#[derive(Clone, Copy, Debug)]
pub struct ColumnUnits {
    /// Rows of all blocks.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Rows of a block, of which there are several whole ones.
    pub of_unit: usize,
    /// What is done.
    pub change: Change,
}

impl ColumnUnits {
    /// Adds the step to a program: `gradients` are changed; `parameters` are looked at where they are clipped.
    ///
    /// # Panics
    /// If blocks are not whole.
    pub fn add(self, program: &mut Program, gradients: usize, parameters: usize) {
        let Self { rows, cols, .. } = self;
        let (n, of_unit) = (rows * cols, self.of_unit.max(1));
        assert_eq!(rows % of_unit, 0, "whole units");
        let buffers = [
            ("gradients", gradients, DType::F32, n),
            ("parameters", parameters, DType::F32, n),
        ];
        expect(program, "ColumnUnits", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [gradients, values] = buffers.many([gradients, parameters]);
            let values = Matrix::whole(values.get::<f32>(), rows, cols);
            let gradients = MatrixMut::whole(gradients.get_mut::<f32>(), rows, cols);
            let across = cols.div_ceil(COLUMNS);
            let tiles = gradients.tiles(of_unit, COLUMNS).into_iter().enumerate();
            team.deal(tiles.collect(), |(index, mut tile)| {
                let (row, col) = (index / across * of_unit, index % across * COLUMNS);
                let values = values.block(row..row + tile.rows(), col..col + tile.cols());
                match self.change {
                    Change::Clip { clipping, epsilon } => {
                        clip_tile(&mut tile, &values, clipping, epsilon);
                    }
                    Change::Centralise => centralise_tile(&mut tile),
                }
            });
        });
        program.launch(self.launch([gradients, parameters]));
    }

    fn launch(self, buffers: [usize; 2]) -> Launch {
        let of_unit = self.of_unit.max(1);
        let (is_clipped, [clipping, epsilon]) = match self.change {
            Change::Clip { clipping, epsilon } => (true, [clipping, epsilon]),
            Change::Centralise => (false, [0.0; 2]),
        };
        // Blocks go on to further units.
        let units = (self.rows / of_unit).min(usize::from(u16::MAX));
        let across = self.cols.div_ceil(WIDE as usize);
        Launch {
            grid: [across as u32, units as u32, 1],
            block: [WIDE, TALL, 1],
            ..Launch::new(&SOURCE, format!("change_columns<{is_clipped}>"), 0, 0)
        }
        .args(buffers.map(Arg::Buffer))
        .args([self.rows, self.cols, of_unit].map(Arg::size))
        .args([clipping, epsilon].map(Arg::F32))
    }
}

/// The sums of some function of each element, column by column.
fn sums(tile: &Matrix, of: impl Fn(f32) -> f32) -> [f32; COLUMNS] {
    let mut sums = [0.0; COLUMNS];
    for row in 0..tile.rows() {
        let row = tile.row(row).iter();
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += of(*x));
    }
    sums
}

fn clip_tile(tile: &mut MatrixMut, values: &Matrix, clipping: f32, epsilon: f32) {
    let mut factors = sums(&tile.view(), |x| x * x);
    let norms = sums(values, |x| x * x);
    for (factor, square) in factors.iter_mut().zip(norms) {
        let (norm, of_values) = (factor.sqrt(), square.sqrt());
        // A norm that is no number makes every gradient none: `max` would take the other for it.
        let least = if of_values < epsilon {
            epsilon
        } else {
            of_values
        };
        let most = clipping * least;
        *factor = if norm <= most { 1.0 } else { most / norm };
    }
    for row in 0..tile.rows() {
        let row = tile.row(row).iter_mut();
        row.zip(&factors).for_each(|(g, factor)| *g *= factor);
    }
}

fn centralise_tile(tile: &mut MatrixMut) {
    let sums = sums(&tile.view(), |x| x);
    let rows = tile.rows() as f32;
    for row in 0..tile.rows() {
        let row = tile.row(row).iter_mut();
        row.zip(&sums).for_each(|(g, sum)| *g -= sum / rows);
    }
}

/// The ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnsOp {
    /// `clip-columns`
    Clip,
    /// `centralise-columns`
    Centralise,
}

/// A threshold that is always passed, as in the case of rows.
const CLIP: Change = Change::Clip {
    clipping: 1.0 / 1024.0 / 1024.0,
    epsilon: 1e-3,
};

impl Op for ColumnsOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Clip => (
                "clip-columns",
                "columns of gradients shrunk beside their parameters, f32",
            ),
            Self::Centralise => (
                "centralise-columns",
                "columns of gradients without their mean, f32",
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: ["units", "rows", "cols"].map(parameters::integer).into(),
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (units, of_unit) = (arguments.size("units")?, arguments.count("rows")?);
        let cols = arguments.size("cols")?;
        let n = parameters::size_product("`units`, `rows` and `cols`", &[units, of_unit, cols])?;
        let (bytes, flops, change) = match self {
            Self::Clip => (12, 5, CLIP),
            Self::Centralise => (8, 2, Change::Centralise),
        };
        let brick = ColumnUnits {
            rows: units * of_unit,
            cols,
            of_unit,
            change,
        };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`units`, `rows` and `cols`",
                &[bytes, n as u64],
            )?),
            flops: Some(flops * n as u64),
            items: Some(n as u64),
            formula: format!(
                "bytes = {bytes} n, flops = {flops} n, items = n; n = units rows cols"
            ),
        });
        let values = program.input("parameters", DType::F32, n, Fill::signed(1));
        let gradients = program.in_out("gradients", DType::F32, n, Fill::signed(0));
        brick.add(&mut program, gradients, values);
        program.check(move |outcome| check(outcome, brick, [gradients, values]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "units" {
            size.min(3)
        } else {
            size
        }
    }
}

/// Every element beside a running bound of what its column comes to.
fn check(outcome: &Outcome, brick: ColumnUnits, [gradients, values]: [usize; 2]) -> Checked {
    let ColumnUnits { cols, of_unit, .. } = brick;
    let before = outcome.initial::<f32>(gradients);
    let found = outcome.get::<f32>(gradients);
    let values = outcome.get::<f32>(values);
    let count = brick.rows / of_unit * cols;
    let of_column = |number: usize| {
        let first = number / cols * of_unit * cols + number % cols;
        let column = |all: &[f32]| -> Vec<Running> {
            let places = (0..of_unit).map(|row| all[first + row * cols]);
            places.map(Running::from).collect()
        };
        let mut expected = column(before);
        for _ in 0..outcome.iterations {
            expected = changed(expected, &column(values), brick.change);
        }
        let rows = expected.iter().enumerate();
        let distances = rows.map(|(row, x)| x.distance(found[first + row * cols].into()));
        distances.fold(0.0, larger)
    };
    Checked {
        error: (0..count)
            .into_par_iter()
            .map(of_column)
            .reduce(|| 0.0, larger),
        tolerance: 1.0,
        detail: "largest |out - exact| in units of its running error bound".into(),
    }
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// What a column becomes.
fn changed(column: Vec<Running>, values: &[Running], change: Change) -> Vec<Running> {
    // In the order of rows; a block of a CUDA device adds less one after the other.
    let height = column.len() as u64 + u64::from(TALL);
    let norm = |of: &[Running]| Running::sum(of.iter().map(|x| *x * *x), height).sqrt();
    match change {
        Change::Clip { clipping, epsilon } => {
            let most = Running::from(clipping) * norm(values).max(Running::from(epsilon));
            let own = norm(&column);
            if own.value == 0.0 {
                return column;
            }
            let factor = (most / own).clip();
            column.into_iter().map(|g| g * factor).collect()
        }
        Change::Centralise => {
            let rows = Running::exact(column.len() as f64);
            let mean = Running::sum(column.iter().copied(), height) / rows;
            column.into_iter().map(|g| g - mean).collect()
        }
    }
}
