//! Whether rows keep to a schema: read from the tables alone, and so of anybody's.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::build::words;
use super::{ColumnSchema, Constraint, Schema, TableSchema};
use crate::synthetic::table::{Table, TableError, Values};

/// Something that does not hold, and in how many rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The table.
    pub table: String,
    /// What ought to hold.
    pub what: String,
    /// In how many rows it does not.
    pub rows: usize,
    /// The first of them, from 1 on.
    pub first_row: usize,
}

/// Something that ought to hold in every row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What.
    pub what: String,
    /// What says whether it holds.
    pub scope: Scope,
    /// The rows in which it does not, from 0 on, in ascending order.
    pub broken: Vec<usize>,
}

/// What says whether a rule holds in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The row alone.
    Row,
    /// The digits of a number: rows that are made have those that are declared, whatever was learned.
    Digits,
    /// All rows: what is to be unique.
    Table,
}

/// What does not hold in some tables of a schema. Keys of a table that is not there are not looked at.
///
/// # Errors
/// If a table lacks a column, or holds another kind of values in it.
pub fn violations(
    schema: &Schema,
    tables: &BTreeMap<String, Table>,
) -> Result<Vec<Violation>, TableError> {
    let mut all = Vec::new();
    for of_schema in &schema.table {
        let Some(table) = tables.get(&of_schema.name) else {
            continue;
        };
        for rule in rules(of_schema, table, tables)? {
            all.extend(rule.broken.first().map(|first| Violation {
                table: of_schema.name.clone(),
                what: rule.what.clone(),
                rows: rule.broken.len(),
                first_row: first + 1,
            }));
        }
    }
    Ok(all)
}

/// All that a table is declared to keep to, and where it does not. Keys of a table that is not among `tables` are not looked at:
/// [`unchecked`] names them.
///
/// # Errors
/// If it lacks a column, or holds another kind of values in it.
pub fn rules(
    of_schema: &TableSchema,
    table: &Table,
    tables: &BTreeMap<String, Table>,
) -> Result<Vec<Rule>, TableError> {
    let mut rules = Vec::new();
    let rows = table.rows();
    for column in &of_schema.column {
        let values = values(of_schema, table, column.name())?;
        let mut note = |what: String, scope, wrong: &dyn Fn(usize) -> bool| {
            let broken = (0..rows).filter(|row| wrong(*row)).collect();
            rules.push(Rule {
                what,
                scope,
                broken,
            });
        };
        of_column(column, values, tables, &mut note)?;
    }
    for constraint in &of_schema.constraint {
        rules.push(of_constraint(of_schema, table, constraint)?);
    }
    Ok(rules)
}

/// The keys of a table whose own table is not among some, in words.
pub fn unchecked(of_schema: &TableSchema, tables: &BTreeMap<String, Table>) -> Vec<String> {
    let lost = |column: &ColumnSchema| match column {
        ColumnSchema::Foreign {
            name,
            table,
            column,
            ..
        } if !tables.contains_key(table) => Some(of_key(name, column, table)),
        _ => None,
    };
    of_schema.column.iter().filter_map(lost).collect()
}

fn of_key(name: &str, column: &str, table: &str) -> String {
    format!("`{name}` is a key of `{column}` in `{table}`")
}

fn of_constraint(
    of_schema: &TableSchema,
    table: &Table,
    constraint: &Constraint,
) -> Result<Rule, TableError> {
    let scope = match constraint {
        Constraint::Unique(_) => Scope::Table,
        Constraint::Less(_) | Constraint::AtMost(_) => Scope::Row,
    };
    let broken = match constraint {
        Constraint::Unique(name) => {
            let repeated = repeated(values(of_schema, table, name)?);
            (0..table.rows()).filter(|row| repeated[*row]).collect()
        }
        Constraint::Less([a, b]) | Constraint::AtMost([a, b]) => {
            let (a, b) = (numbers(of_schema, table, a)?, numbers(of_schema, table, b)?);
            let is_strict = matches!(constraint, Constraint::Less(_));
            // Missing values compare as nothing, and break nothing.
            let is_broken = |row: &usize| a[*row] > b[*row] || (is_strict && a[*row] >= b[*row]);
            (0..table.rows()).filter(is_broken).collect()
        }
    };
    Ok(Rule {
        what: words(constraint),
        scope,
        broken,
    })
}

