//! Rows of a learned model that keep to a declared table.
//!
//! A model knows no constraint. What a row alone tells (ranges, labels, what is never missing, inequalities) is kept by drawing a row
//! that breaks it again, as often as [`MOST_DRAWS`] times: what comes out has the distribution that was learned, given that the
//! constraints hold. What must not occur twice cannot be drawn: such columns are a permutation, as those of [`super::Maker`], and
//! nothing of them is learned. By either, row `i` depends on seed and `i` alone. Keys of another table are those that were learned from.

use serde::Serialize;

use super::{Cell, ColumnSchema, Constraint, Maker, SCHEMA, Schema, Scope, TableSchema, rules};
use crate::synthetic::generators::{Model, places};
use crate::synthetic::random::{Bits as _, Draws};
use crate::synthetic::table::{Column, Table, TableError, Values, keys};

/// How often a row is drawn at most. Of a model whose rows break something every other time, one in 10^30 is still broken then.
pub const MOST_DRAWS: u64 = 100;
/// Random stream of the seeds under which rows are drawn again.
const SEEDS: u64 = 1 << 34;

/// Makes rows of a model that keep to a table.
pub struct Keeper<'a> {
    model: &'a Model,
    table: TableSchema,
    /// What makes its unique columns: keys of other tables, which it does not make, are plain ones to it.
    alone: Maker,
    /// Columns that are a permutation: their places in the declared table.
    unique: Vec<usize>,
}

/// How rows were drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// How many were made.
    pub rows: u64,
    /// Of how many the first draw broke something.
    pub drawn_again: u64,
    /// Of how many every draw did, so that they do not keep to the table.
    pub in_vain: u64,
}

impl Drawn {
    /// Of these rows and of others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self {
            rows: self.rows + others.rows,
            drawn_again: self.drawn_again + others.drawn_again,
            in_vain: self.in_vain + others.in_vain,
        }
    }
}

impl<'a> Keeper<'a> {
    /// For `rows` rows over all parts of a data set.
    ///
    /// # Errors
    /// If a column has fewer values than rows, and is to have none twice; or if the model has other columns.
    pub fn new(model: &'a Model, table: &TableSchema, rows: u64) -> Result<Self, String> {
        let own = |column: &ColumnSchema| match column {
            ColumnSchema::Foreign { name, .. } => ColumnSchema::Key { name: name.clone() },
            other => other.clone(),
        };
        let alone = Schema {
            schema: SCHEMA,
            table: vec![TableSchema {
                rows,
                column: table.column.iter().map(own).collect(),
                ..table.clone()
            }],
        };
        let alone = alone.build().map_err(|error| error.to_string())?;
        let keeper = Self {
            model,
            table: table.clone(),
            alone,
            unique: table.unique_columns().collect(),
        };
        let one = keeper.once(0, &[0], 0).map_err(|error| error.to_string())?;
        keeper.broken(&one).map_err(|error| error.to_string())?;
        Ok(keeper)
    }

    /// Rows `first .. first + rows` under `seed`: the same bits whoever makes them, alone or with others.
    ///
    /// # Errors
    /// None that [`Keeper::new`] had not.
    pub fn rows(&self, seed: u64, first: u64, rows: usize) -> Result<(Table, Drawn), TableError> {
        let places = places(first, rows);
        let mut made = self.once(seed, &places, 0)?;
        let mut broken = self.broken(&made)?;
        let mut drawn = Drawn {
            rows: rows as u64,
            drawn_again: broken.len() as u64,
            in_vain: 0,
        };
        for draw in 1..MOST_DRAWS {
            if broken.is_empty() {
                break;
            }
            let wanted: Vec<u64> = broken.iter().map(|row| places[*row]).collect();
            let again = self.once(seed, &wanted, draw)?;
            made.put(&broken, &again);
            let still = self.broken(&again)?;
            broken = still.into_iter().map(|place| broken[place]).collect();
        }
        drawn.in_vain = broken.len() as u64;
        Ok((made, drawn))
    }

    /// Rows as the model draws them for the `draw`-th time, with what must be unique.
    fn once(&self, seed: u64, places: &[u64], draw: u64) -> Result<Table, TableError> {
        let of_draw = match draw {
            0 => seed,
            _ => Draws::of_row(seed, SEEDS, draw).long(),
        };
        let mut made = self.model.rows_at(of_draw, places);
        for place in &self.unique {
            let name = self.table.column[*place].name();
            let column = made.columns.iter_mut().find(|column| column.name == name);
            let column = column
                .ok_or_else(|| TableError::Table(format!("the model has no column `{name}`")))?;
            column.values = self.unique(*place, seed, places, &column.values);
        }
        Ok(made)
    }

    /// A unique column in the place of one that has its missing values.
    fn unique(&self, column: usize, seed: u64, places: &[u64], made: &Values) -> Values {
        let cell = |(at, place): (usize, &u64)| {
            if made.is_missing(at) {
                Cell::Missing
            } else {
                Cell::At(self.alone.unique(0, column, seed, *place))
            }
        };
        let kind = &self.alone.tables[0].columns[column].values;
        self.alone
            .values(0, kind, places.iter().enumerate().map(cell))
    }

    /// The rows that break what a row alone tells.
    fn broken(&self, made: &Table) -> Result<Vec<usize>, TableError> {
        let rules = rules(&self.table, made, &[].into())?;
        let of_rows = rules.into_iter().filter(|rule| rule.scope != Scope::Table);
        let mut broken: Vec<usize> = of_rows.flat_map(|rule| rule.broken).collect();
        broken.sort_unstable();
        broken.dedup();
        Ok(broken)
    }
}

