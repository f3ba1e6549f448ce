//! Cross-entropy of rows of logits with their labels, fused with softmax, and its gradient.
//!
//! `loss[t] = logsum[t] - x[t][label]`, `logsum[t] = max_t + ln sum_c exp(x[t][c] - max_t)`; backward `dx = scale (exp(x - logsum) -
//! [c = label])`. With `T` tokens, `V` classes and `s` bytes an element: forward `T V s` bytes and `4 T V` flops (maximum, subtraction,
//! exponential, addition), backward `2 T V s` and `4 T V`. Labels, losses and logarithms are not counted.
//!
//! A label that is none of the classes has no loss: loss and gradient of its row are no numbers, nothing is read beyond the row, and the
//! check names it ([`find_bad_label`]), on every device.
//!
//! Error of the logarithm, as of softmax (Blanchard, Higham, Higham 2021, section 4): `R + E + 2 h` roundings of the sum, where `R` is the
//! range of a row, `E` that of an exponential and `h` the height of the sum; then the logarithm, and two additions; relative to `1 + |max| +
//! |ln sum| + |x label|`.

use assay_protocol::{Failure, Philox, Work};

use super::bound::{self, EXP, LN, wide};
use super::host::{Kernel, Sink, rows_ahead};
use super::softmax::{Blocks, row_height};
use super::{DTYPES, cuda, expect, with_lane};
use crate::buffer::{Buffer, Buffers};
use crate::device::Team;
use crate::element::DType;
use crate::lane::{Lane, WIDTH};
use crate::math;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Outcome, Program, Source, cuda_source};

static SOURCE: Source = cuda_source!("ml/cross_entropy.cu");
/// Inputs are this many times a number on [-1, 1).
const SPREAD: f32 = 8.0;

/// The brick: cross-entropy of each row.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// Rows, each with a label.
    pub tokens: usize,
    /// Elements of a row, at least 1.
    pub classes: usize,
    /// Type of logits and of their gradient.
    pub dtype: DType,
}

impl CrossEntropy {
    /// Adds `losses` and `logsums`, `tokens` of `f32` each, of `logits`, `tokens` by `classes`, and `labels`, `tokens` of `u32`.
    pub fn forward(
        &self,
        program: &mut Program,
        [logits, labels]: [usize; 2],
        losses: usize,
        logsums: usize,
    ) {
        let Self {
            tokens,
            classes,
            dtype,
        } = *self;
        expect(
            program,
            "cross-entropy",
            &[
                ("logits", logits, dtype, tokens * classes),
                ("labels", labels, DType::U32, tokens),
            ],
        );
        expect(
            program,
            "cross-entropy",
            &[
                ("losses", losses, DType::F32, tokens),
                ("logsums", logsums, DType::F32, tokens),
            ],
        );
        with_lane!(
            dtype,
            forward_on_cpu(program, classes, [logits, labels, losses, logsums])
        );
        let launch = cuda::by_rows(&SOURCE, "cross_entropy", dtype, tokens, classes);
        program.launch(launch.args([losses, logsums, logits, labels].map(Arg::Buffer)));
    }

    /// Adds `dlogits`, given `logits`, `labels` and `logsums` of [`Self::forward`]. `scale` is the gradient of each loss: `1 / tokens`
    /// where their mean is what is learned.
    pub fn backward(
        &self,
        program: &mut Program,
        [logits, labels, logsums]: [usize; 3],
        scale: f32,
        dlogits: usize,
    ) {
        let Self {
            tokens,
            classes,
            dtype,
        } = *self;
        expect(
            program,
            "cross-entropy",
            &[
                ("logits", logits, dtype, tokens * classes),
                ("labels", labels, DType::U32, tokens),
            ],
        );
        expect(
            program,
            "cross-entropy",
            &[
                ("logsums", logsums, DType::F32, tokens),
                ("dlogits", dlogits, dtype, tokens * classes),
            ],
        );
        with_lane!(
            dtype,
            backward_on_cpu(program, classes, scale, [logits, labels, logsums, dlogits])
        );
        let launch = cuda::by_rows(&SOURCE, "cross_entropy_backward", dtype, tokens, classes);
        program.launch(
            launch
                .args([dlogits, logits, labels, logsums].map(Arg::Buffer))
                .args([Arg::F32(scale)]),
        );
    }
}

/// Says which label is none of the classes, if one is.
pub fn find_bad_label(labels: &[u32], classes: usize) -> Option<String> {
    let bad = labels.iter().position(|label| *label as usize >= classes)?;
    Some(format!(
        "label {} of row {bad}: expected less than the {classes} classes; correct the labels",
        labels[bad]
    ))
}

