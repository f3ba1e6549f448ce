//! Search among vectors: the nearest of all, a step of k-means, and a scan of the nearest lists of an inverted file.
//!
//! Vectors are rows of `f32`. Nearness is squared Euclidean distance, `|q - x|^2`, the least first, or inner product, the
//! largest first; of equal ones the earlier in the base is nearer, so the answer is one whatever the order of work. A NaN is
//! farther than any number, and stays one where so few are left that it is among the results.
//!
//! * [`Search`]: distances are made by tiles, as a product of matrices, and only what is nearer than the k-th so far is kept: the
//!   matrix of distances is never in memory. Source: J. Johnson, M. Douze, H. Jégou, "Billion-scale similarity search with
//!   GPUs", IEEE Trans. Big Data 7(3), 2021, sections 4 and 5 (there as a matrix and a selection).
//! * [`KMeans`]: S. Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2), 1982: every point to its nearest
//!   centroid, every centroid to the mean of its points, which are added in the order of the points (on CUDA devices in the
//!   order within chunks of points, then of chunks). One without points stays.
//! * [`IvfScan`]: H. Jégou, M. Douze, C. Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33(1), 2011,
//!   section 4, without the quantisation of what is in a list ("`IVFFlat`"). Where lists have fewer than `k`, distances are
//!   infinite and places `u32::MAX`.
//!
//! Work with Q queries, N vectors of d numbers, K centroids: search `2 Q N d` flops, k-means `2 N K d`, a scan `2 Q d` for each
//! centroid and each vector in a list that a query looks at, on average. Inputs are multiples of 1/8 from -1 to 7/8: `f32` is exact with them,
//! in any order, so that results are compared to the bit.

mod check;
mod host;
mod ivf;
mod lists;

use assay_protocol::{Failure, Philox, Work};

use crate::element::DType;
use crate::ml::{expect, workspace};
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program, Source, blocks, cuda_source};
pub use ivf::IvfScan;

static SOURCE: Source = cuda_source!("ml/search.cu");
const THREADS: u32 = 256;
/// Queries and vectors of a block's tile.
const TILE: usize = 64;
/// Blocks of a launch that are wanted at least.
const ENOUGH: usize = 528;
/// Tiles of a part of the base, but for the last.
const LEAST_TILES: usize = 4;
/// Results at most.
const MOST: usize = 1024;
/// Numbers of a vector at most: so many products of multiples of 1/8 are exact in `f32`.
const WIDEST: usize = 1 << 15;

/// What is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Squared Euclidean distance, the least first.
    L2,
    /// Inner product, the largest first.
    InnerProduct,
}

impl Metric {
    const ALL: [(&'static str, Self); 2] = [("l2", Self::L2), ("ip", Self::InnerProduct)];

    fn cuda(self) -> bool {
        self == Self::L2
    }

    /// What is reported where there is nothing.
    const fn nothing(self) -> f32 {
        match self {
            Self::L2 => f32::INFINITY,
            Self::InnerProduct => f32::NEG_INFINITY,
        }
    }
}

/// A number's bits, changed so that they rise as the number does.
fn rising(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}

/// The inverse of [`rising`].
fn number(rising: u32) -> f32 {
    f32::from_bits(if rising >> 31 == 1 {
        rising & 0x7fff_ffff
    } else {
        !rising
    })
}

/// What results are ordered by, the nearest first: the score rises with distance. (Adding 0 makes one 0 of both; a NaN is
/// made the largest.)
fn key(score: f32, place: u32) -> u64 {
    let score = if score.is_nan() {
        f32::NAN
    } else {
        score + 0.0
    };
    u64::from(rising(score)) << 32 | u64::from(place)
}

/// A key of nothing, which is farther than any.
const NOTHING: u64 = u64::MAX;

/// The value that a key's score is reported as, and its place.
fn result(metric: Metric, key: u64) -> (f32, u32) {
    if key == NOTHING {
        return (metric.nothing(), u32::MAX);
    }
    let score = number((key >> 32) as u32);
    let value = match metric {
        Metric::L2 => score,
        // Without a zero that is negative.
        Metric::InnerProduct => 0.0 - score,
    };
    (value, key as u32)
}

/// Finds the `k` nearest vectors of each query, among all: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// How many queries.
    pub queries: usize,
    /// How many vectors are searched, `k` at least.
    pub vectors: usize,
    /// Numbers of a vector.
    pub width: usize,
    /// Results of each query, at most 1024.
    pub k: usize,
    /// What is near.
    pub metric: Metric,
}

/// Numbers of the buffers of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Queries, `queries` by `width`.
    pub queries: usize,
    /// The vectors that are searched, `vectors` by `width`.
    pub base: usize,
    /// Distances or products, `queries` by `k`, written.
    pub values: usize,
    /// Places in the base, `queries` by `k`, of `u32`, written.
    pub places: usize,
}

