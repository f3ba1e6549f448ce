//! The forward pass of a model alone, with the parameters of a training: what models are judged by.

use assay_protocol::Failure;

use super::model::{Model, Parameter};
use super::run::{REMEDY, Training};
use super::session::{Device, Session};
use super::workload::Judged;

/// A model that learns nothing, and takes its parameters from one that does.
pub struct Evaluation {
    session: Session,
    parameters: Vec<Parameter>,
    /// The step after which it has its parameters.
    at: usize,
}

impl Evaluation {
    /// Of a model whose program is its forward pass.
    ///
    /// # Errors
    /// If it does not fit into memory.
    pub fn new(model: Model, seed: u64, device: &Device) -> Result<Self, Failure> {
        Ok(Self {
            parameters: model.parameters,
            session: Session::new(model.program, seed, device)?,
            at: 0,
        })
    }

    /// Takes the parameters of a training.
    ///
    /// # Errors
    /// If a device fails.
    ///
    /// # Panics
    /// If that is of another model.
    pub fn adopt(&mut self, training: &Training) -> Result<(), Failure> {
        let own = self.parameters.iter().flat_map(Parameter::buffers);
        let of_training = training.parameters.iter().flat_map(Parameter::buffers);
        for (own, of_training) in own.zip(of_training) {
            let values = training.session().read(of_training)?;
            self.session.write(own, values.bytes())?;
        }
        self.at = training.at();
        Ok(())
    }

    /// Runs it on what it was given.
    ///
    /// # Errors
    /// If one of its `losses`, as its program calls their buffer, is no finite number: that names the step, and where that shows first. If a
    /// device fails.
    pub fn run(&mut self, losses: usize) -> Result<(), Failure> {
        self.session.run()?;
        let is_finite = |loss: &f32| loss.is_finite();
        if self
            .session
            .read(losses)?
            .get::<f32>()
            .iter()
            .all(is_finite)
        {
            return Ok(());
        }
        let named = self.session.in_order();
        let named = named.filter(|(index, name)| Model::is_named(*index, name));
        let tensor = self.session.find_bad(named.map(|(index, _)| index))?;
        let tensor = tensor.unwrap_or("losses");
        Err(Failure::Failed(format!(
            "step {}: after its update a held-out loss is not finite; the first tensor that is not is `{tensor}`; {REMEDY}",
            self.at
        )))
    }

    /// Its parameters, as references compute with them.
    ///
    /// # Errors
    /// If a device fails.
    pub fn exact_parameters(&self) -> Result<Vec<Vec<f64>>, Failure> {
        let exact = |parameter: &Parameter| {
            let values = self.session.values(parameter)?;
            Ok(values.into_iter().map(f64::from).collect())
        };
        self.parameters.iter().map(exact).collect()
    }

    /// What runs.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// The largest distance of numbers from what they should be, as a share of that where it is above 1; infinite, or no number, where one is none.
pub fn largest_difference(found: &[f32], exact: &[f64]) -> f64 {
    let differences = found.iter().zip(exact);
    differences
        .map(|(found, exact)| (f64::from(*found) - exact).abs() / exact.abs().max(1.0))
        .fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
}

/// Where a classifier has what it is given, and its answers.
pub struct Answers {
    /// Rows that it takes at once, and numbers of each.
    pub shape: [usize; 2],
    /// Their buffers: numbers, and labels.
    pub given: [usize; 2],
    /// Losses of rows.
    pub losses: usize,
    /// As many numbers of each row as there are classes.
    pub logits: usize,
}

impl Answers {
    /// The mean loss of all rows and, as `accuracy`, the share of those whose largest logit is that of their label; the
    /// losses one by one, too. The error is still to be found.
    ///
    /// # Errors
    /// If a device fails.
    pub fn judge(
        &self,
        evaluation: &mut Evaluation,
        x: &[f32],
        labels: &[u32],
    ) -> Result<(Judged, Vec<f32>), Failure> {
        let [batch, cols] = self.shape;
        let (mut found, mut right) = (vec![], 0);
        for (x, labels) in x.chunks(batch * cols).zip(labels.chunks(batch)) {
            let session = evaluation.session();
            // What is behind the last rows stays as it was.
            session.write_first(self.given[0], x)?;
            session.write_first(self.given[1], labels)?;
            evaluation.run(self.losses)?;
            let session = evaluation.session();
            let logits = session.read(self.logits)?;
            let logits = logits.get::<f32>();
            let rows = logits.chunks_exact(logits.len() / batch).zip(labels);
            right += rows.filter(|(row, label)| is_right(row, **label)).count();
            let losses = session.read(self.losses)?;
            found.extend(&losses.get::<f32>()[..labels.len()]);
        }
        let count = labels.len() as f64;
        let sum: f64 = found.iter().map(|loss| f64::from(*loss)).sum();
        let judged = Judged {
            loss: sum / count,
            error: f64::INFINITY,
            values: [("accuracy".to_owned(), right as f64 / count)].into(),
            missed: None,
        };
        Ok((judged, found))
    }
}

fn is_right(logits: &[f32], label: u32) -> bool {
    let own = logits[label as usize];
    let above = logits.iter().enumerate().filter(|(_, x)| **x >= own);
    above.count() == 1
}
