//! How far a long piece of work is: set by whoever does it, read by whoever waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The stage that work is in, and how much of that is done.
#[derive(Debug, Default)]
pub struct Progress {
    stage: Mutex<String>,
    of: AtomicUsize,
    done: AtomicUsize,
}

impl Progress {
    /// Begins a stage of so many steps; 0 where they cannot be counted.
    pub fn begin(&self, stage: &str, of: usize) {
        stage.clone_into(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner));
        self.of.store(of, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    /// Ends one step.
    pub fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Such as `correlations of pairs, 1200 of 4950`.
    pub fn words(&self) -> String {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let [of, done] = [&self.of, &self.done].map(|count| count.load(Ordering::Relaxed));
        if of == 0 {
            return stage.clone();
        }
        format!("{stage}, {} of {of}", done.min(of))
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use crate::synthetic::privacy::Budget;
    use crate::synthetic::privacy::mechanism::Mechanism;
    use crate::synthetic::table::{Column, Table, Values, census};
    use crate::synthetic::workload::{GENERATORS, Noise, Privacy, fit_declared};

    #[test]
    fn words_are_of_the_stage_that_goes_on() {
        let progress = Progress::default();
        progress.begin("reading", 0);
        assert_eq!(progress.words(), "reading");
        progress.begin("pairs", 3);
        progress.step();
        assert_eq!(progress.words(), "pairs, 1 of 3");
    }

    #[test]
    fn pairs_that_memory_does_not_hold_are_refused_before_anything_is_learned() {
        const COLUMNS: usize = 1_000_000;
        let column = |number: usize| Column {
            name: number.to_string(),
            values: Values::Number {
                values: vec![1.0, 2.0],
                decimals: Some(0),
            },
        };
        let table = Table::new((0..COLUMNS).map(column).collect()).unwrap();
        let privacy = Privacy {
            budget: Budget::usual(1.0).unwrap(),
            mechanism: None,
            noise: Noise::Seeded(1),
        };
        for (generator, needed) in [("copula", "29.10 TiB"), ("mst", "14.55 TiB")] {
            let progress = Progress::default();
            let error = fit_declared(generator, &table, &[], &privacy, &progress).unwrap_err();
            let words = error.to_string();
            assert!(
                words.contains(needed) && words.contains("1000000 columns"),
                "{words}"
            );
            assert_eq!(progress.words(), "", "{generator}");
        }
    }

    #[test]
    fn every_generator_counts_its_last_stage_to_the_end() {
        let table = census::rows(1, 0, 60);
        let last = |generator, mechanism| {
            let progress = Progress::default();
            let privacy = Privacy {
                budget: Budget::usual(1.0).unwrap(),
                mechanism,
                noise: Noise::Seeded(1),
            };
            fit_declared(generator, &table, &[], &privacy, &progress).unwrap();
            progress.words()
        };
        for (generator, words) in GENERATORS.into_iter().zip([
            "factor of the correlations",
            "distributions of columns, 15 of 15",
            "counts along the edges, 14 of 14",
        ]) {
            assert_eq!(last(generator, None), words, "{generator}");
        }
        let private = last("independent", Some(Mechanism::Laplace));
        assert_eq!(private, "counts of columns, 15 of 15");
    }
}
