//! The first steps of a training, done once more by others: whether their losses are what they were; and one that is examined.

use assay_kernels::device::host;
use assay_protocol::Failure;

use super::{Case, Subject, most};
use crate::training::beside;
use crate::training::run::{Stepped, Together, Training};

/// Steps that are done once more: by one thread, or by the GPU and by the host.
pub(super) const REPEATED: usize = 3;
/// Flops that the host may take for that.
const HOST_FLOPS: usize = 1 << 37;

impl<S: Subject> Case<S> {
    /// What does the first steps otherwise than they were done, in words: one thread of one process, the host beside a GPU, one GPU alone.
    pub(super) fn strays(&mut self) -> Result<Option<String>, Failure> {
        let plan = self.subject.plan();
        match (plan.device.is_cuda(), plan.ranks) {
            (false, _) => self.differs_alone(),
            (true, 1) => self.repeat(),
            (true, _) => self.repeat_alone(),
        }
    }

    /// The same training by others, of the same files.
    fn another(&self, team: &Together) -> Result<Training, Failure> {
        let another = self.subject.training(team)?;
        self.training.ensure_began_as(&another)?;
        Ok(another)
    }

    /// The first of some steps that one thread of one process does otherwise, in words.
    fn differs_alone(&mut self) -> Result<Option<String>, Failure> {
        let plan = self.subject.plan();
        let threads = plan.device.threads();
        match plan.ranks {
            // In the memory that the training has: there need not be as much again.
            1 => {
                self.training.restart_with(1)?;
                let found = differs(&mut self.training, &self.curve)?;
                self.training.restart_with(threads)?;
                self.with_examined(found, None)
            }
            _ => match self.another(&Together::alone(1)) {
                Ok(mut alone) => {
                    let found = differs(&mut alone, &self.curve)?;
                    alone.restart_with(threads)?;
                    self.with_examined(found, Some(alone))
                }
                Err(failure) => self.leave_out("one process alone", failure),
            },
        }
    }

    /// What was found, and what an examination of a step finds: of this training or, of several ranks, of one of all turns. A training
    /// of this process then begins again.
    fn with_examined(
        &mut self,
        found: Option<String>,
        alone: Option<Training>,
    ) -> Result<Option<String>, Failure> {
        let examined = if let Some(mut alone) = alone {
            self.subject.examine(&mut alone)?
        } else {
            let examined = self.subject.examine(&mut self.training)?;
            self.training.restart()?;
            examined
        };
        self.notes.extend(examined.notes);
        let faults: Vec<_> = found.into_iter().chain(examined.fault).collect();
        Ok((!faults.is_empty()).then(|| faults.join("; ")))
    }

    /// Says of steps that nobody did again for want of memory; any other failure is one.
    fn leave_out(&mut self, whom: &str, failure: Failure) -> Result<Option<String>, Failure> {
        let Failure::Skipped(why) = failure else {
            return Err(failure);
        };
        let words = format!("{whom} did not do the first steps: {why}");
        self.notes.push(words);
        Ok(None)
    }

    /// The same training on the host, where that can keep up with a GPU and has the memory.
    fn on_host(&mut self) -> Result<Option<Training>, Failure> {
        if !is_compared(&self.flops) {
            return Ok(None);
        }
        match self.another(&Together::alone(host::usable_cpus())) {
            Ok(on_host) => Ok(Some(on_host)),
            Err(failure) => self.leave_out("the host", failure).map(|_| None),
        }
    }

    /// Does the first steps once more, from the beginning, beside the host, where that can keep up. Says in words what is not as there.
    fn repeat(&mut self) -> Result<Option<String>, Failure> {
        let mut on_host = self.on_host()?;
        let mut strays = None;
        self.training.restart()?;
        for _ in 0..REPEATED.min(self.steps()) {
            let found = self.step()?;
            strays = strays.or(beside::strays((&self.training, found), &mut on_host)?);
        }
        drop(on_host);
        self.training.restart()?;
        self.with_examined(strays, None)
    }

    /// Does the first steps of several ranks by their first GPU alone, beside the host, where that can keep up. Says in words what is not
    /// as it was, or as there.
    fn repeat_alone(&mut self) -> Result<Option<String>, Failure> {
        let plan = self.subject.plan();
        let (ranks, team) = (plan.ranks, Together::on(plan.device.clone()));
        let mut alone = match self.another(&team) {
            Ok(alone) => alone,
            Err(failure) => return self.leave_out("one GPU alone", failure),
        };
        let mut on_host = self.on_host()?;
        let is_same = |a: f64, b: f64| {
            let is_near = !self.prepared.deterministic && beside::is_near(a, b);
            a.to_bits() == b.to_bits() || is_near
        };
        for before in self.curve.iter().take(REPEATED) {
            let found = alone.step()?;
            if !is_same(before.loss, found.loss) {
                let step = alone.at();
                let [together, alone] = [before, &found].map(|step| step.loss);
                return Ok(Some(format!(
                    "step {step} has a loss of {together} by {ranks} ranks, and of {alone} by one GPU alone"
                )));
            }
            let strays = beside::strays((&alone, found), &mut on_host)?;
            if strays.is_some() {
                return Ok(strays);
            }
        }
        drop(on_host);
        self.with_examined(None, Some(alone))
    }
}

/// The first of some steps that a training does otherwise than they were done before, in words.
fn differs(alone: &mut Training, curve: &[Stepped]) -> Result<Option<String>, Failure> {
    for before in curve.iter().take(REPEATED) {
        if alone.step()?.loss.to_bits() != before.loss.to_bits() {
            let step = alone.at();
            let words = format!(
                "step {step} gave another loss when it was repeated by one thread of one process"
            );
            return Ok(Some(words));
        }
    }
    Ok(None)
}

/// Whether the host can do some steps beside a GPU without anybody waiting long.
pub(super) fn is_compared(flops: &[(&'static str, usize)]) -> bool {
    most(flops).saturating_mul(REPEATED) <= HOST_FLOPS
}

#[cfg(test)]
mod tests {
    use super::differs;
    use crate::training::corpus::Corpus;
    use crate::training::run::Together;
    use crate::training::setup::Setup;
    use crate::training::tokens::Tokens;
    use crate::training::{language, launched};

    #[test]
    fn a_loss_of_other_bits_is_named() {
        let sizes = [
            ("batch", "2"),
            ("length", "8"),
            ("layers", "1"),
            ("width", "8"),
            ("heads", "2"),
        ];
        let setup = Setup::of(&launched::case(&sizes)).unwrap();
        let corpus = Corpus::of_grammar(1, 3000, &Tokens::Bytes).unwrap();
        let mut training = language::begin(&setup, &corpus)
            .training(&Together::alone(1))
            .unwrap();
        let mut curve: Vec<_> = (0..3).map(|_| training.step().unwrap()).collect();
        training.restart().unwrap();
        assert_eq!(differs(&mut training, &curve).unwrap(), None);
        curve[1].loss = curve[1].loss.next_up();
        training.restart().unwrap();
        let words = differs(&mut training, &curve).unwrap().unwrap();
        assert!(words.starts_with("step 2 gave another loss"), "{words}");
    }
}
