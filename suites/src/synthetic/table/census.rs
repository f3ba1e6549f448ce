//! A census-like table: 15 mixed columns whose dependencies are known, because they are written here.
//!
//! Row `i` depends on seed and `i` alone. Every column is drawn given those before it: age and sex first, then schooling,
//! occupation, hours, income and so on, as people's lives go. [`EDGES`] lists what depends on what, so that a
//! generator that finds other dependencies, or misses these, can be told so.

use std::sync::Arc;

use rayon::prelude::*;

use super::super::declared::{ColumnSchema, Constraint, TableSchema};
use super::super::generators::marginal::rounded;
use super::super::random::{Bits, Draws};
use super::{Column, MISSING, Table, Values};

/// Pairs of columns of which the second is drawn given the first.
pub const EDGES: [(&str, &str); 19] = [
    ("age", "education"),
    ("age", "marital"),
    ("age", "employment"),
    ("age", "children"),
    ("marital", "children"),
    ("education", "occupation"),
    ("sex", "occupation"),
    ("employment", "occupation"),
    ("employment", "hours"),
    ("occupation", "hours"),
    ("education", "income"),
    ("age", "income"),
    ("hours", "income"),
    ("occupation", "income"),
    ("region", "rent"),
    ("income", "rent"),
    ("income", "savings"),
    ("region", "commute"),
    ("age", "health"),
];

const SEXES: [&str; 2] = ["female", "male"];
const REGIONS: [(&str, f64); 6] = [
    ("north", 0.22),
    ("south", 0.19),
    ("east", 0.16),
    ("west", 0.24),
    ("capital", 0.15),
    ("islands", 0.04),
];
const EDUCATIONS: [&str; 5] = ["primary", "secondary", "vocational", "bachelor", "master"];
const MARITALS: [&str; 4] = ["single", "married", "divorced", "widowed"];
const EMPLOYMENTS: [&str; 5] = [
    "employed",
    "self-employed",
    "unemployed",
    "student",
    "retired",
];
const OCCUPATIONS: [&str; 8] = [
    "none",
    "service",
    "trade",
    "clerk",
    "transport",
    "technician",
    "manager",
    "professional",
];
const HEALTHS: [&str; 4] = ["good", "fair", "poor", "bad"];

/// Columns of the table.
pub const COLUMNS: usize = 15;
/// Place of the column of children.
const CHILDREN: usize = 7;
/// Random stream of the first person of a household; the others' follow that of the second.
const FIRST: u64 = 0;
const SECOND: u64 = 1 << 20;

/// `rows` rows of the table, from row `first` on.
pub fn rows(seed: u64, first: u64, rows: usize) -> Table {
    of_person(seed, FIRST, first, rows)
}

/// `rows` rows of the first `columns` columns of a table of households: those of a person, and then of others, who have nothing to
/// do with each other. The second person's age is `age-2`, and so on. How cost goes with columns is measured on it.
pub fn households(seed: u64, rows: usize, columns: usize) -> Table {
    households_from(seed, 0, rows, columns)
}

/// The same, from row `first` on.
pub fn households_from(seed: u64, first: u64, rows: usize, columns: usize) -> Table {
    let mut all = Vec::with_capacity(columns);
    for person in 0..columns.div_ceil(COLUMNS) as u64 {
        let stream = person.checked_sub(1).map_or(FIRST, |other| SECOND + other);
        for mut column in of_person(seed, stream, first, rows).columns {
            if person > 0 {
                column.name = format!("{}-{}", column.name, person + 1);
            }
            all.push(column);
        }
    }
    all.truncate(columns);
    Table { columns: all }
}