impl Search {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, found: Found) {
        let Found {
            queries,
            base,
            values,
            places,
        } = found;
        let buffers = [
            ("queries", queries, DType::F32, self.queries * self.width),
            ("base", base, DType::F32, self.vectors * self.width),
            ("values", values, DType::F32, self.queries * self.k),
            ("places", places, DType::U32, self.queries * self.k),
        ];
        expect(program, "Search", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [queries, base, values, places] = buffers.many([queries, base, values, places]);
            let inputs = [queries.get(), base.get()];
            host::search(team, self, inputs, values.get_mut(), places.get_mut());
        });
        self.add_launches(program, found);
    }

    /// How many parts of the base different blocks take.
    fn splits(self) -> usize {
        let tiles = self.vectors.div_ceil(TILE).max(1);
        let of_queries = self.queries.div_ceil(TILE).max(1);
        // A part of few tiles, or of fewer than it has results to keep, would leave most of the work to the merging.
        let most = tiles.div_ceil(self.k.div_ceil(TILE).max(LEAST_TILES));
        ENOUGH.div_ceil(of_queries).min(most)
    }

    fn add_launches(self, program: &mut Program, found: Found) {
        let Self {
            queries,
            vectors,
            width,
            k,
            metric,
        } = self;
        let splits = self.splits();
        let count = splits * queries * k;
        let keys = Arg::Buffer(workspace(program, "keys", DType::U64, count));
        let of_queries = Arg::Buffer(workspace(program, "norms", DType::F32, queries));
        let of_base = Arg::Buffer(workspace(program, "norms", DType::F32, vectors));
        let [q, x] = [found.queries, found.base].map(Arg::Buffer);
        if metric == Metric::L2 {
            for (norms, of, rows) in [(of_queries, q, queries), (of_base, x, vectors)] {
                let grid = blocks(rows, THREADS as usize / 32, u32::MAX);
                program.launch(
                    Launch::new(&SOURCE, "search_norms", grid, THREADS)
                        .args([norms, of])
                        .args([rows, width].map(Arg::size)),
                );
            }
        }
        let sizes = [queries, vectors, width, k, splits].map(|size| Arg::U32(size as u32));
        let kernel = format!("search_scan<{}>", metric.cuda());
        let grid = (queries.div_ceil(TILE) * splits) as u32;
        program.launch(
            Launch::new(&SOURCE, kernel, grid, THREADS)
                .args([keys, q, x, of_queries, of_base])
                .args(sizes),
        );
        let out = [found.values, found.places];
        add_merge(program, metric, out, keys, [queries, k, splits]);
    }
}

/// Merges the lists of `splits` parts, each of `k` keys a query.
fn add_merge(
    program: &mut Program,
    metric: Metric,
    [values, places]: [usize; 2],
    keys: Arg,
    [queries, k, splits]: [usize; 3],
) {
    let kernel = format!("search_merge<{}>", metric.cuda());
    program.launch(
        Launch::new(&SOURCE, kernel, queries as u32, THREADS)
            .args([Arg::Buffer(values), Arg::Buffer(places), keys])
            .args([queries, k, splits].map(|size| Arg::U32(size as u32))),
    );
}

/// A step of k-means: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeans {
    /// How many points.
    pub points: usize,
    /// How many centroids.
    pub centroids: usize,
    /// Numbers of a point.
    pub width: usize,
}

/// Numbers of the buffers of a step of k-means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// `points` by `width`.
    pub points: usize,
    /// `centroids` by `width`.
    pub centroids: usize,
    /// The next centroids, written: another buffer.
    pub next: usize,
    /// Squared distance of each point from its centroid, written.
    pub distances: usize,
    /// Number of each point's centroid, of `u32`, written.
    pub nearest: usize,
}

