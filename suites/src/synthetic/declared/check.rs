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
        let mut note = |what: String, wrong: &dyn Fn(usize) -> bool| {
            let mut rows = (0..table.rows()).filter(|row| wrong(*row));
            if let Some(first) = rows.next() {
                all.push(Violation {
                    table: of_schema.name.clone(),
                    what,
                    rows: 1 + rows.count(),
                    first_row: first + 1,
                });
            }
        };
        for column in &of_schema.column {
            let values = values(of_schema, table, column.name())?;
            of_column(column, values, tables, &mut note)?;
        }
        for constraint in &of_schema.constraint {
            match constraint {
                Constraint::Unique(name) => {
                    let repeated = repeated(values(of_schema, table, name)?);
                    note(words(constraint), &|row| repeated[row]);
                }
                Constraint::Less([a, b]) | Constraint::AtMost([a, b]) => {
                    let (a, b) = (numbers(of_schema, table, a)?, numbers(of_schema, table, b)?);
                    let is_strict = matches!(constraint, Constraint::Less(_));
                    // Missing values compare as nothing, and break nothing.
                    note(words(constraint), &|row| {
                        a[row] > b[row] || (is_strict && a[row] >= b[row])
                    });
                }
            }
        }
    }
    Ok(all)
}

type Note<'a> = dyn FnMut(String, &dyn Fn(usize) -> bool) + 'a;

fn of_column(
    column: &ColumnSchema,
    values: &Values,
    tables: &BTreeMap<String, Table>,
    note: &mut Note<'_>,
) -> Result<(), TableError> {
    let name = column.name();
    match column {
        ColumnSchema::Key { .. } => {
            let repeated = repeated(values);
            note(format!("`{name}` unique"), &|row| {
                repeated[row] || values.text(row).is_empty()
            });
        }
        ColumnSchema::Number {
            low, high, missing, ..
        } => {
            let Values::Number { values, .. } = values else {
                return Err(TableError::Table(format!(
                    "column `{name}` holds {}, expected numbers",
                    values.kind()
                )));
            };
            note(format!("`{name}` from {low} to {high}"), &|row| {
                values[row] < *low || values[row] > *high
            });
            note(format!("`{name}` never missing"), &|row| {
                *missing == 0.0 && values[row].is_nan()
            });
        }
        ColumnSchema::Category {
            labels, missing, ..
        } => {
            let known: HashSet<&str> = labels.iter().map(String::as_str).collect();
            let is_strange = |row| {
                let text = values.text(row);
                !text.is_empty() && !known.contains(text.as_ref())
            };
            note(format!("`{name}` one of its labels"), &is_strange);
            note(format!("`{name}` never missing"), &|row| {
                *missing == 0.0 && values.text(row).is_empty()
            });
        }
        ColumnSchema::Foreign { table, column, .. } => {
            let Some(other) = tables.get(table) else {
                return Ok(());
            };
            let keys = other.column(column).ok_or_else(|| {
                TableError::Table(format!("table `{table}` lacks column `{column}`"))
            })?;
            let keys: HashSet<_> = (0..other.rows()).map(|row| keys.values.text(row)).collect();
            let is_lost = |row| {
                let text = values.text(row);
                !text.is_empty() && !keys.contains(&text)
            };
            note(
                format!("`{name}` a key of `{column}` in `{table}`"),
                &is_lost,
            );
        }
    }
    Ok(())
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
