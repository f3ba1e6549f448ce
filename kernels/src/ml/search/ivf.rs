//! A scan of an inverted file: the lists of the centroids nearest to a query, and the nearest vectors in them.

use assay_protocol::{Failure, Work};

use super::lists;
use super::{Found, MOST, Metric, SOURCE, Search, THREADS, add_merge, check, check_sizes, eighths};
use crate::element::DType;
use crate::ml::groups::Groups;
use crate::ml::{expect, workspace};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Fill, Launch, Program};

/// Finds the `k` nearest vectors of each query in the `nprobe` lists whose centroids are nearest: a brick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvfScan {
    /// How many queries.
    pub queries: usize,
    /// How many vectors are in the lists.
    pub vectors: usize,
    /// Numbers of a vector.
    pub width: usize,
    /// Results of each query, at most 1024.
    pub k: usize,
    /// How many lists there are.
    pub lists: usize,
    /// How many of them a query looks at.
    pub nprobe: usize,
    /// What is near.
    pub metric: Metric,
}

/// Numbers of the buffers of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lists {
    /// Queries, `queries` by `width`.
    pub queries: usize,
    /// `lists` by `width`.
    pub centroids: usize,
    /// Vectors, list after list, `vectors` by `width`.
    pub vectors: usize,
    /// What each vector is called, of `u32`.
    pub ids: usize,
    /// Where each list begins, and where the last ends, of `u32`.
    pub offsets: usize,
    /// Distances or products, `queries` by `k`, written.
    pub values: usize,
    /// What the nearest are called, `queries` by `k`, of `u32`, written.
    pub places: usize,
}

impl IvfScan {
    /// Adds the step to a program.
    pub fn add(self, program: &mut Program, lists: Lists) {
        let results = self.queries * self.k;
        let buffers = [
            (
                "vectors",
                lists.vectors,
                DType::F32,
                self.vectors * self.width,
            ),
            ("ids", lists.ids, DType::U32, self.vectors),
            ("offsets", lists.offsets, DType::U32, self.lists + 1),
            ("values", lists.values, DType::F32, results),
            ("places", lists.places, DType::U32, results),
        ];
        expect(program, "IvfScan", &buffers);
        let probes = self.queries * self.nprobe;
        let near = workspace(program, "near", DType::F32, probes);
        let chosen = workspace(program, "probed", DType::U32, probes);
        let coarse = Search {
            queries: self.queries,
            vectors: self.lists,
            width: self.width,
            k: self.nprobe,
            metric: self.metric,
        };
        let found = Found {
            queries: lists.queries,
            base: lists.centroids,
            values: near,
            places: chosen,
        };
        coarse.add(program, found);
        let mut groups = Groups::default();
        program.step_on_cpu(move |team, buffers| {
            let Lists {
                queries,
                vectors,
                ids,
                offsets,
                values,
                places,
                ..
            } = lists;
            let [queries, vectors, ids, offsets, chosen, values, places] =
                buffers.many([queries, vectors, ids, offsets, chosen, values, places]);
            let file = File {
                vectors: vectors.get(),
                ids: ids.get(),
                offsets: offsets.get(),
            };
            let queries = (queries.get(), chosen.get());
            let results = (values.get_mut(), places.get_mut());
            lists::scan(team, self, queries, file, &mut groups, results);
        });
        let keys = workspace(program, "keys", DType::U64, probes * self.k);
        let keys = Arg::Buffer(keys);
        let kernel = format!("ivf_scan<{}>", self.metric.cuda());
        let inputs = [
            lists.queries,
            lists.vectors,
            lists.ids,
            lists.offsets,
            chosen,
        ];
        let sizes = [self.queries, self.width, self.k, self.nprobe];
        program.launch(
            Launch::new(&SOURCE, kernel, probes as u32, THREADS)
                .args([keys])
                .args(inputs.map(Arg::Buffer))
                .args(sizes.map(|size| Arg::U32(size as u32))),
        );
        let out = [lists.values, lists.places];
        add_merge(
            program,
            self.metric,
            out,
            keys,
            [self.queries, self.k, self.nprobe],
        );
    }
}