impl KMeans {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, clusters: Clusters) {
        let search = Search {
            queries: self.points,
            vectors: self.centroids,
            width: self.width,
            k: 1,
            metric: Metric::L2,
        };
        let found = Found {
            queries: clusters.points,
            base: clusters.centroids,
            values: clusters.distances,
            places: clusters.nearest,
        };
        search.add(program, found);
        let Clusters {
            points,
            centroids,
            next,
            nearest,
            ..
        } = clusters;
        let of_centroids = self.centroids * self.width;
        expect(
            program,
            "KMeans",
            &[("next", next, DType::F32, of_centroids)],
        );
        program.step_on_cpu(move |team, buffers| {
            let [points, centroids, next, nearest] =
                buffers.many([points, centroids, next, nearest]);
            let inputs = [points.get(), centroids.get()];
            host::means(team, self.width, inputs, nearest.get(), next.get_mut());
        });
        self.add_launches(program, clusters);
    }

    fn add_launches(self, program: &mut Program, clusters: Clusters) {
        const MOST_CHUNKS: usize = 64;
        const LEAST_POINTS: usize = 128;
        let Self {
            points,
            centroids,
            width,
        } = self;
        let chunks = points.div_ceil(LEAST_POINTS).clamp(1, MOST_CHUNKS);
        let sums = workspace(program, "sums", DType::F32, chunks * centroids * width);
        let counts = workspace(program, "counts", DType::U32, chunks * centroids);
        let [sums, counts] = [sums, counts].map(Arg::Buffer);
        let sizes = [points, centroids, width, chunks].map(|size| Arg::U32(size as u32));
        let mut partial = Launch::new(&SOURCE, "means_of_chunks", chunks as u32, THREADS)
            .args([sums, counts])
            .args([clusters.points, clusters.nearest].map(Arg::Buffer))
            .args(sizes);
        partial.grid[1] = blocks(width, THREADS as usize, u32::MAX);
        program.launch(partial);
        let grid = blocks(centroids * width, THREADS as usize, u32::MAX);
        program.launch(
            Launch::new(&SOURCE, "means", grid, THREADS)
                .args([clusters.next, clusters.centroids].map(Arg::Buffer))
                .args([sums, counts])
                .args([centroids, width, chunks].map(|size| Arg::U32(size as u32))),
        );
    }
}

/// The ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchOp {
    /// The nearest of all.
    TopK,
    /// A step of k-means.
    KMeans,
    /// The nearest of some lists.
    IvfFlat,
}

/// Random multiples of 1/8 from -1 to 7/8.
fn eighths(stream: u64) -> Fill {
    Fill::Host(Box::new(move |buffer, seed| {
        let random = Philox::new(seed, stream);
        let mut words = [0_u32; 1024];
        for (index, part) in buffer.get_mut::<f32>().chunks_mut(words.len()).enumerate() {
            let words = &mut words[..part.len()];
            random.fill_words(1024 * index as u64, words);
            for (out, word) in part.iter_mut().zip(words) {
                *out = ((*word & 15) as f32 - 8.0) / 8.0;
            }
        }
    }))
}

/// Fails if the sizes, all together, are more than kernels count in 32 bits.
fn check_sizes(arguments: &Arguments, names: &[&str]) -> Result<(), Failure> {
    for name in names {
        arguments.check_most(name, i32::MAX.unsigned_abs() as usize)?;
    }
    Ok(())
}

impl Op for SearchOp {
    fn info(&self) -> OpInfo {
        let integers =
            |names: &[&str]| names.iter().map(|name| parameters::integer(name)).collect();
        let metric = parameters::choice("metric", &Metric::ALL.map(|(name, _)| name));
        let (name, summary, mut parameters): (_, _, Vec<_>) = match self {
            Self::TopK => (
                "knn",
                "the k nearest of all vectors, exactly",
                integers(&["queries", "vectors", "width", "k"]),
            ),
            Self::KMeans => (
                "kmeans-step",
                "points to their nearest centroids, centroids to the means of their points",
                integers(&["points", "centroids", "width"]),
            ),
            Self::IvfFlat => (
                "ivf-flat",
                "the k nearest vectors in the lists of the nearest centroids",
                integers(&["queries", "vectors", "width", "k", "lists", "nprobe"]),
            ),
        };
        if *self != Self::KMeans {
            parameters.push(metric);
        }
        OpInfo {
            name,
            summary,
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        arguments.check_most("width", WIDEST)?;
        match self {
            Self::TopK => search_program(arguments),
            Self::KMeans => kmeans_program(arguments),
            Self::IvfFlat => ivf::program(arguments),
        }
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            "k" => size.min(5),
            "lists" => size.min(11),
            "nprobe" => size.min(4),
            "width" => size.min(19),
            "queries" | "centroids" => size.min(70),
            _ => size,
        }
    }
}

