//! Whether a schema can be satisfied, and what its rows are made with.

use std::fmt;
use std::sync::Arc;

use super::{ColumnMaker, ColumnSchema, Constraint, Kind, SCHEMA, Schema, TableMaker, TableSchema};

/// Most digits behind the point.
const MOST_DECIMALS: u8 = 9;
/// Most steps of a number from 0: all are exact in 64 bits.
const MOST_STEPS: f64 = (1_u64 << 53) as f64;

/// What cannot hold, and in which table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsatisfiable {
    /// The table; empty where it is about the schema as a whole.
    pub table: String,
    /// What is wrong, with the columns that it is about.
    pub what: String,
}

impl std::error::Error for Unsatisfiable {}

impl fmt::Display for Unsatisfiable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.table.is_empty() {
            return f.write_str(&self.what);
        }
        write!(f, "table `{}`: {}", self.table, self.what)
    }
}

/// The makers of all tables.
pub fn tables(schema: &Schema) -> Result<Vec<TableMaker>, Unsatisfiable> {
    let whole = |what: String| Unsatisfiable {
        table: String::new(),
        what,
    };
    if schema.schema != SCHEMA {
        return Err(whole(format!(
            "a schema of version {}: this assay knows {SCHEMA}",
            schema.schema
        )));
    }
    if schema.table.is_empty() {
        return Err(whole("there is no [[table]]".into()));
    }
    if let Some(name) = twice(schema.table.iter().map(|table| table.name.as_str())) {
        return Err(whole(format!("two tables are called `{name}`")));
    }
    let makers = schema.table.iter().map(|table| {
        maker(schema, table).map_err(|what| Unsatisfiable {
            table: table.name.clone(),
            what,
        })
    });
    let makers = makers.collect::<Result<Vec<_>, _>>()?;
    for (table, schema_of) in schema.table.iter().enumerate() {
        for column in 0..schema_of.column.len() {
            foreign(schema, &makers, table, column).map_err(|what| Unsatisfiable {
                table: schema_of.name.clone(),
                what,
            })?;
        }
    }
    Ok(makers)
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn maker(schema: &Schema, table: &TableSchema) -> Result<TableMaker, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if table.name.is_empty() || !table.name.chars().all(is_plain) {
        return Err(
            "a name of letters, digits, - and _ is expected: it becomes that of a file".into(),
        );
    }
    if table.rows == 0 || table.rows >= 1 << 44 {
        return Err(format!("`rows` is {}: expected 1 to 2^44 - 1", table.rows));
    }
    if table.column.is_empty() {
        return Err("there is no [[table.column]]".into());
    }
    if let Some(name) = twice(table.column.iter().map(ColumnSchema::name)) {
        return Err(format!("two columns are called `{name}`"));
    }
    let columns = table.column.iter().map(|column| {
        self::column(schema, column).map_err(|what| format!("column `{}`: {what}", column.name()))
    });
    let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
    for constraint in &table.constraint {
        apply(table, &mut columns, constraint)?;
    }
    let order = narrow(table, &mut columns)?;
    for (column, of_schema) in columns.iter().zip(&table.column) {
        enough(table, column, of_schema)?;
    }
    Ok(TableMaker { columns, order })
}

fn column(schema: &Schema, column: &ColumnSchema) -> Result<ColumnMaker, String> {
    let missing = column.missing();
    if !(0.0..=1.0).contains(&missing) {
        return Err(format!("`missing` is {missing}: expected 0 to 1"));
    }
    let values = match column {
        ColumnSchema::Key { .. } => Kind::Key,
        ColumnSchema::Number {
            low,
            high,
            decimals,
            normal,
            ..
        } => steps(*low, *high, *decimals, *normal)?,
        ColumnSchema::Category {
            labels, weights, ..
        } => self::labels(labels, weights)?,
        ColumnSchema::Foreign { table, column, .. } => {
            let place = schema.table.iter().position(|other| other.name == *table);
            let place = place.ok_or_else(|| format!("there is no table `{table}`"))?;
            let inner = schema.table[place]
                .column
                .iter()
                .position(|other| other.name() == column);
            let inner = inner.ok_or_else(|| format!("table `{table}` has no column `{column}`"))?;
            Kind::Foreign {
                table: place,
                column: inner,
            }
        }
    };
    Ok(ColumnMaker {
        missing,
        is_unique: matches!(values, Kind::Key),
        values,
        above: vec![],
    })
}

/// The first and the last step from `low` to `high`, of which `scale` go to 1.
pub fn steps_between(low: f64, high: f64, scale: f64) -> (f64, f64) {
    ((low * scale - 1e-6).ceil(), (high * scale + 1e-6).floor())
}

