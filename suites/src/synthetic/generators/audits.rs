//! Audits of whole private fits: what is published of two neighbouring tables is told apart, as well as anybody could, and how well proves how much
//! a fit costs at least. A sound fit proves much of what it claims, and never more; each of the faults that a fit could have proves more.
//!
//! Of a model its own text is read. What in it tells the tables apart is learned from a part of the trials (the logarithm of the
//! likelihood ratio, by logistic regression), and so is the event that proves most; it is counted in the others.

use rayon::prelude::*;
use serde_json::{Value, json};

use super::private::{Private, histograms};
use super::{FitError, mst};
use crate::synthetic::declared::ColumnSchema;
use crate::synthetic::privacy::accountant::Accountant;
use crate::synthetic::privacy::audit::{Count, epsilon_at_least, rho_at_least};
use crate::synthetic::privacy::discrete::{self, Rational, Sampler};
use crate::synthetic::privacy::mechanism::Mechanism;
use crate::synthetic::privacy::{Budget, zcdp};
use crate::synthetic::progress::Progress;
use crate::synthetic::quality::features::{logistic, probabilities};
use crate::synthetic::random::Draws;
use crate::synthetic::table::{Table, categories, table_of};

/// How sure what is proved is.
pub const CONFIDENCE: f64 = 0.99;
/// Which part of the trials what tells tables apart is learned from: one in so many.
const PILOT: u64 = 3;

/// What is wrong with the noise of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Nothing,
    /// Its scale is a part of what it should be.
    Scale(f64),
    /// The numbers from one to another one are not drawn.
    Silent(usize, usize),
    /// The best score is chosen.
    Best,
    /// Scores are taken for less sensitive than they are, by a factor.
    Scores(f64),
}

/// A sampler with a fault.
pub struct Faulty {
    draws: Draws,
    fault: Fault,
    drawn: usize,
}

impl Faulty {
    pub fn new(fault: Fault, trial: u64, is_more: bool) -> Self {
        Self {
            draws: Draws::of_row(trial, 77 + u64::from(is_more), 0),
            fault,
            drawn: 0,
        }
    }

    /// A scale as the fault has it; `None` where nothing is drawn.
    fn scale(&mut self, scale: Rational, power: i32) -> Option<Rational> {
        let place = self.drawn;
        self.drawn += 1;
        match self.fault {
            Fault::Silent(from, to) if (from..to).contains(&place) => None,
            Fault::Scale(part) => Rational::at_least(scale.value() * part.powi(power)).ok(),
            _ => Some(scale),
        }
    }
}

impl Sampler for Faulty {
    fn laplace(&mut self, scale: Rational) -> i64 {
        let scale = self.scale(scale, 1);
        scale.map_or(0, |scale| discrete::laplace(&mut self.draws, scale))
    }

    fn gaussian(&mut self, variance: Rational) -> i64 {
        let variance = self.scale(variance, 2);
        variance.map_or(0, |variance| discrete::gaussian(&mut self.draws, variance))
    }

    fn choose(&mut self, scores: &[i64], epsilon: f64) -> usize {
        match self.fault {
            Fault::Best => (0..scores.len())
                .max_by_key(|place| scores[*place])
                .unwrap(),
            Fault::Scores(factor) => discrete::choose(&mut self.draws, scores, epsilon * factor),
            _ => discrete::choose(&mut self.draws, scores, epsilon),
        }
    }
}

/// What is proved by so many trials on either table: features of what each publishes, by whether the row more is there and the trial's number.
pub fn proved(
    trials: u64,
    bound: impl Fn(Count, Count) -> f64,
    features: impl Fn(bool, u64) -> Vec<f64> + Sync,
) -> f64 {
    let run = |trials: std::ops::Range<u64>| {
        [false, true].map(|is_more| -> Vec<Vec<f64>> {
            let trials = trials.clone().into_par_iter();
            trials.map(|trial| features(is_more, trial)).collect()
        })
    };
    let pilot = run(0..trials / PILOT);
    let score = Score::learn(&pilot);
    let scores = |of: &[Vec<Vec<f64>>; 2]| {
        [0, 1].map(|which| -> Vec<f64> { of[which].iter().map(|row| score.of(row)).collect() })
    };
    // The event is a large score of the table with the row, or a small one of that without it.
    let of_event = |scores: &[Vec<f64>; 2], (at, is_large): (f64, bool)| {
        let [less, more] = [0, 1].map(|which| {
            let hits = scores[which]
                .iter()
                .filter(|score| (**score >= at) == is_large);
            Count {
                hits: hits.count() as u64,
                trials: scores[which].len() as u64,
            }
        });
        if is_large {
            bound(more, less)
        } else {
            bound(less, more)
        }
    };
    let pilot = scores(&pilot);
    let thresholds = (1..40).map(|step| f64::from(step) / 40.0);
    let events = thresholds.flat_map(|at| [(at, true), (at, false)]);
    let proved = events.map(|event| (of_event(&pilot, event), event));
    let (_, best) = proved.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    of_event(&scores(&run(trials / PILOT..trials)), best)
}

