//! Checkpoints of a case: one when its training is over and, where somebody wants them, one after each so many steps until then, so that
//! a run that is killed loses no more than these.

use std::path::PathBuf;

use assay_protocol::Failure;

use crate::training::checkpoint;
use crate::training::plan::Plan;
use crate::training::run::{Training, of_parameter};

/// Where checkpoints of a training go, and when.
pub struct Keeping {
    path: Option<PathBuf>,
    every: Option<usize>,
    last: usize,
    /// The step of the last one: a training that is repeated is not written again.
    written: usize,
}

impl Keeping {
    /// As a plan has it.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn of(plan: &Plan) -> Result<Self, Failure> {
        if let Some(path) = &plan.save {
            checkpoint::check_place(path).map_err(of_parameter("save"))?;
        }
        Ok(Self {
            path: plan.save.clone(),
            every: plan.save_every,
            last: plan.last(),
            written: 0,
        })
    }

    /// Writes one, if it is time for it.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn keep(&mut self, training: &Training) -> Result<(), Failure> {
        let at = training.at();
        let is_due = at == self.last || self.every.is_some_and(|every| at.is_multiple_of(every));
        let is_new = at > self.written.max(training.first());
        let Some(path) = self.path.as_ref().filter(|_| is_due && is_new) else {
            return Ok(());
        };
        checkpoint::save(training, path).map_err(of_parameter("save"))?;
        self.written = at;
        Ok(())
    }
}