/// What its first columns, at most all of a person's, keep to.
///
/// # Panics
/// Never: it is a constant.
pub fn declared(columns: usize) -> TableSchema {
    let number = |name: &str, high: f64, decimals: u8, missing: f64| ColumnSchema::Number {
        name: name.into(),
        low: 0.0,
        high,
        decimals,
        normal: None,
        missing,
    };
    let category = |name: &str, labels: &[&str], missing: f64| ColumnSchema::Category {
        name: name.into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        weights: vec![],
        missing,
    };
    let mut column = vec![
        ColumnSchema::Number {
            name: "age".into(),
            low: 18.0,
            high: 95.0,
            decimals: 0,
            normal: None,
            missing: 0.0,
        },
        category("sex", &SEXES, 0.0),
        category("region", &REGIONS.map(|(name, _)| name), 0.0),
        category("education", &EDUCATIONS, 0.0),
        category("marital", &MARITALS, 0.0),
        category("employment", &EMPLOYMENTS, 0.0),
        category("occupation", &OCCUPATIONS, 0.0),
        number("children", 9.0, 0, 0.0),
        number("hours", 168.0, 0, 0.0),
        number("income", 1e9, 0, 0.04),
        number("rent", 1e9, 2, 0.0),
        number("savings", 1e9, 2, 0.0),
        number("commute", 1e6, 1, 0.5),
        category("health", &HEALTHS, 0.02),
        number("height", 300.0, 1, 0.0),
    ];
    column.truncate(columns);
    let constraint = if columns > CHILDREN {
        vec![Constraint::Less(["children".into(), "age".into()])]
    } else {
        vec![]
    };
    TableSchema {
        name: "census".into(),
        rows: 1,
        column,
        constraint,
    }
}

fn of_person(seed: u64, stream: u64, first: u64, rows: usize) -> Table {
    let people: Vec<Person> = (0..rows as u64)
        .into_par_iter()
        .map(|row| Person::draw(&mut Draws::of_row(seed, stream, first + row)))
        .collect();
    let number = |name, decimals, value: fn(&Person) -> f64| Column {
        name: String::from(name),
        values: Values::Number {
            values: people
                .iter()
                .map(|person| rounded(value(person), Some(decimals)))
                .collect(),
            decimals: Some(decimals),
        },
    };
    let category = |name, labels: &[&str], code: fn(&Person) -> usize| Column {
        name: String::from(name),
        values: Values::Category {
            codes: people
                .iter()
                .map(|p| u32::try_from(code(p)).unwrap_or(MISSING))
                .collect(),
            labels: Arc::new(labels.iter().map(|l| (*l).to_owned()).collect()),
        },
    };
    Table {
        columns: vec![
            number("age", 0, |p| p.age),
            category("sex", &SEXES, |p| p.sex),
            category("region", &REGIONS.map(|(name, _)| name), |p| p.region),
            category("education", &EDUCATIONS, |p| p.education),
            category("marital", &MARITALS, |p| p.marital),
            category("employment", &EMPLOYMENTS, |p| p.employment),
            category("occupation", &OCCUPATIONS, |p| p.occupation),
            number("children", 0, |p| p.children),
            number("hours", 0, |p| p.hours),
            number("income", 0, |p| p.income),
            number("rent", 2, |p| p.rent),
            number("savings", 2, |p| p.savings),
            number("commute", 1, |p| p.commute),
            category("health", &HEALTHS, |p| p.health),
            number("height", 1, |p| p.height),
        ],
    }
}

struct Person {
    age: f64,
    sex: usize,
    region: usize,
    education: usize,
    marital: usize,
    employment: usize,
    occupation: usize,
    children: f64,
    hours: f64,
    income: f64,
    rent: f64,
    savings: f64,
    commute: f64,
    health: usize,
    height: f64,
}

/// A code of no label: missing.
const NOTHING: usize = usize::MAX;

