//! Checkpoints of a case: one when its training is over and, where somebody wants them, one after each so many steps until then, so that
//! a run that is killed loses no more than these. What stands there of another training, or of as many steps, is not replaced.

use std::path::{Path, PathBuf};

use assay_protocol::Failure;

use crate::training::checkpoint::{self, CheckpointError, Standing};
use crate::training::plan::Plan;
use crate::training::run::{Training, of_parameter};

/// Where checkpoints of a training go, and when.
pub struct Keeping {
    path: Option<PathBuf>,
    every: Option<usize>,
    last: usize,
    /// The step of the last one: a training that is repeated is not written again.
    written: usize,
    /// Why the last one is not where it was to be, in words, if it is not.
    note: Option<String>,
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
            note: None,
        })
    }

    /// That nothing of another training stands where checkpoints of this one go.
    ///
    /// # Errors
    /// What stands there.
    pub fn check(&self, training: &Training) -> Result<(), Failure> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let standing = checkpoint::standing(training, path);
        standing.map(drop).map_err(of_parameter("save"))
    }

    /// Why the last checkpoint is not where it was to be, in words, if it is not.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
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
        self.note = write(training, path).map_err(of_parameter("save"))?;
        self.written = at;
        Ok(())
    }
}

/// Writes a checkpoint, unless it or a later one stands there; says in words where it is, or why it is not, unless it is there.
fn write(training: &Training, path: &Path) -> Result<Option<String>, CheckpointError> {
    let (at, path_in_words) = (training.at(), path.display());
    match checkpoint::standing(training, path)? {
        Standing::Free => checkpoint::save(training, path).map(|_| None),
        Standing::Same => Ok(None),
        Standing::Further(step) => Ok(Some(format!(
            "the checkpoint of step {at} was not written, for {path_in_words} is of the same training and has come to step {step}"
        ))),
        Standing::Other => {
            let beside = checkpoint::beside(path);
            checkpoint::save(training, &beside)?;
            Ok(Some(format!(
                "{path_in_words} is of the same training and step and has other bits: it stays, and what was found now is in {}",
                beside.display()
            )))
        }
    }
}
