//! All results as Parquet, in files of some runs each: after a night the last of them alone is written anew.
//!
//! What is in a file follows from the runs that there are, oldest first. It is the store that writes them.

use assay_record::RunId;
use assay_store::RunRow;

/// Runs of one file: half as many are written anew each night, on average.
const RUNS: usize = 25;

/// Name of the first file, from the site's root.
pub const RESULTS: &str = "results.parquet";

/// A file of results.
pub struct Results {
    /// Its name, from the site's root.
    pub name: String,
    /// The runs whose results it has.
    pub runs: Vec<RunId>,
}

/// The files that hold the results of all runs.
pub fn files<'a>(runs: impl IntoIterator<Item = &'a RunRow>) -> Vec<Results> {
    let mut runs: Vec<&RunRow> = runs.into_iter().collect();
    runs.sort_unstable_by_key(|row| (row.started, &row.run));
    let files = (1..).zip(runs.chunks(RUNS));
    files
        .map(|(number, runs): (usize, _)| Results {
            name: match number {
                1 => RESULTS.into(),
                _ => format!("results-{number}.parquet"),
            },
            runs: runs.iter().map(|row| row.run.clone()).collect(),
        })
        .collect()
}