/// What ought to hold, what says so, and whether it does not hold in a row.
type Note<'a> = dyn FnMut(String, Scope, &dyn Fn(usize) -> bool) + 'a;

fn of_column(
    column: &ColumnSchema,
    values: &Values,
    tables: &BTreeMap<String, Table>,
    note: &mut Note<'_>,
) -> Result<(), TableError> {
    let name = column.name();
    let is_missing = |row: usize| values.is_missing(row);
    match column {
        ColumnSchema::Key { .. } => {
            let repeated = repeated(values);
            note(format!("`{name}` unique"), Scope::Table, &|row| {
                repeated[row]
            });
            note(format!("`{name}` never missing"), Scope::Row, &is_missing);
            return Ok(());
        }
        ColumnSchema::Number {
            low,
            high,
            decimals,
            ..
        } => {
            let Values::Number { values, .. } = values else {
                return Err(TableError::Table(format!(
                    "column `{name}` holds {}, expected numbers",
                    values.kind()
                )));
            };
            let what = format!("`{name}` from {low} to {high}");
            note(what, Scope::Row, &|row| {
                values[row] < *low || values[row] > *high
            });
            let what = format!("`{name}` of at most {decimals} digits behind the point");
            note(what, Scope::Digits, &|row| !is_step(values[row], *decimals));
        }
        ColumnSchema::Category { labels, .. } => {
            let strange = strange(values, labels);
            let what = format!("`{name}` one of its labels");
            note(what, Scope::Row, &|row| strange[row]);
        }
        ColumnSchema::Foreign { table, column, .. } => {
            if let Some(other) = tables.get(table) {
                let keys = other.column(column).ok_or_else(|| {
                    TableError::Table(format!("table `{table}` lacks column `{column}`"))
                })?;
                let keys: HashSet<_> = (0..other.rows()).map(|row| keys.values.text(row)).collect();
                let is_lost = |row| {
                    let text = values.text(row);
                    !text.is_empty() && !keys.contains(&text)
                };
                note(of_key(name, column, table), Scope::Row, &is_lost);
            }
        }
    }
    if column.missing() <= 0.0 {
        note(format!("`{name}` never missing"), Scope::Row, &is_missing);
    }
    Ok(())
}

/// For each row whether it has a text that is none of some labels.
fn strange(values: &Values, labels: &[String]) -> Vec<bool> {
    let known: HashSet<&str> = labels.iter().map(String::as_str).collect();
    let is_strange = |text: &str| !text.is_empty() && !known.contains(text);
    if let Values::Category { codes, labels } = values {
        // Text by text, not row by row.
        let of_codes: Vec<bool> = labels.iter().map(|label| is_strange(label)).collect();
        let of_code = |code: &u32| of_codes.get(*code as usize).is_some_and(|is| *is);
        return codes.iter().map(of_code).collect();
    }
    (0..values.len())
        .map(|row| is_strange(&values.text(row)))
        .collect()
}

/// Whether a number, if it is one, has no more digits behind the point than so many, but for what `f64` rounds.
fn is_step(x: f64, decimals: u8) -> bool {
    let steps = x * 10_f64.powi(decimals.into());
    let rounded = (4.0 * f64::EPSILON * steps.abs()).max(1e-6);
    x.is_nan() || (steps - steps.round()).abs() <= rounded
}

fn values<'a>(
    schema: &TableSchema,
    table: &'a Table,
    name: &str,
) -> Result<&'a Values, TableError> {
    let column = table.column(name).map(|column| &column.values);
    column
        .ok_or_else(|| TableError::Table(format!("table `{}` lacks column `{name}`", schema.name)))
}

fn numbers<'a>(
    schema: &TableSchema,
    table: &'a Table,
    name: &str,
) -> Result<&'a [f64], TableError> {
    match values(schema, table, name)? {
        Values::Number { values, .. } => Ok(values),
        other => Err(TableError::Table(format!(
            "table `{}`: column `{name}` holds {}, expected numbers",
            schema.name,
            other.kind()
        ))),
    }
}

/// For each row whether an earlier one has its value.
fn repeated(values: &Values) -> Vec<bool> {
    let mut seen = HashSet::new();
    let is_repeated = |row| {
        let text = values.text(row);
        !text.is_empty() && !seen.insert(text)
    };
    (0..values.len()).map(is_repeated).collect()
}