/// How likely the row more is there, by features.
struct Score {
    means: Vec<f64>,
    deviations: Vec<f64>,
    weights: Vec<f64>,
}

impl Score {
    fn learn(of: &[Vec<Vec<f64>>; 2]) -> Self {
        let all: Vec<&Vec<f64>> = of.iter().flatten().collect();
        let (count, width) = (all.len() as f64, all[0].len());
        let mean = |feature: usize| all.iter().map(|row| row[feature]).sum::<f64>() / count;
        let means: Vec<f64> = (0..width).map(mean).collect();
        let deviation = |feature: usize| {
            let square = |row: &&Vec<f64>| (row[feature] - means[feature]).powi(2);
            (all.iter().map(square).sum::<f64>() / count).sqrt()
        };
        let deviations = (0..width).map(deviation).collect();
        let mut score = Self {
            means,
            deviations,
            weights: vec![],
        };
        let rows: Vec<f64> = all.iter().flat_map(|row| score.standard(row)).collect();
        let targets = [0.0, 1.0].into_iter().zip(of);
        let targets: Vec<f64> = targets
            .flat_map(|(is, rows)| vec![is; rows.len()])
            .collect();
        score.weights = logistic(&rows, width + 1, &targets);
        score
    }

    /// Features of mean 0 and deviation 1, those that never differ as 0, and a one.
    fn standard(&self, row: &[f64]) -> Vec<f64> {
        let place = |(at, x): (usize, &f64)| {
            let deviation = self.deviations[at];
            if deviation > 0.0 {
                (x - self.means[at]) / deviation
            } else {
                0.0
            }
        };
        row.iter().enumerate().map(place).chain([1.0]).collect()
    }

    fn of(&self, row: &[f64]) -> f64 {
        probabilities(&self.standard(row), self.weights.len(), &self.weights)[0]
    }
}

/// Declares columns of some labels.
fn declared(names: &[&str], labels: &[&str]) -> Vec<ColumnSchema> {
    let column = |name: &&str| json!({"type": "category", "name": name, "labels": labels});
    let columns: Vec<Value> = names.iter().map(column).collect();
    serde_json::from_value(columns.into()).unwrap()
}

/// Names of the columns of [`three`].
const THREE: [&str; 3] = ["x", "y", "z"];

/// Three columns, and a row more of one label in each of them. That of `a` tells most in everything that a fit of `mst` measures: `a` is
/// rare, so that its count can be read off its share; half of each column is `c`, so that the noise of single columns does not move scores; and all
/// pairs hang together equally, two of them more with that row and one less, so that it decides which one is left out. `seldom` are as many
/// rows of a label of their own.
pub fn three(seldom: usize, more: Option<&str>) -> Table {
    /// Rows of each of six patterns.
    const ROWS: usize = 384;
    let mut rows: Vec<[&str; 3]> = Vec::new();
    for pattern in [
        [1, 1, 1],
        [0, 0, 0],
        [1, 1, 0],
        [0, 0, 1],
        [1, 0, 1],
        [0, 1, 0],
    ] {
        // A quarter of what is not `c` is `a`, whatever the others are.
        let label = |row: usize, column: usize| match (pattern[column], row >> (2 * column) & 3) {
            (0, _) => "c",
            (_, 0) => "a",
            _ => "b",
        };
        rows.extend((0..ROWS).map(|row| [0, 1, 2].map(|column| label(row, column))));
    }
    rows.extend([["seldom"; 3]].repeat(seldom));
    rows.extend(more.map(|label| [label; 3]));
    let column = |at: usize| categories(rows.iter().map(|row| row[at].to_owned()));
    table_of([0, 1, 2].map(|at| (THREE[at], column(at))))
}

