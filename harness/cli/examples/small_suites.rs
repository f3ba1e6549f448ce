//! Writes made-up records of many suites that were run once or twice: `small_suites DIR [SUITES [RUNS]]`.

use std::path::Path;

use assay_store::synthetic::Recipe;

/// As many as make about twenty pages of a suite.
const CASES: u32 = 15;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (folder, rest) = words.split_first().expect("the folder to write");
    let number = |at: usize, usual: u32| {
        let word = rest.get(at);
        word.map_or(usual, |word| word.parse().expect("a number"))
    };
    let suites = number(0, 59);
    let runs = number(1, 73);
    for run in 0..runs {
        let recipe = Recipe {
            suite: format!("suite-{:03}", run % suites),
            night: run,
            seed: u64::from(run),
            cases: CASES,
            ..Recipe::default()
        };
        recipe.write(Path::new(folder), None).expect("is written");
    }
    println!("{runs} records of {suites} suites");
}
