//! Examples of a data set, drawn for a turn of training, and labels that are drawn from what a model says.
//!
//! Example `b` of turn `t` is row `word(t batch + b) * rows >> 32` of the set, with the words of a Philox stream, as windows of
//! a corpus are drawn. Whatever belongs to a row (its features, its label) is drawn by the same turn; then the turn is counted on.

use assay_kernels::element::Element;
use assay_kernels::ml::draw;
use assay_kernels::program::{Fill, Role};

use super::model::Model;

/// Stream of the rows that are drawn.
const STREAM: u64 = 1 << 43;
/// Stream of labels that are drawn.
const LABEL_STREAM: u64 = 1 << 47;

/// How rows of a set are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// Rows of the set: at least one, and fewer than 2^32.
    pub rows: usize,
    /// Rows of a turn.
    pub batch: usize,
    /// Seed of the places.
    pub seed: u64,
}

impl Draw {
    /// As a brick of `assay-kernels`.
    pub fn brick(&self) -> draw::Draw {
        draw::Draw {
            rows: self.rows,
            batch: self.batch,
            seed: self.seed,
            stream: STREAM,
        }
    }

    /// The row of the set that is example `b` of a turn.
    pub fn row(&self, turn: u64, b: usize) -> usize {
        self.brick().row(turn, b)
    }

    /// Adds a set of numbers, so many a row, or of labels to a model.
    pub fn add<T: Element>(&self, model: &mut Model, name: &'static str, set: &[T]) -> usize {
        let (len, set) = (set.len(), set.to_vec());
        let fill = Fill::Host(Box::new(move |buffer, _| {
            buffer.get_mut::<T>().copy_from_slice(&set);
        }));
        let program = &mut model.program;
        program.add(name, T::DTYPE, len, Role::Input, fill)
    }

    /// Appends the drawing of a turn's rows from `set` into `out`.
    ///
    /// # Panics
    /// If these do not have whole rows of one size.
    pub fn append(&self, model: &mut Model, turn: usize, set: usize, out: usize) {
        model.program.belongs_to("data");
        self.brick().forward(&mut model.program, turn, set, out);
    }

    /// Appends the counting of the turn: the rows of the next one come next.
    pub fn count(model: &mut Model, turn: usize) {
        model.program.belongs_to("data");
        draw::count(&mut model.program, turn);
    }
}

/// Appends the drawing of a label for each of so many rows of logits, of so many classes, from what these say.
pub fn labels(
    model: &mut Model,
    (seed, [rows, classes]): (u64, [usize; 2]),
    turn: usize,
    [logits, labels]: [usize; 2],
) {
    let brick = draw::Labels {
        rows,
        classes,
        seed,
        stream: LABEL_STREAM,
    };
    model.program.belongs_to("curvature");
    brick.forward(&mut model.program, turn, logits, labels);
}

#[cfg(test)]
mod tests {
    use assay_kernels::device::Team;
    use assay_kernels::element::DType;
    use assay_kernels::program::{Fill, Role};

    use super::Draw;
    use crate::training::model::Model;

    #[test]
    fn rows_and_their_labels_are_drawn_together_by_any_team() {
        let draw = Draw {
            rows: 50,
            batch: 7,
            seed: 3,
        };
        let run = |threads: usize| {
            let mut model = Model::new(0, true);
            let set: Vec<f32> = (0..150_u16).map(|i| f32::from(i / 3)).collect();
            let set = draw.add(&mut model, "set", &set);
            let labels: Vec<u32> = (0..50).collect();
            let labels = draw.add(&mut model, "all", &labels);
            let mut add = |name: &'static str, dtype, len| {
                model
                    .program
                    .add(name, dtype, len, Role::Scratch, Fill::Zero)
            };
            let turn = add("turn", DType::U64, 1);
            let (x, y) = (add("x", DType::F32, 21), add("y", DType::U32, 7));
            draw.append(&mut model, turn, set, x);
            draw.append(&mut model, turn, labels, y);
            Draw::count(&mut model, turn);
            let team = Team::new(threads).unwrap();
            let mut buffers = model.program.host_buffers(&team, 0).unwrap();
            model.program.take_cpu().unwrap()(&team, &mut buffers, 2);
            assert_eq!(buffers.get::<u64>(turn), [2]);
            let labels = buffers.get::<u32>(y).to_vec();
            (buffers.get::<f32>(x).to_vec(), labels)
        };
        let (x, y) = run(1);
        assert_eq!((x.clone(), y.clone()), run(3));
        let expected = (0..7).map(|b| draw.row(1, b) as u32);
        assert!(y.iter().copied().eq(expected), "{y:?}");
        for (row, label) in x.chunks_exact(3).zip(&y) {
            assert!(row.iter().all(|x| *x as u32 == *label), "{row:?} {label}");
        }
    }
}