fn forward_on_cpu<T: Lane>(program: &mut Program, classes: usize, buffers: [usize; 4]) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [logits, labels, losses, logsums] = all.many(buffers);
        let inputs = team
            .split(logits.get::<T>(), classes)
            .into_iter()
            .zip(team.split(labels.get::<u32>(), 1));
        let outputs = team
            .split_mut(losses.get_mut::<f32>(), 1)
            .into_iter()
            .zip(team.split_mut(logsums.get_mut::<f32>(), 1));
        team.each(
            outputs.zip(inputs).collect(),
            |((losses, logsums), (logits, labels))| {
                let mut blocks = Blocks::default();
                let outputs = losses.iter_mut().zip(logsums.iter_mut());
                let rows = rows_ahead(logits, classes).zip(labels.iter());
                for ((loss, logsum), ([x, next], label)) in outputs.zip(rows) {
                    let [largest, sum] = blocks.exponentials([x, next], None);
                    *logsum = largest + math::ln(sum);
                    let of_label = x.get(*label as usize);
                    *loss = of_label.map_or(f32::NAN, |x| *logsum - x.widen());
                }
            },
        );
    });
}

fn backward_on_cpu<T: Lane>(
    program: &mut Program,
    classes: usize,
    scale: f32,
    buffers: [usize; 4],
) {
    program.step_on_cpu(move |team: &Team, all: &mut Buffers| {
        let [logits, labels, logsums, dlogits] = all.many(buffers);
        let traffic = 2 * logits.bytes().len();
        let inputs = team
            .split(logits.get::<T>(), classes)
            .into_iter()
            .zip(team.split(labels.get::<u32>(), 1));
        let inputs = inputs.zip(team.split(logsums.get::<f32>(), 1));
        let parts = team
            .split_mut(dlogits.get_mut::<T>(), classes)
            .into_iter()
            .zip(inputs);
        team.each(parts.collect(), |(dlogits, ((logits, labels), logsums))| {
            let mut sink = Sink::new(dlogits, traffic);
            let rows = logits
                .chunks_exact(classes)
                .zip(labels.iter().zip(logsums.iter()));
            for (r, (x, (label, logsum))) in rows.enumerate() {
                let is_class = (*label as usize) < classes;
                let kernel = Gradient {
                    // What is no number makes the whole row none.
                    logsum: if is_class { *logsum } else { f32::NAN },
                    label: *label,
                    scale,
                };
                sink.row(r * classes, &kernel, [x], []);
            }
        });
    });
}

/// The gradient of a row's logits.
struct Gradient {
    logsum: f32,
    label: u32,
    scale: f32,
}

impl Kernel<1, 1> for Gradient {
    #[inline(always)]
    #[allow(clippy::inline_always)] // takes on the features of its caller
    fn lanes(&self, first: usize, [x]: [[f32; WIDTH]; 1]) -> [[f32; WIDTH]; 1] {
        let mut out = [0.0; WIDTH];
        // Wherever the label is, it is so many elements behind the first.
        let label = self.label.wrapping_sub(first as u32);
        for (lane, (out, x)) in out.iter_mut().zip(&x).enumerate() {
            let of_label = if lane as u32 == label { 1.0 } else { 0.0 };
            *out = (math::exp(*x - self.logsum) - of_label) * self.scale;
        }
        [out]
    }
}

/// The ops: [`CrossEntropy::forward`] and [`CrossEntropy::backward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossEntropyOp {
    /// `cross-entropy`
    Forward,
    /// `cross-entropy-backward`
    Backward,
}

impl Op for CrossEntropyOp {
    fn info(&self) -> OpInfo {
        let (name, summary) = match self {
            Self::Forward => (
                "cross-entropy",
                "cross-entropy of rows of logits, fused with softmax",
            ),
            Self::Backward => (
                "cross-entropy-backward",
                "gradient of cross-entropy: softmax less the label",
            ),
        };
        OpInfo {
            name,
            summary,
            parameters: vec![
                parameters::integer("tokens"),
                parameters::integer("classes"),
                parameters::dtype(DTYPES),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let dtype = arguments.dtype(DTYPES)?;
        let classes = arguments.at_most("classes", u32::MAX as usize)?;
        let brick = CrossEntropy {
            tokens: arguments.size("tokens")?,
            classes,
            dtype,
        };
        let len = parameters::size_product("`tokens` and `classes`", &[brick.tokens, classes])?;
        let arrays = if *self == Self::Forward { 1 } else { 2 };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`tokens` and `classes`",
                &[len as u64, arrays, dtype.bytes() as u64],
            )?),
            flops: Some(parameters::product(
                "`tokens` and `classes`",
                &[len as u64, 4],
            )?),
            items: Some(brick.tokens as u64),
            formula: format!(
                "bytes = {arrays} T V sizeof(T), flops = 4 T V, items = T; T = tokens, V = classes"
            ),
        });
        let logits = program.input(
            "logits",
            dtype,
            len,
            Fill::Signed {
                stream: 0,
                scale: SPREAD,
            },
        );
        let labels = program.input(
            "labels",
            DType::U32,
            brick.tokens,
            Fill::Below {
                stream: 1,
                bound: classes as u32,
            },
        );
        if *self == Self::Forward {
            let losses = program.output("losses", DType::F32, brick.tokens);
            let logsums = program.output("logsums", DType::F32, brick.tokens);
            brick.forward(&mut program, [logits, labels], losses, logsums);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check(outcome, classes, [logits, labels, losses, logsums])
                )
            });
        } else {
            let logsums = program.input(
                "logsums",
                DType::F32,
                brick.tokens,
                Fill::Host(Box::new(fill_logsums)),
            );
            let dlogits = program.output("dlogits", dtype, len);
            brick.backward(&mut program, [logits, labels, logsums], 1.0, dlogits);
            program.check(move |outcome| {
                with_lane!(
                    dtype,
                    check_backward(outcome, classes, [logits, labels, logsums, dlogits])
                )
            });
        }
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        if parameter == "tokens" {
            size.min(4)
        } else {
            super::test_size(size)
        }
    }
}

