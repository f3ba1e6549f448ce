//! Labelled series from JSON files: `name`, `source`, `values` in time order, and `annotations`, which map an annotator to the
//! 0-based indices of the first points after a change.
//!
//! Whatever is wrong with a file is said with the file and the field.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One series. Without annotators it is not labelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The file's name without its suffix.
    pub name: String,
    /// The values, one per run.
    pub values: Vec<f64>,
    /// One list of change points per annotator.
    pub annotators: Vec<Vec<usize>>,
}

/// Reads every `*.json` of a folder, in the order of their names.
pub fn read_folder(folder: &Path) -> Result<Vec<Series>, String> {
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(said)? {
        let path = entry.map_err(said)?.path();
        if path.extension().is_some_and(|suffix| suffix == "json") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("{}: holds no *.json file", folder.display()));
    }
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Series, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&name, &text).map_err(named)
}

/// A series from the text of its file.
pub fn parse(name: &str, text: &str) -> Result<Series, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(fields) = value else {
        return Err("must be an object with `values` and `annotations`".to_owned());
    };
    for (field, value) in &fields {
        match field.as_str() {
            "values" | "annotations" => {}
            "name" | "source" if value.is_string() => {}
            "name" | "source" => return Err(format!("`{field}` must be a text, is {value}")),
            _ => return Err(format!("unknown field `{field}`")),
        }
    }
    let values = values(&fields)?;
    let annotators = annotators(&fields, values.len())?;
    Ok(Series {
        name: name.to_owned(),
        values,
        annotators,
    })
}

fn values(fields: &Map<String, Value>) -> Result<Vec<f64>, String> {
    let Some(Value::Array(values)) = fields.get("values") else {
        return Err("`values` must be there and a list of numbers".to_owned());
    };
    if values.is_empty() {
        return Err("`values` is empty".to_owned());
    }
    let number = |(index, value): (usize, &Value)| {
        value
            .as_f64()
            .filter(|value| value.is_finite())
            .ok_or_else(|| format!("`values`[{index}] must be a finite number, is {value}"))
    };
    values.iter().enumerate().map(number).collect()
}

fn annotators(fields: &Map<String, Value>, count: usize) -> Result<Vec<Vec<usize>>, String> {
    let Some(Value::Object(annotators)) = fields.get("annotations") else {
        return Err("`annotations` must be there and map annotators to lists".to_owned());
    };
    annotators
        .iter()
        .map(|(annotator, points)| {
            let Value::Array(points) = points else {
                return Err(format!(
                    "`annotations`.`{annotator}` must be a list, is {points}"
                ));
            };
            points
                .iter()
                .map(|point| index(annotator, point, count))
                .collect()
        })
        .collect()
}

fn index(annotator: &str, point: &Value, count: usize) -> Result<usize, String> {
    let found = point.as_u64().and_then(|point| usize::try_from(point).ok());
    found.filter(|&point| point < count).ok_or_else(|| {
        format!("`annotations`.`{annotator}`: {point} is no index into {count} values")
    })
}
