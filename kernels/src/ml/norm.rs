//! Normalisation of rows: layer normalisation and root-mean-square normalisation, and their gradients.
//!
//! With `n = cols`, row by row:
//!
//! | kind  | normal `v`                                      | out            | parameters   | statistics of a row |
//! | layer | `(x - mean) / sqrt(mean((x - mean)^2) + eps)`   | `gain v + shift` | gain, shift | mean, reciprocal deviation |
//! | rms   | `x / sqrt(mean(x^2) + eps)`                     | `gain v`         | gain        | reciprocal deviation |
//!
//! Sources: J. Ba, J. Kiros, G. Hinton, "Layer Normalization", arXiv:1607.06450, 2016, equation (4), with the variance's `eps` of
//! every implementation (1e-5 here); B. Zhang, R. Sennrich, "Root Mean Square Layer Normalization", `NeurIPS` 2019, equation (4).
//! Gradients, with `w = gain dy` and `s` the reciprocal deviation: `dx = s (w - mean(w) - v mean(w v))`, without `mean(w)` for
//! rms; `d gain = sum over rows of dy v`, `d shift = sum over rows of dy`, in the order of [`super::column_sum`].
//!
//! Work with `s` bytes an element, parameters and statistics not counted: forward `2 rows cols s` bytes, backward `3 rows cols s`;
//! flops per element 7 and 16 (layer), 4 and 12 (rms).

mod check;
mod host;

use assay_protocol::{Failure, Work};

use super::column_sum::{self, blocks_of, rows_per_block};
use super::{DTYPES, cuda, expect, with_lane, workspace};
use crate::element::DType;
use crate::matrix::Store;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/norm.cu");
/// Added to variances.
const EPSILON: f32 = 1e-5;

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Layer normalisation: mean 0, deviation 1.
    Layer,
    /// Root mean square 1.
    Rms,
}

impl Kind {
    /// Numbers that a row keeps of itself, and parameters of a column.
    const fn width(self) -> usize {
        match self {
            Self::Layer => 2,
            Self::Rms => 1,
        }
    }

    /// Mean and reciprocal deviation of what a row keeps of itself.
    fn of_row(self, statistics: &[f32]) -> [f32; 2] {
        match (self, statistics) {
            (Self::Layer, [mean, scale]) => [*mean, *scale],
            (_, other) => [0.0, other[other.len() - 1]],
        }
    }

    const fn kernel(self) -> &'static str {
        match self {
            Self::Layer => "layer_norm",
            Self::Rms => "rms_norm",
        }
    }
}

/// The brick: normalisation of each row.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Which.
    pub kind: Kind,
    /// Rows, each by itself.
    pub rows: usize,
    /// Elements of a row, at least 1.
    pub cols: usize,
    /// Type of activations.
    pub dtype: DType,
}

impl Norm {
    /// Elements of `parameters` and of their gradient, `f32`: of layer normalisation all gains, then all shifts; else gains.
    pub fn parameters(&self) -> usize {
        self.kind.width() * self.cols
    }

    /// Elements of `statistics`, `f32`: a row's mean, where there is one, and reciprocal deviation, row by row.
    pub fn statistics(&self) -> usize {
        self.kind.width() * self.rows
    }

    /// Adds `out = norm(x)`, both `rows` by `cols`; `statistics` are kept for [`Self::backward`].
    pub fn forward(
        &self,
        program: &mut Program,
        x: usize,
        parameters: usize,
        out: usize,
        statistics: usize,
    ) {
        let (dtype, len) = (self.dtype, self.rows * self.cols);
        let own = [
            ("parameters", parameters, DType::F32, self.parameters()),
            ("statistics", statistics, DType::F32, self.statistics()),
        ];
        expect(
            program,
            "norm",
            &[("x", x, dtype, len), ("out", out, dtype, len)],
        );
        expect(program, "norm", &own);
        with_lane!(
            dtype,
            host::forward(program, *self, [x, parameters, out, statistics])
        );
        let launch = cuda::by_rows(&SOURCE, self.kind.kernel(), dtype, self.rows, self.cols);
        let buffers = [out, statistics, x, parameters].map(Arg::Buffer);
        program.launch(launch.args(buffers).args([Arg::F32(EPSILON)]));
    }

    /// Adds `dx` and the gradient of the parameters, given `x`, `parameters` and `statistics` of [`Self::forward`] and `dy`.
    pub fn backward(
        &self,
        program: &mut Program,
        [x, parameters, statistics, dy]: [usize; 4],
        dx: usize,
        dparameters: usize,
    ) {
        let (dtype, len) = (self.dtype, self.rows * self.cols);
        expect(
            program,
            "norm",
            &[
                ("x", x, dtype, len),
                ("dy", dy, dtype, len),
                ("dx", dx, dtype, len),
            ],
        );
        for (role, buffer, count) in [
            ("parameters", parameters, self.parameters()),
            ("statistics", statistics, self.statistics()),
            ("dparameters", dparameters, self.parameters()),
        ] {
            expect(program, "norm", &[(role, buffer, DType::F32, count)]);
        }
        let blocks = blocks_of(self.rows);
        let partials = workspace(
            program,
            "partial-gradients",
            DType::F32,
            blocks * self.parameters(),
        );
        with_lane!(
            dtype,
            host::backward(
                program,
                *self,
                [x, parameters, statistics, dy, dx, partials, dparameters]
            )
        );
        let kernel = format!("{}_backward", self.kind.kernel());
        let launch = cuda::by_rows(&SOURCE, &kernel, dtype, self.rows, self.cols);
        program.launch(launch.args([dx, x, parameters, statistics, dy].map(Arg::Buffer)));
        program.launch(self.partial_gradients([partials, x, statistics, dy]));
        column_sum::sum_blocks_on_cuda(
            program,
            [blocks, self.parameters()],
            partials,
            dparameters,
            Store::Set,
        );
    }

