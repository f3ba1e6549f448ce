//! What the cases of records in a row have in common: of a history of runs nearly all, so it is worked out once.

use std::sync::Arc;

use assay_record::{Case, Recent, Record, Shared};
use duckdb::arrow::array::ArrayRef;

use super::{Fault, key_of, name_of};
use crate::columns;

/// Of each case on each arm, the arms of one case together.
pub struct Same {
    /// Key of its series, all metrics together.
    pub series: Vec<i64>,
    /// Columns of the table `cases`: from `case_no` to `arm`, and from `benchmark` to `definition`.
    pub places: [ArrayRef; 5],
    pub said: [ArrayRef; 6],
}

impl Same {
    fn of(record: &Record) -> Result<Self, Fault> {
        let header = &record.header;
        let manifest = &header.manifest;
        let (mut rows, mut series) = (Vec::new(), Vec::new());
        for (case_no, case) in (0i32..).zip(&manifest.cases) {
            let (timing, definition) = (name_of(&case.timing)?, case.definition.to_string());
            for (arm_no, arm) in (0i32..).zip(&manifest.arms) {
                series.push(key_of(&[
                    &manifest.suite.name,
                    &case.id,
                    &timing,
                    &definition,
                    &header.machine.name,
                    &arm.name,
                ]));
                rows.push((
                    case_no,
                    arm_no,
                    case,
                    arm,
                    timing.clone(),
                    definition.clone(),
                ));
            }
        }
        let rows = &rows;
        Ok(Self {
            places: [
                columns::ints(rows.iter().map(|row| row.0)),
                columns::ints(rows.iter().map(|row| row.1)),
                columns::longs(series.iter().copied()),
                columns::texts(rows.iter().map(|row| row.2.id.as_str())),
                columns::texts(rows.iter().map(|row| row.3.name.as_str())),
            ],
            said: [
                columns::texts(rows.iter().map(|row| row.2.benchmark.as_str())),
                columns::texts(rows.iter().map(|row| row.2.workload.name())),
                columns::json(rows.iter().map(|row| &row.2.params))?,
                columns::texts(rows.iter().map(|row| row.2.device.kind.to_string())),
                columns::texts(rows.iter().map(|row| row.4.as_str())),
                columns::texts(rows.iter().map(|row| row.5.as_str())),
            ],
            series,
        })
    }
}

/// That of the last records.
#[derive(Default)]
pub struct LastSame(Recent<(Asked, Arc<Same>)>);

/// What it follows from.
#[derive(PartialEq)]
struct Asked {
    cases: Shared<Vec<Case>>,
    arms: Vec<String>,
    suite: String,
    machine: String,
}

impl LastSame {
    /// Of a record.
    pub fn of(&mut self, record: &Record) -> Result<Arc<Same>, Fault> {
        let header = &record.header;
        let manifest = &header.manifest;
        let known = self.0.find(|(asked, _)| {
            let arms = manifest.arms.iter().map(|arm| &arm.name);
            asked.suite == manifest.suite.name
                && asked.machine == header.machine.name
                && asked.arms.iter().eq(arms)
                && asked.cases == manifest.cases
        });
        if let Some((_, same)) = known {
            return Ok(Arc::clone(same));
        }
        let same = Arc::new(Same::of(record)?);
        let asked = Asked {
            cases: manifest.cases.clone(),
            arms: manifest.arms.iter().map(|arm| arm.name.clone()).collect(),
            suite: manifest.suite.name.clone(),
            machine: header.machine.name.clone(),
        };
        self.0.add((asked, Arc::clone(&same)), same.series.len());
        Ok(same)
    }
}
