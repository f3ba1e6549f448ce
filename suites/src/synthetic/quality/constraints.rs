//! Constraint violations: how many rows do not keep to what is declared of their table, beside both floors.

use std::collections::{BTreeMap, BTreeSet};

use crate::synthetic::declared::{Rule, Scope, TableSchema, rules, unchecked};
use crate::synthetic::table::{Table, TableError};

/// What a table is declared to keep to.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// The table.
    pub table: &'a TableSchema,
    /// Tables that its keys are of, by their names: keys of others are not looked at.
    pub others: &'a BTreeMap<String, Table>,
}

/// Shares of rows that break something.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Constraints {
    /// Of rows that break anything that is declared; 0 is best.
    pub broken: f64,
    /// The same of a bootstrap, and of independent columns.
    pub floors: [f64; 2],
    /// Everything that is declared.
    pub rules: Vec<RuleScore>,
    /// What was not looked at.
    pub unchecked: Vec<String>,
}

/// How many rows break a rule.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RuleScore {
    /// What ought to hold.
    pub what: String,
    /// The share of synthetic rows in which it does not, of a bootstrap, and of independent columns.
    pub broken: [f64; 3],
    /// The first synthetic row in which it does not, from 1 on.
    pub first_row: Option<usize>,
}

/// What synthetic rows break. `drawn` are the rows of the real table that the bootstrap has.
///
/// A row of the bootstrap breaks what the real row breaks that it is: that a row was drawn twice repeats no key that was not repeated.
/// Of independent columns what must be unique is taken for made anew, as every generator makes it.
///
/// # Errors
/// If a table lacks a column, or holds something else in it.
pub fn constraints(
    declared: Declared<'_>,
    [real, synthetic, independent]: [&Table; 3],
    drawn: &[usize],
) -> Result<Constraints, TableError> {
    let Declared { table, others } = declared;
    let of = |rows: &Table| rules(table, rows, others);
    let (made, apart) = (of(synthetic)?, of(independent)?);
    let bootstrap = again(&of(real)?, real.rows(), drawn);
    let apart: Vec<Rule> = apart.into_iter().map(without_unique).collect();
    let rows = [synthetic.rows(), drawn.len(), independent.rows()];
    let all = [&made, &bootstrap, &apart];
    let share = |which: usize, count: usize| count as f64 / rows[which].max(1) as f64;
    let of_rule = |(place, rule): (usize, &Rule)| RuleScore {
        what: rule.what.clone(),
        broken: [0, 1, 2].map(|which| share(which, all[which][place].broken.len())),
        first_row: rule.broken.first().map(|row| row + 1),
    };
    let any = |which: usize| {
        let rows = all[which].iter().flat_map(|rule| &rule.broken);
        share(which, rows.collect::<BTreeSet<_>>().len())
    };
    Ok(Constraints {
        broken: any(0),
        floors: [any(1), any(2)],
        rules: made.iter().enumerate().map(of_rule).collect(),
        unchecked: unchecked(table, others),
    })
}

/// What rows break that were drawn from a table.
fn again(of_table: &[Rule], rows: usize, drawn: &[usize]) -> Vec<Rule> {
    let of_rule = |rule: &Rule| {
        let mut is_broken = vec![false; rows];
        for row in &rule.broken {
            is_broken[*row] = true;
        }
        Rule {
            broken: (0..drawn.len())
                .filter(|at| is_broken[drawn[*at]])
                .collect(),
            ..rule.clone()
        }
    };
    of_table.iter().map(of_rule).collect()
}

fn without_unique(mut rule: Rule) -> Rule {
    if rule.scope == Scope::Table {
        rule.broken.clear();
    }
    rule
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Declared, TableSchema, constraints};
    use crate::synthetic::table::{Table, Values, table_of};

    fn numbers(values: &[f64]) -> Values {
        Values::Number {
            values: values.to_vec(),
            decimals: Some(0),
        }
    }

    fn table(a: &[f64], b: &[f64]) -> Table {
        table_of([("a", numbers(a)), ("b", numbers(b))])
    }

    fn declared() -> TableSchema {
        serde_json::from_value(json!({
            "name": "t",
            "rows": 1,
            "column": [
                {"type": "number", "name": "a", "low": 0, "high": 9},
                {"type": "number", "name": "b", "low": 0, "high": 9, "missing": 0.5},
            ],
            "constraint": [{"less": ["a", "b"]}, {"unique": "a"}],
        }))
        .unwrap()
    }

    #[test]
    fn shares_by_hand() {
        let real = table(&[1.0, 2.0, 3.0, 7.0], &[2.0, 3.0, f64::NAN, 5.0]);
        // Row 1 is fine, row 2 has both wrong, row 3 a range, row 4 a value that occurred.
        let made = table(&[1.0, 5.0, -1.0, 1.0, 0.5], &[3.0, 4.0, 2.0, 2.0, 9.0]);
        let apart = table(&[1.0, 1.0], &[1.0, 2.0]);
        let others = [].into();
        let declared = declared();
        let of = Declared {
            table: &declared,
            others: &others,
        };
        let found = constraints(of, [&real, &made, &apart], &[0, 3, 3, 1]).unwrap();
        assert!((found.broken - 0.8).abs() < 1e-15, "{found:?}");
        // A row that was drawn twice breaks `a < b` both times, and repeats nothing.
        assert!((found.floors[0] - 0.5).abs() < 1e-15 && (found.floors[1] - 0.5).abs() < 1e-15);
        let rule = |what: &str| {
            found
                .rules
                .iter()
                .find(|rule| rule.what.contains(what))
                .unwrap()
        };
        assert_eq!(
            (rule("`a` < `b`").broken, rule("`a` < `b`").first_row),
            ([0.2, 0.5, 0.5], Some(2))
        );
        assert_eq!(
            (rule("`a` unique").broken, rule("`a` unique").first_row),
            ([0.2, 0.0, 0.0], Some(4))
        );
        assert_eq!(rule("`a` from 0 to 9").first_row, Some(3));
        assert_eq!(rule("`a` of at most 0 digits").first_row, Some(5));
        assert!(
            found
                .rules
                .iter()
                .all(|rule| rule.what != "`b` never missing")
        );
    }

    #[test]
    fn keys_of_a_table_that_is_not_there_are_said_not_to_be_looked_at() {
        let mut declared = declared();
        let foreign = json!({"type": "foreign", "name": "b", "table": "other", "column": "id"});
        declared.column[1] = serde_json::from_value(foreign).unwrap();
        declared.constraint.clear();
        let own = table(&[1.0, 2.0], &[4.0, 5.0]);
        let with = |others| {
            let of = Declared {
                table: &declared,
                others: &others,
            };
            constraints(of, [&own, &own, &own], &[0, 1]).unwrap()
        };
        assert_eq!(
            with([].into()).unchecked,
            ["`b` is a key of `id` in `other`"]
        );
        let keys = table_of([("id", numbers(&[4.0]))]);
        let found = with([("other".to_owned(), keys)].into());
        assert!(
            found.unchecked.is_empty() && (found.broken - 0.5).abs() < 1e-15,
            "{found:?}"
        );
    }
}
