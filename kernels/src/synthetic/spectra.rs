//! Spectra of galaxies on a CUDA device. What they are, their recipe and their form for the host is in `assay-suites`, which compares
//! both to the bit; here are the launches.

use crate::element::DType;
use crate::ml::{expect, workspace};
use crate::program::{Arg, Launch, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("synthetic/spectra.cu");
const THREADS: u32 = 128;
/// Spectra of a block.
const GROUP: usize = 32;
/// Emission lines of a spectrum, and kinds of galaxies.
const LINES: usize = 14;
const KINDS: usize = 3;
/// Numbers of a recipe: 15, and for each line its place, its part and its strength in each kind of galaxy.
pub const NUMBERS: usize = 15 + LINES * (2 + KINDS);
/// Quantiles of the normal distribution that noise is made of.
pub const QUANTILES: usize = 2017;
/// Numbers and counts that are kept of a spectrum on its way.
const FIELDS: usize = 5 + 3 * LINES;
const COUNTS: usize = 2 + 2 * LINES;

/// Makes spectra: a brick, for CUDA devices alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spectra {
    /// How many, below 2^32.
    pub items: usize,
    /// Pixels of each, below 2^32.
    pub points: usize,
    /// The seed that rows draw from, the stream, and the first row.
    pub seed: u64,
    /// Random stream of the rows.
    pub stream: u64,
    /// Row of the first spectrum.
    pub first: u64,
}

/// Numbers of the buffers of spectra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// [`NUMBERS`] of `f64`, in the order of `Number` in the source.
    pub recipe: usize,
    /// The noise of each pixel over that far from lines of the sky, of `f32`.
    pub sky: usize,
    /// [`QUANTILES`] of `f32`.
    pub quantiles: usize,
    /// Fluxes and inverse variances, `items` by 2 by `points` of `f32`, written.
    pub out: usize,
}

impl Spectra {
    /// Adds the launches to a program.
    pub fn add(self, program: &mut Program, made: Made) {
        let Self { items, points, .. } = self;
        let buffers = [
            ("recipe", made.recipe, DType::F64, NUMBERS),
            ("sky", made.sky, DType::F32, points),
            ("quantiles", made.quantiles, DType::F32, QUANTILES),
            ("out", made.out, DType::F32, 2 * items * points),
        ];
        expect(program, "Spectra", &buffers);
        let fields = workspace(program, "fields", DType::F64, FIELDS * items);
        let counts = workspace(program, "counts", DType::U32, COUNTS * items);
        let [fields, counts] = [fields, counts].map(Arg::Buffer);
        let [recipe, sky, quantiles, out] =
            [made.recipe, made.sky, made.quantiles, made.out].map(Arg::Buffer);
        let rows = [
            Arg::U64(self.seed),
            Arg::U64(self.stream),
            Arg::U64(self.first),
            Arg::U32(items as u32),
            Arg::U32(points as u32),
        ];
        let each = blocks(items, THREADS as usize, u32::MAX);
        let launch = |kernel: &str, blocks, args: &[Arg]| {
            Launch::new(&SOURCE, kernel, blocks, THREADS)
                .args(args.iter().copied())
                .args(rows)
        };
        program.launch(launch("spectra_labels", each, &[fields, counts, recipe]));
        let groups = blocks(items, GROUP, u32::MAX);
        program.launch(launch(
            "spectra_pixels",
            groups,
            &[out, fields, counts, sky, quantiles],
        ));
        program.launch(launch(
            "spectra_masks",
            each,
            &[out, fields, counts, recipe, sky],
        ));
    }
}

/// The kernels that are launched, by source: of no op, so that whoever lists those of ops lists them beside.
pub fn kernels() -> (&'static Source, Vec<String>) {
    let names = ["spectra_labels", "spectra_pixels", "spectra_masks"];
    (&SOURCE, names.map(String::from).to_vec())
}
