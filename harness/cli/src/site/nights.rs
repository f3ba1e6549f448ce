//! What the gate says of the newest night of each suite on each machine by each arm, and what gates said of those before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use assay_record::{Day, Purpose, RunId, RunStatus};
use assay_reports::{Night, Step};
use assay_store::{RunRow, Store};
use assay_verdicts::nights::{Part, Place};
use assay_verdicts::settled::{Settled, Spoken, settled};
use assay_verdicts::window::is_night;
use assay_verdicts::{CaseHistory, Confirmed, Marks, Nights, Reading, RunView};

use crate::confirming;
use crate::gating::{Asking, Checked};
use crate::settings::Settings;
use crate::sides::{self, Differences, Side, Values, of_environments};

use super::machines;

/// Newest nights of all that are looked at for what was confirmed.
const CONFIRMED: usize = 200;

/// Most nights between a baseline and a night that are told apart; by default it leaves out two.
const STEPS: usize = 10;

/// The newest night of each place: the runs that it is made of, the latest first.
pub fn all(
    reading: Reading<'_>,
    settings: &Settings,
    nights: &Nights<'_>,
    known: (&Marks, Day),
) -> Result<Vec<Night>> {
    let mut all = Vec::new();
    for (place, _) in nights.places() {
        for part in nights.newest(reading.store, place)? {
            all.push(night(reading, settings, (nights, place), known, part)?);
        }
    }
    Ok(all)
}

/// What gates said of nights, as far as it was asked for.
pub type Asked = BTreeMap<RunId, Spoken>;

/// What was confirmed on the newest nights and before them, oldest first: by the same gate as on that night, of which is remembered what it
/// settled. What marks have accepted since is told as such.
pub fn confirmed(
    reading: Reading<'_>,
    settings: &Settings,
    runs: &[RunRow],
    nights: &[Night],
    known: (&Marks, Day),
) -> Result<(Vec<Confirmed>, Asked)> {
    let run_again: BTreeSet<&RunId> = runs.iter().filter_map(confirms).collect();
    let meant = runs
        .iter()
        .rev()
        .filter(|row| is_night(row) && run_again.contains(&row.run));
    let meant: Vec<&RunRow> = meant.take(CONFIRMED).collect();
    let (mut all, mut asked) = (Vec::new(), Asked::new());
    for row in meant.into_iter().rev() {
        // What a later run measured again was confirmed all the same.
        let is_whole = |night: &&Night| night.share.is_none();
        let mut whole = nights.iter().filter(is_whole);
        let newest = whole.find(|night| night.gate.run == row.run);
        let checked = match newest {
            Some(_) => None,
            None => Some(check(reading, settings, known, row)?),
        };
        let gate = newest.map(|night| &night.gate);
        let Some(gate) = gate.or(checked.as_ref().map(|checked| &checked.gate)) else {
            continue;
        };
        asked.insert(row.run.clone(), gate.into());
        if *known.0 == Marks::default() {
            all.extend(Confirmed::all(gate, row));
        } else {
            let without = check(reading, settings, (&Marks::default(), known.1), row)?;
            all.extend(Confirmed::with_excused(gate, &without.gate, row));
        }
    }
    Ok((all, asked))
}