fn steps(low: f64, high: f64, decimals: u8, normal: Option<[f64; 2]>) -> Result<Kind, String> {
    if decimals > MOST_DECIMALS {
        return Err(format!(
            "`decimals` is {decimals}: expected 0 to {MOST_DECIMALS}"
        ));
    }
    let scale = 10_f64.powi(decimals.into());
    let (first, last) = steps_between(low, high, scale);
    if !(first.abs() < MOST_STEPS && last.abs() < MOST_STEPS) {
        return Err(format!(
            "`low` {low} or `high` {high} is beyond what {decimals} digits leave"
        ));
    }
    if first > last {
        return Err(format!(
            "no number of {decimals} digits behind the point lies from `low` {low} to `high` {high}"
        ));
    }
    if let Some([mean, deviation]) = normal {
        let is_near =
            mean.is_finite() && mean > low - 8.0 * deviation && mean < high + 8.0 * deviation;
        if !(deviation > 0.0 && deviation.is_finite() && is_near) {
            return Err(format!(
                "`normal` is [{mean}, {deviation}]: expected a mean within reach of the range, and a deviation above 0"
            ));
        }
    }
    Ok(Kind::Steps {
        low: first as i64,
        high: last as i64,
        decimals,
        normal,
    })
}

fn labels(labels: &[String], weights: &[f64]) -> Result<Kind, String> {
    if labels.is_empty() || labels.iter().any(|label| label.trim().is_empty()) {
        return Err("`labels`: expected at least one, and none of them empty".into());
    }
    // They are written as texts and read back, as a check of the table has to, without blanks around them.
    if let Some(label) = labels.iter().find(|label| label.trim() != label.as_str()) {
        return Err(format!(
            "`labels` has {label:?}, which reads back as another value: take it without the blanks around it"
        ));
    }
    if let Some(label) = twice(labels.iter().map(String::as_str)) {
        return Err(format!("`labels` has `{label}` twice"));
    }
    if !weights.is_empty() && weights.len() != labels.len() {
        return Err(format!(
            "{} `weights` of {} `labels`",
            weights.len(),
            labels.len()
        ));
    }
    let is_weight = |weight: &f64| *weight >= 0.0 && weight.is_finite();
    let total: f64 = weights.iter().sum();
    if !weights.iter().all(is_weight) || (!weights.is_empty() && total <= 0.0) {
        return Err("`weights`: expected numbers of at least 0, and one above".into());
    }
    let mut sum = 0.0;
    let bound = |place: usize| {
        sum += weights
            .get(place)
            .map_or(1.0 / labels.len() as f64, |weight| weight / total);
        sum
    };
    Ok(Kind::Labels {
        bounds: (0..labels.len()).map(bound).collect(),
        labels: Arc::new(labels.to_vec()),
    })
}

fn apply(
    table: &TableSchema,
    columns: &mut [ColumnMaker],
    constraint: &Constraint,
) -> Result<(), String> {
    let place = |name: &String| {
        let place = table.column.iter().position(|column| column.name() == name);
        place.ok_or_else(|| format!("a constraint names `{name}`, which is no column"))
    };
    let (names, steps) = match constraint {
        Constraint::Unique(name) => {
            columns[place(name)?].is_unique = true;
            return Ok(());
        }
        Constraint::Less(names) => (names, 1),
        Constraint::AtMost(names) => (names, 0),
    };
    let (below, above) = (place(&names[0])?, place(&names[1])?);
    let digits = |column: &ColumnMaker| match column.values {
        Kind::Steps { decimals, .. } => Some(decimals),
        _ => None,
    };
    let words = words(constraint);
    match (digits(&columns[below]), digits(&columns[above])) {
        (Some(a), Some(b)) if a == b => {}
        (Some(_), Some(_)) => return Err(format!("{words}: both need the same `decimals`")),
        _ => return Err(format!("{words}: both must be numbers")),
    }
    columns[above].above.push((below, steps));
    Ok(())
}

/// A constraint as people write it.
pub fn words(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Less([a, b]) => format!("`{a}` < `{b}`"),
        Constraint::AtMost([a, b]) => format!("`{a}` <= `{b}`"),
        Constraint::Unique(name) => format!("`{name}` unique"),
    }
}