/// Lists of vectors.
#[derive(Clone, Copy)]
pub struct File<'a> {
    /// List after list.
    pub vectors: &'a [f32],
    /// What each is called.
    pub ids: &'a [u32],
    /// Where lists begin.
    pub offsets: &'a [u32],
}

impl File<'_> {
    /// Rows of a list.
    pub fn list(&self, list: u32) -> std::ops::Range<usize> {
        // Without a nearest there is no list.
        let Some(end) = self.offsets.get(list as usize + 1) else {
            return 0..0;
        };
        self.offsets[list as usize] as usize..*end as usize
    }
}

/// Where lists begin: as long as each other, but for those that have up to half of the next one's.
fn offsets(vectors: usize, lists: usize) -> Fill {
    Fill::Host(Box::new(move |buffer, seed| {
        let random = assay_protocol::Philox::new(seed, 4);
        let offsets = buffer.get_mut::<u32>();
        for (list, offset) in offsets.iter_mut().enumerate() {
            let even = (vectors as u128 * list as u128 / lists as u128) as usize;
            let most = vectors / lists / 2;
            let moved = random.word(list as u64) as usize % (most + 1);
            // The first and the last stay.
            let inner = list > 0 && list < lists;
            *offset = (even + if inner { moved } else { 0 }) as u32;
        }
    }))
}

/// Names that are not places: from the last to the first.
fn names() -> Fill {
    Fill::Host(Box::new(|buffer, _| {
        let ids = buffer.get_mut::<u32>();
        let last = ids.len().saturating_sub(1) as u32;
        ids.iter_mut()
            .zip(0..)
            .for_each(|(id, row)| *id = last - row);
    }))
}

/// The program of a case.
pub fn program(arguments: &Arguments) -> Result<Program, Failure> {
    check_sizes(arguments, &["queries", "vectors"])?;
    let brick = IvfScan {
        queries: arguments.count("queries")?,
        vectors: arguments.count("vectors")?,
        width: arguments.count("width")?,
        k: arguments.at_most_as_many("k", "vectors")?,
        lists: arguments.at_most_as_many("lists", "vectors")?,
        nprobe: arguments.at_most_as_many("nprobe", "lists")?,
        metric: arguments.choice("metric", &Metric::ALL)?,
    };
    arguments.check_most("k", MOST)?;
    arguments.check_most("nprobe", MOST)?;
    let IvfScan {
        queries,
        vectors,
        width,
        k,
        lists,
        nprobe,
        ..
    } = brick;
    let all = "`queries`, `vectors`, `width`, `k`, `lists` and `nprobe`";
    parameters::size_product(all, &[vectors, width, 4])?;
    parameters::size_product(all, &[queries, width, 4])?;
    parameters::size_product(all, &[queries, nprobe, k, 8])?;
    let probed = vectors * nprobe / lists;
    let factors = [2, queries, lists + probed, width].map(|size| size as u64);
    // Every list may be read once for all queries, or not at all.
    let read = (queries * probed).min(vectors);
    let mut program = Program::new(Work {
        bytes: Some((4 * (queries + lists + read) * width + 8 * queries * k) as u64),
        flops: Some(parameters::product(all, &factors)?),
        items: Some(queries as u64),
        formula: "bytes = 4 (Q + L + min(Q N p / L, N)) d + 8 Q k, flops = 2 Q (L + N p / L) d, items = Q; L lists, p = nprobe"
            .into(),
    });
    let buffers = Lists {
        values: program.output("values", DType::F32, queries * k),
        places: program.output("places", DType::U32, queries * k),
        queries: program.input("queries", DType::F32, queries * width, eighths(0)),
        centroids: program.input("centroids", DType::F32, lists * width, eighths(1)),
        vectors: program.input("vectors", DType::F32, vectors * width, eighths(2)),
        ids: program.input("ids", DType::U32, vectors, names()),
        offsets: program.input("offsets", DType::U32, lists + 1, offsets(vectors, lists)),
    };
    brick.add(&mut program, buffers);
    program.check(move |outcome| check::ivf(outcome, brick, buffers));
    Ok(program)
}