/// What a model of [`three`] says of `a`, and of all else that might follow from the table.
fn features_of_three(model: &Private) -> Vec<f64> {
    let model = serde_json::to_value(model).unwrap();
    let domain = |column: usize| &model["columns"][column]["domain"];
    // `a` and `b` are the first of the labels, and never merged.
    let level = |column: usize, of: usize| domain(column)["level"][of].as_u64().unwrap() as usize;
    let count = |what: &Value| what.as_array().unwrap().len() as f64;
    let labels = [0, 1, 2].map(|column| count(&domain(column)["kind"]["category"]["labels"]));
    let levels = [0, 1, 2].map(|column| count(&domain(column)["members"]));
    let mut shares: [Vec<f64>; 3] = Default::default();
    let (mut pairs, mut ratios, mut edges) = ([0.0; 3], [0.0; 4], [0.0; 3]);
    let last = last_edge(&model);
    for node in model["tree"]["nodes"].as_array().unwrap() {
        let column = node["column"].as_u64().unwrap() as usize;
        let sums: Vec<Vec<f64>> = serde_json::from_value(node["bounds"].clone()).unwrap();
        let rows: Vec<Vec<f64>> = sums.iter().map(|sums| differences(sums)).collect();
        let Some(given) = node["given"].as_u64() else {
            shares[column].clone_from(&rows[0]);
            continue;
        };
        let given = given as usize;
        let joint = |from: usize, to: usize| shares[given][from] * rows[from][to];
        let of_level = |to: usize| (0..rows.len()).map(|from| joint(from, to)).sum();
        // The odds ratio is that of the noisy counts, whatever they were made to agree with.
        let cell = |of: [usize; 2]| joint(level(given, of[0]), level(column, of[1]));
        let edge = column + given - 1;
        edges[edge] = 1.0;
        pairs[edge] = cell([0, 0]);
        let ratio = (cell([0, 0]) * cell([1, 1]) / cell([0, 1]) / cell([1, 0])).ln();
        ratios[edge] = ratio;
        if edge != last {
            ratios[3] = ratio;
        }
        shares[column] = (0..rows[0].len()).map(of_level).collect();
    }
    let of_a = [0, 1, 2].map(|column| shares[column][level(column, 0)]);
    let claim = ["epsilon", "delta"].map(|name| model[name].as_f64().unwrap());
    [&of_a[..], &pairs, &ratios, &edges, &labels, &levels, &claim].concat()
}

/// The edge that was measured last, by the ledger: 0 of the first two columns, 2 of the last two.
fn last_edge(model: &Value) -> usize {
    let last = model["ledger"].as_array().unwrap().last().unwrap();
    let what = last["what"].as_str().unwrap();
    let ends = (0..3).filter(|column| what.contains(&format!("`{}`", THREE[*column])));
    ends.sum::<usize>() - 1
}

/// What sums were made of.
fn differences(sums: &[f64]) -> Vec<f64> {
    let mut before = 0.0;
    let part = |sum: &f64| sum - std::mem::replace(&mut before, *sum);
    sums.iter().map(part).collect()
}

/// The budget of audited fits of `mst`.
fn budget() -> Budget {
    Budget::new(7.0, 1e-6).unwrap()
}

/// What fits of `mst` on two tables are proved to cost, as rho, where these labels are declared.
fn proved_of_mst(trials: u64, tables: &[Table; 2], labels: &[&str], fault: Fault) -> f64 {
    let declared = declared(&THREE, labels);
    proved_by(
        trials,
        tables,
        |table, _, noise| mst::fit(table, &declared, budget(), noise, &Progress::default()),
        fault,
    )
}

/// The same of any fit.
fn proved_by(
    trials: u64,
    tables: &[Table; 2],
    fit: impl Fn(&Table, usize, &mut Faulty) -> Result<Private, FitError> + Sync,
    fault: Fault,
) -> f64 {
    let bound = |here, there| rho_at_least(here, there, CONFIDENCE);
    proved(trials, bound, |is_more, trial| {
        let table = &tables[usize::from(is_more)];
        let mut noise = Faulty::new(fault, trial, is_more);
        features_of_three(&fit(table, table.rows(), &mut noise).unwrap())
    })
}

#[test]
fn a_sound_fit_of_mst_proves_half_of_its_epsilon_and_no_more_than_all() {
    let tables = [three(0, None), three(0, Some("a"))];
    let proved = proved_of_mst(4000, &tables, &["a", "b", "c"], Fault::Nothing);
    let epsilon = zcdp::epsilon(proved, budget().delta);
    assert!(
        epsilon > 3.5 && epsilon <= 7.0,
        "rho {proved}, epsilon {epsilon}"
    );
}

#[test]
fn every_fault_inside_of_a_fit_of_mst_is_found() {
    let claimed = zcdp::rho(budget());
    let tables = [three(0, None), three(0, Some("a"))];
    // 12 levels of single columns, and then 9 pairs of levels of the first edge.
    for (fault, trials) in [
        (Fault::Scale(0.5), 2000),
        (Fault::Silent(12, 21), 500),
        (Fault::Best, 2000),
    ] {
        let proved = proved_of_mst(trials, &tables, &["a", "b", "c"], fault);
        assert!(proved > claimed, "{fault:?}: {proved} of {claimed}");
    }
    // Of a column without noise a label is merged with another by its count alone: at three standard deviations.
    let deviation = mst::noise(budget(), 3).unwrap().variance().sqrt();
    let seldom = (3.0 * deviation) as usize;
    let tables = [three(seldom, None), three(seldom, Some("seldom"))];
    let labels = ["a", "b", "c", "never", "seldom"];
    let sound = proved_of_mst(400, &tables, &labels, Fault::Nothing);
    let silent = proved_of_mst(400, &tables, &labels, Fault::Silent(6, 12));
    assert!(
        sound <= claimed && silent > claimed,
        "{sound} {silent} of {claimed}"
    );
}