/// Narrows ranges until each value of a column leaves room for those above it; the order in which columns are then drawn.
fn narrow(table: &TableSchema, columns: &mut [ColumnMaker]) -> Result<Vec<usize>, String> {
    let name = |column: usize| table.column[column].name();
    let mut order: Vec<usize> = Vec::new();
    while order.len() < columns.len() {
        let is_free = |column: &usize| {
            !order.contains(column)
                && columns[*column]
                    .above
                    .iter()
                    .all(|(below, _)| order.contains(below))
        };
        let Some(next) = (0..columns.len()).find(is_free) else {
            let stuck: Vec<String> = (0..columns.len())
                .filter(|column| !order.contains(column) && !columns[*column].above.is_empty())
                .map(|column| format!("`{}`", name(column)))
                .collect();
            return Err(format!(
                "inequalities go round in a circle: {} cannot be put into an order",
                stuck.join(", ")
            ));
        };
        order.push(next);
    }
    for above in order.iter().rev() {
        for (below, steps) in columns[*above].above.clone() {
            if let (Kind::Steps { high: most, .. }, Kind::Steps { high, .. }) =
                (&columns[*above].values, &columns[below].values)
            {
                let room = *high.min(&(most - steps));
                set_high(&mut columns[below].values, room);
            }
        }
    }
    for column in &order {
        for (below, steps) in columns[*column].above.clone() {
            let (Kind::Steps { low: least, .. }, Kind::Steps { low, .. }) =
                (&columns[below].values, &columns[*column].values)
            else {
                continue;
            };
            let raised = *low.max(&(least + steps));
            set_low(&mut columns[*column].values, raised);
        }
        if let Kind::Steps { low, high, .. } = columns[*column].values
            && low > high
        {
            return Err(unreachable_range(table, columns, *column));
        }
        let is_between = !columns[*column].above.is_empty()
            || columns
                .iter()
                .any(|other| other.above.iter().any(|(below, _)| below == column));
        if columns[*column].is_unique && is_between {
            return Err(format!(
                "`{}` is unique and in an inequality: both at once cannot be made row by row",
                name(*column)
            ));
        }
    }
    Ok(order)
}

fn set_high(values: &mut Kind, to: i64) {
    if let Kind::Steps { high, .. } = values {
        *high = to;
    }
}

fn set_low(values: &mut Kind, to: i64) {
    if let Kind::Steps { low, .. } = values {
        *low = to;
    }
}

/// What to say of a column that has no value left.
fn unreachable_range(table: &TableSchema, columns: &[ColumnMaker], column: usize) -> String {
    let name = table.column[column].name();
    let involved = table
        .constraint
        .iter()
        .filter(|constraint| match constraint {
            Constraint::Less(names) | Constraint::AtMost(names) => {
                names.iter().any(|of| of == name)
            }
            Constraint::Unique(_) => false,
        });
    let involved: Vec<String> = involved.map(words).collect();
    let Kind::Steps {
        low,
        high,
        decimals,
        ..
    } = columns[column].values
    else {
        return String::new();
    };
    let scale = 10_f64.powi(decimals.into());
    format!(
        "{} cannot hold: `{name}` would have to be at least {} and at most {}",
        involved.join(" and "),
        low as f64 / scale,
        high as f64 / scale
    )
}

/// Whether a unique column has as many values as there are rows.
fn enough(table: &TableSchema, column: &ColumnMaker, schema: &ColumnSchema) -> Result<(), String> {
    if !column.is_unique {
        return Ok(());
    }
    let values = match &column.values {
        Kind::Steps { low, high, .. } => (high - low) as u64 + 1,
        Kind::Labels { labels, .. } => labels.len() as u64,
        Kind::Key | Kind::Foreign { .. } => return Ok(()),
    };
    if values >= table.rows {
        return Ok(());
    }
    Err(format!(
        "`{}` unique cannot hold: {} rows, and {values} values",
        schema.name(),
        table.rows
    ))
}

/// Whether a foreign key leads to a column that is unique, and round no circle.
fn foreign(
    schema: &Schema,
    makers: &[TableMaker],
    table: usize,
    column: usize,
) -> Result<(), String> {
    let name = schema.table[table].column[column].name();
    let mut at = (table, column);
    let mut steps = 0;
    while let Kind::Foreign {
        table: other,
        column: inner,
    } = makers[at.0].columns[at.1].values
    {
        let target = &makers[other].columns[inner];
        let words = format!(
            "`{}` of table `{}`",
            schema.table[other].column[inner].name(),
            schema.table[other].name
        );
        if !target.is_unique {
            return Err(format!(
                "`{name}` is a key of {words}, which is not unique: add a constraint, unique = \"...\""
            ));
        }
        if target.missing > 0.0 {
            return Err(format!(
                "`{name}` is a key of {words}, which may be missing"
            ));
        }
        if makers[at.0].columns[at.1].is_unique
            && schema.table[at.0].rows > schema.table[other].rows
        {
            return Err(format!(
                "`{name}` unique cannot hold: {} rows, and {} keys",
                schema.table[at.0].rows, schema.table[other].rows
            ));
        }
        at = (other, inner);
        steps += 1;
        if steps > schema.table.len() {
            return Err(format!("`{name}` is a key that leads round in a circle"));
        }
    }
    Ok(())
}
