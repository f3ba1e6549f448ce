//! Verdicts as their users see them: on stores of made-up records, and on simulated machines. One binary, for it links DuckDB.

mod by_commit;
mod calibration;
mod ceilings;
mod comparison;
mod confirmed;
mod energy;
mod gate;
mod history;
mod marks;
mod nights;
mod reproduction;
mod settled;
mod simulation;
mod summaries;
