//! Which lasting changes gates have settled.

use std::cell::RefCell;
use std::convert::Infallible;

use assay_record::{Record, RunId};
use assay_store::synthetic::Recipe;
use assay_store::{RunRow, Store};
use assay_verdicts::settled::Suspects::{self, Open, RunAgain};
use assay_verdicts::settled::{Spoken, settled};
use assay_verdicts::{CaseHistory, Marks, Nights};

use crate::summaries::store;

/// The first night at the new level, and how many there are.
const BEGAN: usize = 24;
const NIGHTS: usize = 38;

fn night(at: usize) -> Recipe {
    Recipe {
        night: at as u32,
        slowdown: if at < BEGAN { 1.0 } else { 1.2 },
        ..Recipe::default()
    }
}

/// Nights of which one began with a level that stayed.
struct World {
    store: Store,
    _folder: tempfile::TempDir,
    runs: Vec<RunRow>,
    histories: Vec<CaseHistory>,
}

impl World {
    fn new(nights: usize) -> Self {
        let records: Vec<Record> = (0..nights).map(|at| night(at).record()).collect();
        let (store, folder) = store(&records);
        let case = &Recipe::default().case_ids()[1];
        let today = "2026-06-01".parse().unwrap();
        let histories = CaseHistory::of_case(&store, case, &Marks::default(), today).unwrap();
        let [change] = &histories[0].changes[..] else {
            panic!("{histories:?}");
        };
        assert_eq!(change.index, BEGAN);
        Self {
            runs: store.runs().unwrap().to_vec(),
            histories,
            store,
            _folder: folder,
        }
    }

    /// Whether what began is settled where the suspects of some nights became that, and all others had none; and which nights were asked for.
    fn settles(&self, became: &[(usize, Suspects)]) -> (bool, Vec<usize>) {
        self.settles_beside(became, |at| at.checked_sub(3))
    }

    /// The same with these last runs of baselines.
    fn settles_beside(
        &self,
        became: &[(usize, Suspects)],
        last: impl Fn(usize) -> Option<usize>,
    ) -> (bool, Vec<usize>) {
        let place = |run: &RunId| self.runs.iter().position(|row| row.run == *run).unwrap();
        let asked = RefCell::new(Vec::new());
        let ask = |row: &RunRow| {
            let at = place(&row.run);
            asked.borrow_mut().push(at);
            let own = became.iter().find(|(of, _)| *of == at);
            Ok::<_, Infallible>(Spoken {
                last_of_baseline: last(at).map(|last| self.runs[last].run.clone()),
                suspects: own.map_or(Suspects::None, |(_, became)| *became),
            })
        };
        let nights = Nights::among(&self.store, &self.runs, None).unwrap();
        let is_run_again = |_: &_| !became.is_empty();
        let found = settled(&nights, &self.histories, is_run_again, ask).unwrap();
        let is_settled = found.values().flatten().any(|run| place(run) == BEGAN);
        (is_settled, asked.into_inner())
    }
}

#[test]
fn settled_is_what_a_night_had_in_sight_whose_suspects_were_run_again() {
    let world = World::new(NIGHTS);
    for first in BEGAN..BEGAN + 3 {
        let mut became: Vec<_> = (BEGAN..NIGHTS).map(|at| (at, Open)).collect();
        became[first - BEGAN].1 = RunAgain;
        assert!(world.settles(&became).0, "{first}");
    }
    // With the change in its baseline, or beside nothing.
    let became = [(BEGAN, RunAgain)];
    assert!(!world.settles_beside(&became, |_| Some(BEGAN)).0);
    assert!(!world.settles_beside(&became, |_| None).0);
}

#[test]
fn settled_is_nothing_by_what_was_run_again_before_and_since() {
    let world = World::new(NIGHTS);
    let open = (BEGAN..BEGAN + 3).map(|at| (at, Open));
    for once in [2, BEGAN - 1, BEGAN + 3, NIGHTS - 1] {
        let became: Vec<_> = open.clone().chain([(once, RunAgain)]).collect();
        assert!(!world.settles(&became).0, "{once}");
    }
}

#[test]
fn settled_without_suspects_is_as_the_last_night_that_had_some() {
    let world = World::new(NIGHTS);
    let settles = |became: &[_]| world.settles(became).0;
    assert!(settles(&[(BEGAN - 8, Open), (BEGAN - 3, RunAgain)]));
    assert!(!settles(&[(BEGAN - 8, RunAgain), (BEGAN - 3, Open)]));
    // None of twenty had any: nobody knows.
    assert!(!settles(&[(NIGHTS - 1, RunAgain)]));
    assert!(!settles(&[(1, RunAgain)]));
}

#[test]
fn settled_asks_for_no_more_than_it_must() {
    let world = World::new(NIGHTS);
    assert_eq!(world.settles(&[]), (false, vec![]));
    let asked = world.settles(&[(BEGAN, RunAgain)]);
    assert_eq!(asked, (true, vec![BEGAN]));
    // What began before the newest hundred is as if settled.
    let late = [(BEGAN + 99, Open)];
    assert!(!World::new(BEGAN + 100).settles(&late).0);
    assert_eq!(World::new(BEGAN + 101).settles(&late), (true, vec![]));
}