fn search_program(arguments: &Arguments) -> Result<Program, Failure> {
    check_sizes(arguments, &["queries", "vectors"])?;
    let search = Search {
        queries: arguments.count("queries")?,
        vectors: arguments.count("vectors")?,
        width: arguments.count("width")?,
        k: arguments.at_most_as_many("k", "vectors")?,
        metric: arguments.choice("metric", &Metric::ALL)?,
    };
    arguments.check_most("k", MOST)?;
    let Search {
        queries,
        vectors,
        width,
        k,
        ..
    } = search;
    let names = "`queries`, `vectors`, `width` and `k`";
    parameters::size_product(names, &[queries, width, 4])?;
    parameters::size_product(names, &[vectors, width, 4])?;
    parameters::size_product(names, &[queries, k, search.splits(), 8])?;
    let results = queries * k;
    let mut program = Program::new(Work {
        bytes: Some((4 * (queries + vectors) * width + 8 * results) as u64),
        flops: Some(parameters::product(
            names,
            &[2, queries, vectors, width].map(|size| size as u64),
        )?),
        items: Some(queries as u64),
        formula: "bytes = 4 (Q + N) d + 8 Q k, flops = 2 Q N d, items = Q".into(),
    });
    program.unit = Some(assay_protocol::ArithmeticUnit::F32);
    let found = Found {
        values: program.output("values", DType::F32, results),
        places: program.output("places", DType::U32, results),
        queries: program.input("queries", DType::F32, queries * width, eighths(0)),
        base: program.input("base", DType::F32, vectors * width, eighths(1)),
    };
    search.add(&mut program, found);
    program.check(move |outcome| check::search(outcome, search, found));
    Ok(program)
}

fn kmeans_program(arguments: &Arguments) -> Result<Program, Failure> {
    check_sizes(arguments, &["points", "centroids"])?;
    let brick = KMeans {
        points: arguments.count("points")?,
        centroids: arguments.at_most_as_many("centroids", "points")?,
        width: arguments.count("width")?,
    };
    let KMeans {
        points,
        centroids,
        width,
    } = brick;
    let names = "`points`, `centroids` and `width`";
    parameters::size_product(names, &[points, width, 4])?;
    parameters::size_product(names, &[centroids, width, 64 * 4])?;
    let bytes = 4 * (points + 2 * centroids) * width + 8 * points;
    let mut program = Program::new(Work {
        bytes: Some(bytes as u64),
        flops: Some(parameters::product(
            names,
            &[2, points, centroids, width].map(|size| size as u64),
        )?),
        items: Some(points as u64),
        formula: "bytes = 4 (N + 2 K) d + 8 N, flops = 2 N K d, items = N".into(),
    });
    program.unit = Some(assay_protocol::ArithmeticUnit::F32);
    let clusters = Clusters {
        next: program.output("next", DType::F32, centroids * width),
        distances: program.output("distances", DType::F32, points),
        nearest: program.output("nearest", DType::U32, points),
        points: program.input("points", DType::F32, points * width, eighths(0)),
        centroids: program.input("centroids", DType::F32, centroids * width, eighths(1)),
    };
    brick.add(&mut program, clusters);
    program.check(move |outcome| check::kmeans(outcome, brick, clusters));
    Ok(program)
}

#[cfg(test)]
mod tests {
    use assay_protocol::{CaseSpec, DeviceKind, DeviceSelector, ParamValue, TimingMode};

    use crate::ops::program;

    #[test]
    fn more_than_there_is_is_refused_in_the_same_words_on_all_devices() {
        let sizes = [
            "queries", "vectors", "width", "k", "lists", "nprobe", "elements",
        ];
        let cases = [
            (
                "knn",
                "k",
                "`k`: expected at most as many as there are `vectors`, 9, found 10",
            ),
            (
                "top-k",
                "k",
                "`k`: expected at most as many as there are `elements`, 9, found 10",
            ),
            (
                "ivf-flat",
                "k",
                "`k`: expected at most as many as there are `vectors`, 9, found 10",
            ),
            (
                "ivf-flat",
                "lists",
                "`lists`: expected at most as many as there are `vectors`, 9",
            ),
            (
                "ivf-flat",
                "nprobe",
                "`nprobe`: expected at most as many as there are `lists`, 9",
            ),
            (
                "kmeans-step",
                "centroids",
                "as there are `points`, 9, found 10",
            ),
            (
                "knn",
                "queries",
                "`queries`: expected an integer of at least 1, found 0",
            ),
        ];
        for (workload, wrong, expected) in cases {
            for kind in [DeviceKind::Cpu, DeviceKind::Cuda] {
                let all = sizes.iter().chain(&["points", "centroids"]);
                let mut params: assay_protocol::Params = all
                    .map(|name| ((*name).into(), ParamValue::Int(9)))
                    .collect();
                params.insert("metric".into(), ParamValue::Text("l2".into()));
                let value = if wrong == "queries" { 0 } else { 10 };
                params.insert(wrong.into(), ParamValue::Int(value));
                let case = CaseSpec {
                    workload: workload.into(),
                    params,
                    seed: 1.into(),
                    device: DeviceSelector {
                        kind,
                        ..DeviceSelector::CPU
                    },
                    timing: TimingMode::Hot,
                    command: None,
                    kernel: None,
                };
                let refused = program(&case).err().map(|failure| failure.to_string());
                let is_told = |reason: &String| reason.contains(expected);
                assert!(refused.as_ref().is_some_and(is_told), "{refused:?}");
            }
        }
    }
}