impl Person {
    fn draw(draws: &mut Draws) -> Self {
        // Of 18 to 95, with fewer of the old.
        let age = (18.0 + 77.0 * draws.unit() * (0.45 + 0.55 * draws.unit())).floor();
        let sex = pick(draws, &[0.51, 0.49]);
        let region = pick(draws, &REGIONS.map(|(_, share)| share));
        let education = education(draws, age);
        let marital = marital(draws, age);
        let employment = employment(draws, age);
        let occupation = occupation(draws, education, sex, employment);
        let children = children(draws, age, marital);
        let hours = hours(draws, employment, occupation);
        let income = income(draws, age, education, occupation, hours);
        // One in 25 does not say.
        let income = if draws.unit() < 0.04 {
            f64::NAN
        } else {
            income
        };
        let earned = if income.is_nan() { 20_000.0 } else { income };
        let dearness = [1.0, 0.85, 0.9, 1.1, 1.9, 0.95][region];
        Self {
            age,
            sex,
            region,
            education,
            marital,
            employment,
            occupation,
            children,
            hours,
            income,
            rent: (250.0 + 0.012 * earned) * dearness * libm::exp(0.25 * draws.normal()),
            savings: savings(draws, earned),
            commute: if occupation == 0 {
                f64::NAN
            } else {
                [28.0, 25.0, 22.0, 30.0, 48.0, 15.0][region] * -libm::log(draws.unit()) * 0.8
            },
            health: if draws.unit() < 0.02 {
                NOTHING
            } else {
                health(draws, age)
            },
            // On sex alone.
            height: [163.0, 177.0][sex] + 6.8 * draws.normal(),
        }
    }
}

/// A place, with the probability that its weight has among all.
fn pick(draws: &mut Draws, weights: &[f64]) -> usize {
    let mut rest = draws.unit() * weights.iter().sum::<f64>();
    for (place, weight) in weights.iter().enumerate() {
        rest -= weight;
        if rest < 0.0 {
            return place;
        }
    }
    weights.len() - 1
}

fn education(draws: &mut Draws, age: f64) -> usize {
    // The young have studied longer, the youngest not yet.
    let modern = (1.0 - (age - 25.0).max(0.0) / 70.0).max(0.1);
    let finished = ((age - 18.0) / 7.0).clamp(0.0, 1.0);
    let weights = [
        0.35 * (1.2 - modern),
        0.40,
        0.28,
        0.32 * modern * finished,
        0.20 * modern * finished,
    ];
    pick(draws, &weights)
}

fn marital(draws: &mut Draws, age: f64) -> usize {
    let married = ((age - 20.0) / 20.0).clamp(0.02, 1.0);
    let widowed = ((age - 55.0) / 45.0).clamp(0.0, 1.0);
    pick(
        draws,
        &[
            1.0 - 0.85 * married,
            0.75 * married,
            0.18 * married,
            0.5 * widowed,
        ],
    )
}

fn employment(draws: &mut Draws, age: f64) -> usize {
    let weights = match age {
        ..=24.0 => [0.45, 0.03, 0.09, 0.43, 0.0],
        ..=59.0 => [0.76, 0.12, 0.08, 0.03, 0.01],
        ..=67.0 => [0.45, 0.10, 0.06, 0.0, 0.39],
        _ => [0.02, 0.03, 0.0, 0.0, 0.95],
    };
    pick(draws, &weights)
}

fn occupation(draws: &mut Draws, education: usize, sex: usize, employment: usize) -> usize {
    if employment >= 2 {
        return 0;
    }
    // Columns: service, trade, clerk, transport, technician, manager, professional.
    let weights = [
        [0.40, 0.28, 0.08, 0.20, 0.03, 0.01, 0.00],
        [0.30, 0.20, 0.22, 0.13, 0.09, 0.05, 0.01],
        [0.14, 0.36, 0.12, 0.12, 0.20, 0.05, 0.01],
        [0.07, 0.03, 0.20, 0.02, 0.20, 0.20, 0.28],
        [0.02, 0.01, 0.08, 0.01, 0.12, 0.26, 0.50],
    ];
    let tilt = [
        [1.5, 0.3, 1.6, 0.4, 0.8, 0.9, 1.0],
        [0.7, 1.6, 0.6, 1.6, 1.2, 1.1, 1.0],
    ];
    let weights: [f64; 7] = std::array::from_fn(|i| weights[education][i] * tilt[sex][i]);
    1 + pick(draws, &weights)
}