impl TableSchema {
    /// What a model is to learn of a table: all of it, but of columns that must be unique no more than what is missing.
    pub fn learnable(&self, table: &Table) -> Table {
        let unique = self.unique_names();
        let columns = table.columns.iter().map(|column| Column {
            name: column.name.clone(),
            values: if unique.contains(&column.name.as_str()) {
                keys(&column.values)
            } else {
                column.values.clone()
            },
        });
        Table {
            columns: columns.collect(),
        }
    }

    /// Columns that a [`Keeper`] makes as a permutation.
    pub fn unique_names(&self) -> Vec<&str> {
        self.unique_columns()
            .map(|at| self.column[at].name())
            .collect()
    }

    /// What rows of a [`Keeper`] need not keep to, in words.
    pub fn not_kept(&self) -> Vec<String> {
        let is_foreign = |name: &String| {
            let of_name = self.column.iter().find(|column| column.name() == name);
            matches!(of_name, Some(ColumnSchema::Foreign { .. }))
        };
        let words = |constraint: &Constraint| match constraint {
            Constraint::Unique(name) if is_foreign(name) => Some(super::build::words(constraint)),
            _ => None,
        };
        self.constraint.iter().filter_map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        ColumnSchema, Drawn, Keeper, MOST_DRAWS, Model, Table, TableSchema, Values, rules,
    };
    use crate::synthetic::privacy::Budget;
    use crate::synthetic::progress::Progress;
    use crate::synthetic::table::{categories, census, table_of};
    use crate::synthetic::workload::{GENERATORS, Noise, Privacy, fit_declared};

    /// Two columns of which the first is the lesser one, by little: no generator finds that.
    fn close(rows: u32) -> Table {
        let x = |row: u32| f64::from(row.wrapping_mul(2_654_435_761) >> 20) / 10.0;
        let numbers = |shift: f64| Values::Number {
            values: (0..rows)
                .map(|row| ((x(row) + shift) * 10.0).round() / 10.0)
                .collect(),
            decimals: Some(1),
        };
        let label = |row: u32| ["a", "b", "c"][(x(row) as usize) % 3].to_owned();
        table_of([
            ("number", numbers(0.0)),
            ("from", numbers(0.0)),
            ("to", numbers(0.3)),
            ("kind", categories((0..rows).map(label))),
        ])
    }

    fn declared() -> TableSchema {
        serde_json::from_value(json!({
            "name": "close",
            "rows": 1,
            "column": [
                {"type": "number", "name": "number", "low": 0, "high": 999.9, "decimals": 1},
                {"type": "number", "name": "from", "low": 0, "high": 500, "decimals": 1},
                {"type": "number", "name": "to", "low": 0, "high": 500, "decimals": 1},
                {"type": "category", "name": "kind", "labels": ["a", "b", "c", "d"]},
            ],
            "constraint": [{"less": ["from", "to"]}, {"unique": "number"}],
        }))
        .unwrap()
    }

    fn fitted(generator: &str, table: &Table, declared: &[ColumnSchema], epsilon: f64) -> Model {
        let privacy = Privacy {
            budget: Budget::new(epsilon, 1e-6).unwrap(),
            mechanism: None,
            noise: Noise::Seeded(1),
        };
        fit_declared(generator, table, declared, &privacy, &Progress::default()).unwrap()
    }

    #[test]
    fn rows_of_every_generator_keep_to_what_is_declared_whoever_makes_them() {
        let (real, declared) = (close(2000), declared());
        for generator in GENERATORS {
            let learned = declared.learnable(&real);
            let columns = &declared.column;
            let model = fitted(generator, &learned, columns, 20.0);
            let keeper = Keeper::new(&model, &declared, 5000).unwrap();
            let (all, drawn) = keeper.rows(7, 0, 3000).unwrap();
            let broken = rules(&declared, &all, &[].into()).unwrap();
            assert!(
                broken.iter().all(|rule| rule.broken.is_empty()),
                "{generator}: {broken:?}"
            );
            // Of independent columns every other row is the wrong way about.
            assert!(
                drawn.drawn_again > 100 && drawn.in_vain == 0,
                "{generator}: {drawn:?}"
            );
            let places: Vec<usize> = (700..900).collect();
            assert_eq!(
                keeper.rows(7, 700, 200).unwrap().0,
                all.select(&places),
                "{generator}"
            );
            let (other, _) = keeper.rows(8, 0, 3000).unwrap();
            assert_ne!(other.columns[0], all.columns[0], "{generator}");
        }
    }

    #[test]
    fn what_keeps_to_nothing_comes_out_as_it_is_drawn_and_is_counted() {
        let mut declared = declared();
        let real = close(200);
        let model = fitted("independent", &declared.learnable(&real), &[], 1.0);
        // No row has the one label that there is.
        let other = json!({"type": "category", "name": "kind", "labels": ["d"]});
        declared.column[3] = serde_json::from_value(other).unwrap();
        let (made, drawn) = Keeper::new(&model, &declared, 50)
            .unwrap()
            .rows(1, 0, 50)
            .unwrap();
        assert_eq!((made.rows(), MOST_DRAWS), (50, 100));
        let all = Drawn {
            rows: 50,
            drawn_again: 50,
            in_vain: 50,
        };
        assert_eq!(drawn, all);
    }

    #[test]
    fn too_many_rows_and_other_columns_are_refused() {
        let declared = declared();
        let model = |table: &Table| fitted("copula", table, &[], 1.0);
        let own = model(&declared.learnable(&close(100)));
        let error = Keeper::new(&own, &declared, 10_001).err().unwrap();
        assert!(
            error.contains("`number` unique cannot hold: 10001 rows, and 10000"),
            "{error}"
        );
        let other = model(&census::rows(1, 0, 50));
        let error = Keeper::new(&other, &declared, 10).err().unwrap();
        assert!(error.contains("no column `number`"), "{error}");
    }
}