/// Not less than any logit, as logarithms of sums are.
fn fill_logsums(buffer: &mut Buffer, seed: u64) {
    Philox::new(seed, 2).fill_signed_f32(0, buffer.get_mut());
    buffer
        .get_mut::<f32>()
        .iter_mut()
        .for_each(|x| *x += SPREAD + 1.0);
}

/// A comparison that a bad label fails, in words.
fn refusing(labels: &[u32], classes: usize, compare: impl FnOnce() -> Checked) -> Checked {
    let refused = |detail| Checked {
        error: f64::INFINITY,
        tolerance: 0.0,
        detail,
    };
    find_bad_label(labels, classes).map_or_else(compare, refused)
}

fn check<T: Lane>(
    outcome: &Outcome,
    classes: usize,
    [logits, labels, losses, logsums]: [usize; 4],
) -> Checked {
    let labels = outcome.get::<u32>(labels);
    let row = |t: usize| {
        exact(&wide(
            &outcome.get::<T>(logits)[t * classes..(t + 1) * classes],
        ))
    };
    refusing(labels, classes, || {
        let roundings = 2 * SPREAD as u64 + EXP + 2 * row_height(classes) + LN + 2;
        let of_sums = bound::compare(
            outcome.get::<f32>(logsums),
            roundings,
            "|logsum - exact| / (1 + |max| + |ln sum|)",
            |t| row(t).into(),
        );
        let of_losses = bound::compare(
            outcome.get::<f32>(losses),
            roundings + 1,
            "|loss - exact| / (1 + |max| + |ln sum| + |x label|)",
            |t| {
                let (logsum, magnitude) = row(t).into();
                let x: f64 = outcome.get::<T>(logits)[t * classes + labels[t] as usize].into();
                (logsum - x, magnitude + x.abs())
            },
        );
        bound::worst([of_sums, of_losses])
    })
}

/// The exponential's argument, of magnitude up to `R`, rounds once, which it magnifies; the difference, and the product, once each.
fn check_backward<T: Lane>(
    outcome: &Outcome,
    classes: usize,
    [logits, labels, logsums, dlogits]: [usize; 4],
) -> Checked {
    let (x, labels, logsums) = (
        outcome.get::<T>(logits),
        outcome.get::<u32>(labels),
        outcome.get::<f32>(logsums),
    );
    let roundings = 2 * SPREAD as u64 + 2 + EXP + 2;
    refusing(labels, classes, || {
        bound::compare(
            outcome.get::<T>(dlogits),
            roundings,
            "|dx - exact| / (p + [c = label])",
            |i| {
                let is_label = f64::from(u8::from(i % classes == labels[i / classes] as usize));
                let probability = (Into::<f64>::into(x[i]) - f64::from(logsums[i / classes])).exp();
                (probability - is_label, probability + is_label)
            },
        )
    })
}

/// The logarithm of the sum of exponentials, and the magnitudes that it is made of.
fn exact(x: &[f64]) -> [f64; 2] {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let above = x.iter().map(|x| (x - largest).exp()).sum::<f64>().ln();
    [largest + above, 1.0 + largest.abs() + above.abs()]
}

#[cfg(test)]
mod tests {
    use super::{exact, find_bad_label};
    use crate::gradient::{assert_gradient, numbers};

    #[test]
    fn the_reference_is_the_gradient() {
        let (x, label) = (numbers(0, 7), 3);
        let logsum = exact(&x)[0];
        let dx: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(c, x)| (x - logsum).exp() - f64::from(u8::from(c == label)))
            .collect();
        assert_gradient("cross-entropy", &dx, |x| exact(x)[0] - x[label], &x);
    }

    #[test]
    fn bad_labels_are_named() {
        assert_eq!(find_bad_label(&[0, 4, 2], 5), None);
        let words = find_bad_label(&[0, 4, 9], 5).unwrap();
        assert!(
            words.starts_with("label 9 of row 2: expected less than the 5 classes"),
            "{words}"
        );
    }
}