fn children(draws: &mut Draws, age: f64, marital: usize) -> f64 {
    let mean = [0.25, 1.9, 1.5, 2.2][marital] * ((age - 18.0) / 20.0).clamp(0.0, 1.0);
    poisson(draws, mean).min(9.0)
}

/// A count of the Poisson distribution, by inversion.
fn poisson(draws: &mut Draws, mean: f64) -> f64 {
    let (mut count, mut term) = (0.0, libm::exp(-mean));
    let mut rest = draws.unit() - term;
    while rest > 0.0 && count < 50.0 {
        count += 1.0;
        term *= mean / count;
        rest -= term;
    }
    count
}

fn hours(draws: &mut Draws, employment: usize, occupation: usize) -> f64 {
    if employment >= 2 {
        return 0.0;
    }
    // Half of all work exactly 40.
    if employment == 0 && draws.unit() < 0.5 {
        return 40.0;
    }
    let usual = [0.0, 30.0, 40.0, 34.0, 41.0, 38.0, 46.0, 42.0][occupation];
    let more = if employment == 1 { 5.0 } else { 0.0 };
    (usual + more + 8.0 * draws.normal())
        .clamp(4.0, 90.0)
        .round()
}

fn income(draws: &mut Draws, age: f64, education: usize, occupation: usize, hours: f64) -> f64 {
    if occupation == 0 {
        // Pensions and support, from the age of 65 on more.
        let base = if age >= 65.0 { 17_000.0 } else { 8_000.0 };
        return (base * libm::exp(0.35 * draws.normal())).round();
    }
    let schooling = [0.0, 0.12, 0.18, 0.42, 0.60][education];
    let trade = [0.0, 0.0, 0.15, 0.10, 0.08, 0.30, 0.62, 0.50][occupation];
    // Rises until 50, then falls a little: Mincer's parabola.
    let experience = ((age - 18.0) / 32.0).clamp(0.0, 2.4);
    let log = 9.75 + schooling + trade + 0.55 * experience - 0.25 * experience * experience
        + libm::log(hours / 40.0)
        + 0.32 * draws.normal();
    libm::exp(log).round()
}

fn savings(draws: &mut Draws, income: f64) -> f64 {
    // A third has none.
    if draws.unit() < 0.45 - 0.25 * (income / 60_000.0).min(1.0) {
        return 0.0;
    }
    0.4 * income * libm::exp(0.9 * draws.normal())
}

fn health(draws: &mut Draws, age: f64) -> usize {
    let wear = ((age - 30.0) / 65.0).clamp(0.0, 1.0);
    pick(
        draws,
        &[
            1.0 - 0.75 * wear,
            0.18 + 0.3 * wear,
            0.05 + 0.28 * wear,
            0.01 + 0.17 * wear,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, EDGES, households, rows};

    #[test]
    fn a_part_of_the_table_is_the_same_rows() {
        let (all, part) = (rows(3, 0, 500), rows(3, 100, 50));
        let places: Vec<usize> = (100..150).collect();
        assert_eq!(all.select(&places), part);
        assert_ne!(rows(4, 0, 500), all);
    }

    #[test]
    fn the_columns_are_as_promised() {
        let table = rows(1, 0, 5000);
        assert_eq!(table.columns.len(), COLUMNS);
        for (from, to) in EDGES {
            assert!(
                table.column(from).is_some() && table.column(to).is_some(),
                "{from} {to}"
            );
        }
        let missing = |name| table.column(name).unwrap().values.missing();
        assert!(missing("income") > 100 && missing("health") > 50 && missing("age") == 0);
    }

    #[test]
    fn households_begin_with_the_table_and_go_on_with_others() {
        assert_eq!(households(3, 50, COLUMNS), rows(3, 0, 50));
        let table = households(3, 50, 32);
        assert_eq!(table.columns.len(), 32);
        assert_eq!(table.columns[31].name, "sex-3");
        let ages = ["age", "age-2", "age-3"].map(|name| &table.column(name).unwrap().values);
        assert!(ages[0] != ages[1] && ages[1] != ages[2]);
    }
}