#[test]
fn what_a_fit_of_mst_reads_off_the_table_unpaid_is_found() {
    let claimed = zcdp::rho(budget());
    // A label that nobody else has, declared and not.
    let tables = [three(0, None), three(0, Some("d"))];
    let sound = proved_of_mst(400, &tables, &["a", "b", "c", "d"], Fault::Nothing);
    let read = proved_by(
        400,
        &tables,
        |table, _, noise| mst::fit(table, &[], budget(), noise, &Progress::default()),
        Fault::Nothing,
    );
    assert!(
        sound <= claimed && read > claimed,
        "{sound} {read} of {claimed}"
    );
    // A delta that follows from the number of rows.
    let declared = declared(&THREE, &["a", "b", "c", "d"]);
    let read = proved_by(
        400,
        &tables,
        |table, rows, noise| {
            let budget = Budget::new(7.0, (rows as f64).powi(-2)).unwrap();
            mst::fit(table, &declared, budget, noise, &Progress::default())
        },
        Fault::Nothing,
    );
    assert!(read > claimed, "{read} of {claimed}");
}

/// Rows of [`two`], and how many of them are of `a`.
const ROWS: u32 = 1600;
const OF_A: u32 = 16;

/// Two columns in which `a` is rare, and a row more of it.
fn two(more: u32) -> Table {
    let text = |row: u32| if row < OF_A + more { "a" } else { "b" };
    let column = || categories((0..ROWS + more).map(|row| text(row).to_owned()));
    table_of([("x", column()), ("y", column())])
}

/// What private columns are proved to cost, by a bound.
fn proved_of_columns(
    mechanism: Mechanism,
    budget: Budget,
    fault: Fault,
    bound: impl Fn(Count, Count) -> f64,
) -> f64 {
    let tables = [two(0), two(1)];
    let labels = declared(&["x", "y"], &["a", "b"]);
    proved(2000, bound, |is_more, trial| {
        let mut noise = Faulty::new(fault, trial, is_more);
        let (table, progress) = (&tables[usize::from(is_more)], Progress::default());
        let model = histograms::fit(table, &labels, budget, mechanism, &mut noise, &progress);
        let model = serde_json::to_value(model.unwrap()).unwrap();
        let share = |node: usize| {
            model["tree"]["nodes"][node]["bounds"][0][0]
                .as_f64()
                .unwrap()
        };
        let counts = [0, 1].map(|node| f64::from(ROWS) * share(node) - f64::from(OF_A));
        // Of Laplace noise all that tells is on which side of the difference a count lies.
        let sides = counts.map(|count| (count - 0.5).clamp(-0.25, 0.25));
        [counts, sides].concat()
    })
}

#[test]
fn every_mechanism_keeps_its_claim_and_with_half_the_noise_is_found() {
    let budget = |epsilon, delta| Budget::new(epsilon, delta).unwrap();
    let rho = |mechanism: Mechanism, budget| {
        let noise = mechanism.noise(&Accountant::new(budget), 2).unwrap();
        zcdp::of_gaussian(2_f64.sqrt(), noise.variance())
    };
    // How much of the claim is proved at least: by epsilon at its delta, or by rho of the noise.
    for (mechanism, budget, delta, part) in [
        (Mechanism::Laplace, budget(1.0, 1e-9), Some(0.0), 0.7),
        (
            Mechanism::AnalyticGaussian,
            budget(1.0, 0.05),
            Some(0.05),
            0.4,
        ),
        (Mechanism::Gaussian, budget(0.99, 0.5), None, 0.25),
        (Mechanism::DiscreteGaussian, budget(3.0, 0.01), None, 0.25),
    ] {
        let claimed = delta.map_or_else(|| rho(mechanism, budget), |_| budget.epsilon);
        let bound = |here, there| match delta {
            Some(delta) => epsilon_at_least(here, there, delta, CONFIDENCE),
            None => rho_at_least(here, there, CONFIDENCE),
        };
        let [sound, broken] = [Fault::Nothing, Fault::Scale(0.5)]
            .map(|fault| proved_of_columns(mechanism, budget, fault, bound));
        let words = format!("{mechanism:?}, {delta:?}: {sound}, {broken} of {claimed}");
        assert!(sound <= claimed && sound > part * claimed, "{words}");
        assert!(broken > claimed, "{words}");
    }
}
