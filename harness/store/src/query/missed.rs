//! Which cases gave no right result in which runs: what a history has no point of, or one that is not the whole truth.

use assay_record::BlockStatus;

use super::{Fault, named};
use crate::Store;
use crate::error::StoreError;
use crate::rows::MissedRow;

impl Store {
    /// Of all runs, the cases that have a wrong round, or none that counts, by the start of their runs: with the gravest of what their rounds say.
    pub fn missed(&self) -> Result<Vec<MissedRow>, StoreError> {
        // Few rounds do not count, and only their cases are looked at as a whole.
        let sql = "
            WITH open AS (SELECT DISTINCT run_key, case_no, arm_no FROM results WHERE NOT counts),
                 graded AS (
                     SELECT run_key, case_no, arm_no, counts, status, coalesce(reason, '') AS reason, block,
                            CASE status WHEN 'wrong' THEN 0 WHEN 'failed' THEN 1 WHEN 'skipped' THEN 2 ELSE 3 END AS grade
                     FROM results SEMI JOIN open USING (run_key, case_no, arm_no)),
                 worst AS (
                     SELECT run_key, case_no, arm_no, bool_or(counts) AS has_value, min(grade) AS grade,
                            arg_min(status, (grade, block)) AS status, arg_min(reason, (grade, block)) AS reason
                     FROM graded GROUP BY run_key, case_no, arm_no)
            SELECT run, case_id, arm, timing, definition, worst.status, worst.reason
            FROM worst JOIN cases USING (run_key, case_no, arm_no) JOIN runs USING (run_key)
            WHERE worst.grade = 0 OR (worst.grade < 3 AND NOT has_value)
            ORDER BY runs.started, run, case_no, arm_no";
        self.rows(sql, [], |row| {
            let (status, why): (String, String) = (row.get(5)?, row.get(6)?);
            Ok(MissedRow {
                run: row.get::<_, String>(0)?.parse()?,
                case: row.get(1)?,
                arm: row.get(2)?,
                timing: named(row.get(3)?)?,
                definition: row.get::<_, String>(4)?.parse()?,
                status: of_name(&status, why)?,
            })
        })
    }
}

fn of_name(status: &str, why: String) -> Result<BlockStatus, Fault> {
    Ok(match status {
        "wrong" => BlockStatus::Wrong(why),
        "failed" => BlockStatus::Failed(why),
        "skipped" => BlockStatus::Skipped(why),
        other => return Err(format!("`{other}` is no status of a round without a result").into()),
    })
}
