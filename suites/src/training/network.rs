//! What is trained, as a step of training sees it: something that appends turns to a model.

use super::model::Model;

/// Layers with their data: all of a model but clipping and the optimizer.
pub trait Network {
    /// Losses that a turn has: of tokens, rows, pictures, spectra.
    fn losses(&self) -> usize;

    /// Appends a turn: the next examples, by `turn`, one `u64` that it counts on, then their losses, and the gradients of
    /// all parameters that are trained, where that of each loss is `scale`.
    fn turn(&self, model: &mut Model, turn: usize, losses: usize, scale: f32);

    /// Appends a turn whose labels are drawn from what the model says, and the gradients of all parameters, where those of losses are
    /// those of their mean; gives how many examples that is. `None` where there are no labels that could be drawn.
    fn curvature(&self, _: &mut Model, _turn: usize) -> Option<usize> {
        None
    }

    /// Buffers that somebody wants to see after a step.
    fn watched(&self, _: &mut Model) -> Vec<usize> {
        vec![]
    }
}