    fn partial_gradients(&self, buffers: [usize; 4]) -> Launch {
        let kernel = format!(
            "norm_parameters<{}, {}>",
            self.dtype.cuda(),
            self.kind == Kind::Layer
        );
        Launch {
            grid: [
                self.cols.div_ceil(32) as u32,
                blocks_of(self.rows) as u32,
                1,
            ],
            block: [32, 8, 1],
            ..Launch::new(&SOURCE, kernel, 0, 0)
        }
        .args(buffers.map(Arg::Buffer))
        .args([self.rows, self.cols, rows_per_block(self.rows)].map(Arg::size))
    }
}

/// The ops: a kind of norm, forward or backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormOp {
    kind: Kind,
    is_backward: bool,
}

impl NormOp {
    /// `layernorm`
    pub const LAYER: Self = Self {
        kind: Kind::Layer,
        is_backward: false,
    };
    /// `layernorm-backward`
    pub const LAYER_BACKWARD: Self = Self {
        kind: Kind::Layer,
        is_backward: true,
    };
    /// `rmsnorm`
    pub const RMS: Self = Self {
        kind: Kind::Rms,
        is_backward: false,
    };
    /// `rmsnorm-backward`
    pub const RMS_BACKWARD: Self = Self {
        kind: Kind::Rms,
        is_backward: true,
    };

    fn work(self, norm: &Norm) -> Result<Work, Failure> {
        let elements =
            parameters::product("`rows` and `cols`", &[norm.rows as u64, norm.cols as u64])?;
        let (arrays, flops) = match (self.kind, self.is_backward) {
            (Kind::Layer, false) => (2, 7),
            (Kind::Rms, false) => (2, 4),
            (Kind::Layer, true) => (3, 16),
            (Kind::Rms, true) => (3, 12),
        };
        Ok(Work {
            bytes: Some(parameters::product(
                "`rows` and `cols`",
                &[elements, arrays, norm.dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`rows` and `cols`",
                &[elements, flops],
            )?),
            items: Some(elements),
            formula: format!(
                "bytes = {arrays} rows cols sizeof(T), flops = {flops} rows cols, items = rows cols"
            ),
        })
    }
}

impl Op for NormOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match (self.kind, self.is_backward) {
            (Kind::Layer, false) => ("layernorm", "layer normalisation of each row of a matrix"),
            (Kind::Layer, true) => (
                "layernorm-backward",
                "gradients of layer normalisation: of its input and parameters",
            ),
            (Kind::Rms, false) => (
                "rmsnorm",
                "root-mean-square normalisation of each row of a matrix",
            ),
            (Kind::Rms, true) => (
                "rmsnorm-backward",
                "gradients of root-mean-square normalisation: of its input and parameters",
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![
                parameters::integer("rows"),
                parameters::integer("cols"),
                parameters::dtype(DTYPES),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let norm = Norm {
            kind: self.kind,
            rows: arguments.size("rows")?,
            cols: arguments.count("cols")?,
            dtype,
        };
        let mut program = Program::new(self.work(&norm)?);
        let len = parameters::size_product("`rows` and `cols`", &[norm.rows, norm.cols, 2])? / 2;
        let x = program.input(
            "x",
            dtype,
            len,
            Fill::Signed {
                stream: 0,
                scale: 2.0,
            },
        );
        let parameters = program.input(
            "parameters",
            DType::F32,
            norm.parameters(),
            Fill::Unit { stream: 1 },
        );
        if self.is_backward {
            // Whatever they are: the gradients are functions of them.
            let statistics = program.input(
                "statistics",
                DType::F32,
                norm.statistics(),
                Fill::Unit { stream: 2 },
            );
            let dy = program.input("dy", dtype, len, Fill::signed(3));
            let dx = program.output("dx", dtype, len);
            let dparameters = program.output("dparameters", DType::F32, norm.parameters());
            let inputs = [x, parameters, statistics, dy];
            norm.backward(&mut program, inputs, dx, dparameters);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check::backward(outcome, norm, inputs, [dx, dparameters])
                )
            });
        } else {
            let out = program.output("out", dtype, len);
            let statistics = program.output("statistics", DType::F32, norm.statistics());
            norm.forward(&mut program, x, parameters, out, statistics);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check::forward(outcome, norm, [x, parameters, out, statistics])
                )
            });
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "rows" {
            size.min(if self.is_backward { 70 } else { 4 })
        } else {
            super::test_size(size)
        }
    }
}