/// The lasting changes that gates settled, where suspects were ever run again; `asked` is what is known of their nights already.
pub fn settled_by_gates(
    reading: Reading<'_>,
    settings: &Settings,
    (runs, nights): (&[RunRow], &Nights<'_>),
    (histories, mut asked): (&[CaseHistory], Asked),
    known: (&Marks, Day),
) -> Result<Settled> {
    let run_again = runs.iter().filter(|row| confirms(row).is_some());
    let run_again: BTreeSet<(&str, &str)> = run_again
        .map(|row| (row.suite.as_str(), row.machine.as_str()))
        .collect();
    settled(
        nights,
        histories,
        |place| run_again.contains(&(place.suite.as_str(), place.machine.as_str())),
        |row| match asked.remove(&row.run) {
            Some(spoken) => Ok(spoken),
            None => Ok(Spoken::from(&check(reading, settings, known, row)?.gate)),
        },
    )
}

/// The night of which a run confirmed suspects.
fn confirms(row: &RunRow) -> Option<&RunId> {
    match &row.purpose {
        Purpose::Confirmation { of } if row.status == RunStatus::Complete => Some(of),
        _ => None,
    }
}

fn check(
    reading: Reading<'_>,
    settings: &Settings,
    (marks, today): (&Marks, Day),
    row: &RunRow,
) -> Result<Checked> {
    let asking = Asking::default();
    let checked = asking.check_with(reading, &row.run, settings, (marks.clone(), today))?;
    confirming::recall(reading, checked, &asking, settings)
}

fn night(
    reading: Reading<'_>,
    settings: &Settings,
    (nights, place): (&Nights<'_>, &Place),
    known: (&Marks, Day),
    Part { run: row, share }: Part<'_>,
) -> Result<Night> {
    let checked = check(reading, settings, known, row)?;
    let previous = nights.before(place, row);
    let machine_changes = match previous {
        None => Vec::new(),
        Some(before) => machines::lasting_changes(
            &reading.store.fingerprint(&before.before)?,
            &reading.store.fingerprint(&row.before)?,
        ),
    };
    let arm = &checked.candidate.arm;
    let arm_changes = arm_steps(reading.store, arm, previous.into_iter().chain([row]))?.pop();
    Ok(Night {
        arm_changes: arm_changes.map_or(Vec::new(), |step| step.differences),
        arm_steps: arm_steps(reading.store, arm, runs_of(&checked))?,
        steps: steps(reading.store, &checked)?,
        is_imported: checked.options.is_imported,
        gate: match &share {
            Some(share) => checked.gate.of_share(share),
            None => checked.gate,
        },
        share,
        previous: previous.map(|row| row.run.clone()),
        machine_changes,
    })
}

/// The runs that a gate looked at, oldest first: those of its baseline, those between, and its own.
fn runs_of(checked: &Checked) -> impl Iterator<Item = &RunRow> {
    let known = checked.options.known.as_ref();
    let between = known.into_iter().flat_map(|known| &known.between);
    let baseline = checked.baseline.runs.iter().map(|view| &view.run);
    let own = checked.candidate.newest().map(|view| &view.run);
    baseline.chain(between).chain(own)
}

/// What an arm ran in otherwise than at the run before, of those of these runs where it did.
fn arm_steps<'a>(
    store: &Store,
    arm: &str,
    rows: impl Iterator<Item = &'a RunRow>,
) -> Result<Vec<Step>> {
    let rows: Vec<&RunRow> = rows.collect();
    let manifests = store.manifests(&rows.iter().map(|row| row.manifest).collect())?;
    let of = |row: &RunRow| {
        let mut arms = manifests.get(&row.manifest)?.arms.iter();
        arms.find(|own| own.name == arm)
    };
    let step = |pair: &[&RunRow]| {
        let differences = of_environments(of(pair[0])?, of(pair[1])?, Values::Hidden);
        (!differences.is_empty()).then(|| Step {
            run: pair[1].run.clone(),
            differences,
        })
    };
    Ok(rows.windows(2).filter_map(step).collect())
}

/// What differs from night to night since the last of the baseline, or among the newest of them.
fn steps(store: &Store, checked: &Checked) -> Result<Vec<Step>> {
    let between = checked.options.known.as_ref();
    let between = between.map_or(&[][..], |known| &known.between);
    let newest = between[between.len().saturating_sub(STEPS)..].to_vec();
    let first = checked.baseline.newest();
    let first = first.filter(|_| newest.len() == between.len());
    let mut views: Vec<RunView> = first.into_iter().cloned().collect();
    views.extend(RunView::load_all(store, newest)?);
    views.extend(checked.candidate.newest().cloned());
    let step = |pair: &[RunView]| {
        let sides = [&pair[0], &pair[1]].map(|view| Side {
            arm: checked.candidate.arm.clone(),
            ..sides::side(String::new(), vec![view.clone()])
        });
        let found = Differences::between(store, [&sides[0], &sides[1]], Values::Hidden)?;
        Ok(Step {
            run: pair[1].run.run.clone(),
            differences: found.beside_commit(),
        })
    };
    views.windows(2).map(step).collect()
}

#[cfg(test)]
mod tests {
    use assay_protocol::Digest;
    use assay_record::{Purpose, Record, canonical};
    use assay_reports::{SiteModel, Step};
    use assay_store::Access;
    use assay_store::synthetic::Recipe;
    use assay_verdicts::Marks;
    use assay_verdicts::gate::State;

    use super::super::{Publishing, model};
    use crate::database;
    use crate::settings::Settings;

    /// The first night on which a case is slow, and how many there are.
    const BEGAN: u32 = 18;
    const NIGHTS: u32 = 32;

    fn night(night: u32) -> Recipe {
        Recipe {
            night,
            seed: u64::from(night) + 1,
            cases: 6,
            rounds: 6,
            ..Recipe::default()
        }
    }

    /// What it measured, by a worker that nobody has kept.
    fn record(recipe: &Recipe) -> Record {
        let mut record = recipe.record();
        let manifest = &mut record.header.manifest;
        manifest.arms[0].worker = Digest::of(format!("worker {}", recipe.night));
        record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
        let slow = &recipe.case_ids()[1];
        let blocks = record.blocks.iter_mut();
        for block in blocks.filter(|block| block.case == *slow && recipe.night >= BEGAN) {
            for ns in &mut block.samples.host_ns {
                *ns += *ns / 5;
            }
        }
        record
    }

    fn model_of(records: impl Iterator<Item = Record>) -> SiteModel {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::of(folder.path()).unwrap();
        let mut store = database::open(&settings, Access::Write).unwrap();
        for record in records {
            let path = folder.path().join(record.header.run.as_str());
            store.ingest_record(&record, &path).unwrap();
        }
        drop(store);
        let store = database::open(&settings, Access::Read).unwrap();
        let chosen = Publishing::default();
        model(&settings, &store, &Marks::default(), &chosen).unwrap()
    }

    /// Cases whose lasting changes gates settled, where the suspects of some nights were run again.
    fn settled(run_again: &[u32]) -> Vec<String> {
        let again = run_again.iter().map(|at| Recipe {
            seed: 1000,
            purpose: Purpose::Confirmation {
                of: night(*at).run(),
            },
            ..night(*at)
        });
        let recipes = (0..NIGHTS).map(night).chain(again);
        let model = model_of(recipes.map(|recipe| record(&recipe)));
        let changed = model.histories.iter().filter(|of| !of.changes.is_empty());
        assert_eq!(changed.count(), 1, "one level changed to stay");
        let settled = model.settled.into_keys();
        settled.map(|key| key.case).collect()
    }

    #[test]
    fn a_lone_confirmation_settles_no_change_of_another_time() {
        assert!(settled(&[]).is_empty());
        assert!(settled(&[5]).is_empty());
        assert!(settled(&[NIGHTS - 1]).is_empty());
        assert_eq!(settled(&[BEGAN]), [night(0).case_ids()[1].clone()]);
    }

    /// Rounds of one case alone say nothing of another, which stays as its night has it.
    #[test]
    fn what_nobody_ran_again_stays_as_its_night_has_it() {
        let [other, slow] = [0, 1].map(|at| night(0).case_ids()[at].clone());
        let state = |again: &str| {
            let mut rounds = record(&Recipe {
                seed: 1000,
                purpose: Purpose::Confirmation {
                    of: night(BEGAN).run(),
                },
                ..night(BEGAN)
            });
            rounds.blocks.retain(|block| block.case == again);
            let manifest = &mut rounds.header.manifest;
            manifest.cases.retain(|case| case.id == again);
            rounds.header.manifest_digest = canonical::digest(&*manifest).unwrap();
            let nights = (0..=BEGAN).map(|at| record(&night(at)));
            let [tonight] = model_of(nights.chain([rounds])).nights.try_into().unwrap();
            let regressed = tonight.gate.comparison.suite.counts.regressed;
            let is_open = tonight.gate.awaiting().next().is_some();
            (tonight.gate.state, regressed, is_open)
        };
        assert_eq!(state(&other), (State::Regressed, 1, true));
        assert_eq!(state(&slow), (State::Regressed, 1, false));
    }

    #[test]
    fn a_variable_that_changed_is_told_by_its_name_alone() {
        let with = |at: u32, value: &str| {
            let mut record = night(at).record();
            let manifest = &mut record.header.manifest;
            let env = &mut manifest.arms[0].env;
            env.insert("TOKEN".into(), value.into());
            record.header.manifest_digest = canonical::digest(&record.header.manifest).unwrap();
            record
        };
        let nights = (0..9).map(|at| with(at, if at < 3 { "first" } else { "second" }));
        let model = model_of(nights.clone().chain([with(9, "third")]));
        let [tonight] = &model.nights[..] else {
            panic!("{:?}", model.nights);
        };
        let words = "The variable TOKEN was set to another value.";
        assert_eq!(tonight.arm_changes, [words]);
        // Those within the baseline, too.
        let step = |at: u32| Step {
            run: night(at).run(),
            differences: vec![words.into()],
        };
        assert_eq!(tonight.arm_steps, [step(3), step(9)]);
        assert!(model_of(nights).nights[0].arm_changes.is_empty());
    }
}
