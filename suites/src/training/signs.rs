//! A wrong sign in any backward pass shows: of each step between the losses and the optimizer, of each model, whatever it writes is turned
//! around, one after the other, and some parameter's gradient is another then. (That gradients are right is checked by differences.)

use assay_kernels::buffer::Buffers;
use assay_kernels::device::Team;
use assay_kernels::element::DType;
use assay_kernels::ml::mixing::Kind;
use assay_kernels::program::CpuStep;
use assay_protocol::Philox;

use super::convnet::workload::Augmentation;
use super::corpus::Corpus;
use super::launched::case;
use super::model::Model;
use super::plan::Plan;
use super::rows::Labelled;
use super::setup::Setup;
use super::spectra::Weighted;
use super::step::TrainingStep;
use super::tokens::Tokens;
use super::{autoencoder, convnet, language, perceptron};

/// What a gradient may be off by, relative to the largest of its tensor, without anybody seeing it.
const UNSEEN: f32 = 1e-3;

/// What a step leaves that it has used up itself: with a wrong sign there, what it made of it is wrong, and that is turned around, too.
const USED_UP: [&str; 4] = ["partial-sums-", "partial-gradients-", "sums-", "scratch-"];
/// Gradients that are 0: softmax does not see what is added to all scores of a query, as a bias of keys that nothing rotates does.
const NOTHING: &str = ".attention.k.bias.gradient";

/// What a step of a program writes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Written {
    step: usize,
    buffer: usize,
}

/// A step of training on the host, up to the optimizer, from the same beginning each time.
struct Pass {
    steps: Vec<(&'static str, CpuStep)>,
    names: Vec<String>,
    losses: Vec<usize>,
    gradients: Vec<usize>,
    team: Team,
    buffers: Buffers,
    begin: Vec<Vec<u8>>,
}

fn bytes(buffers: &Buffers) -> Vec<Vec<u8>> {
    let all = buffers.0.iter();
    all.map(|buffer| buffer.bytes().to_vec()).collect()
}

impl Pass {
    fn new(step: TrainingStep) -> Self {
        let (model, team) = (step.model, Team::new(1).unwrap());
        let mut buffers = model.program.host_buffers(&team, 5).unwrap();
        disturb(&model, &mut buffers);
        let is_before = |(family, _): &(&str, CpuStep)| *family != "clipping";
        let names = model.program.buffers.iter();
        Self {
            steps: step.main.host.into_iter().take_while(is_before).collect(),
            names: names.map(|spec| spec.name.to_string()).collect(),
            losses: step.losses,
            gradients: model.parameters.iter().filter_map(|p| p.gradient).collect(),
            team,
            begin: bytes(&buffers),
            buffers,
        }
    }

    /// Numbers that steps of the backward pass write: those that come after all losses.
    fn written(&mut self) -> Vec<Written> {
        self.restart();
        let mut all: Vec<Written> = vec![];
        for step in 0..self.steps.len() {
            let before = bytes(&self.buffers);
            self.steps[step].1(&self.team, &mut self.buffers);
            let buffers = self.buffers.0.iter().zip(&before).enumerate();
            let changed = buffers.filter(|(_, (buffer, before))| buffer.bytes() != *before);
            for (buffer, (found, _)) in changed {
                if self.losses.contains(&buffer) {
                    all.clear();
                } else if found.dtype() == DType::F32 {
                    all.push(Written { step, buffer });
                }
            }
        }
        all
    }

    fn restart(&mut self) {
        for (buffer, bytes) in self.buffers.0.iter_mut().zip(&self.begin) {
            buffer.bytes_mut().copy_from_slice(bytes);
        }
    }

    /// All gradients, where what a step wrote is turned around, if any is.
    fn gradients(&mut self, turned: Option<Written>) -> Vec<Vec<f32>> {
        self.restart();
        for (index, (_, step)) in self.steps.iter_mut().enumerate() {
            step(&self.team, &mut self.buffers);
            if let Some(Written { buffer, .. }) = turned.filter(|written| written.step == index) {
                let numbers = self.buffers.0[buffer].get_mut::<f32>();
                for x in numbers.iter_mut() {
                    *x = -*x;
                }
            }
        }
        let read = |buffer: &usize| self.buffers.get::<f32>(*buffer).to_vec();
        self.gradients.iter().map(read).collect()
    }

    /// What can be turned around without anybody seeing it, in words.
    fn unseen(&mut self) -> Vec<String> {
        let right = self.gradients(None);
        let all = self.written();
        assert!(all.len() >= self.gradients.len(), "{all:?}");
        let names = self.names.clone();
        let is_looked_at = |written: &Written| {
            let name = &names[written.buffer];
            !USED_UP.iter().any(|prefix| name.starts_with(prefix)) && !name.ends_with(NOTHING)
        };
        let is_unseen = |written: &Written| !is_seen(&right, &self.gradients(Some(*written)));
        let looked_at = all.into_iter().filter(is_looked_at);
        let unseen: Vec<_> = looked_at.filter(is_unseen).collect();
        let words = |written: &Written| {
            let (family, _) = &self.steps[written.step];
            format!(
                "step {}, {family}: {}",
                written.step, self.names[written.buffer]
            )
        };
        unseen.iter().map(words).collect()
    }
}

/// Adds noise to all parameters but codes, so that none is 0, or 1.
fn disturb(model: &Model, buffers: &mut Buffers) {
    let random = Philox::new(9, 9);
    for (number, parameter) in model.parameters.iter().enumerate() {
        if parameter.scales.is_none() {
            let noise = |i: usize| 0.25 * random.signed_f32((number * 100_000 + i) as u64);
            let numbers = buffers.0[parameter.buffer].get_mut::<f32>().iter_mut();
            numbers.enumerate().for_each(|(i, x)| *x += noise(i));
        }
    }
}

/// Whether some gradient is off by more than nobody sees.
fn is_seen(right: &[Vec<f32>], found: &[Vec<f32>]) -> bool {
    let is_off = |(right, found): (&Vec<f32>, &Vec<f32>)| {
        let largest = right.iter().fold(1e-4, |most, x| x.abs().max(most));
        let pairs = right.iter().zip(found);
        let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        apart > UNSEEN * largest
    };
    right.iter().zip(found).any(is_off)
}

fn assert_seen(what: &str, step: TrainingStep) {
    let unseen = Pass::new(step).unseen();
    assert!(unseen.is_empty(), "{what}:\n{}", unseen.join("\n"));
}

#[test]
fn wrong_signs_of_decoders_show() {
    let corpus = Corpus::of_grammar(1, 3000, &Tokens::Bytes).unwrap();
    let sizes = [
        ("batch", "2"),
        ("length", "6"),
        ("layers", "2"),
        ("width", "8"),
        ("heads", "2"),
    ];
    let plain: &[(&str, &str)] = &[];
    let of_models = [
        plain,
        &[("activation", "swiglu")],
        &[("experts", "4"), ("capacity", "0.75")],
        &[("rank", "3")],
        &[("rank", "3"), ("base_stored", "int8")],
        &[("recompute", "yes")],
    ];
    for places in ["learned", "rope", "alibi"] {
        for norm in ["layernorm", "rmsnorm"] {
            for own in of_models {
                let choices = [("position", places), ("norm", norm)];
                let given = [&sizes[..], &choices, own].concat();
                let setup = Setup::of(&case(&given)).unwrap();
                let step = language::begin(&setup, &corpus).step();
                assert_seen(&format!("{choices:?} {own:?}"), step);
            }
        }
    }
}

fn numbers(stream: u64, len: usize) -> Vec<f32> {
    let mut numbers = vec![0.0; len];
    Philox::new(1, stream).fill_signed_f32(0, &mut numbers);
    numbers
}

fn labelled(rows: usize, features: usize) -> Labelled {
    Labelled {
        x: numbers(2, rows * features),
        labels: (0..rows as u32).map(|row| row % 3).collect(),
    }
}

#[test]
fn wrong_signs_of_perceptrons_show() {
    let plan = Plan::of(&case(&[])).unwrap();
    let shape = perceptron::Shape {
        batch: 5,
        features: 7,
        width: 6,
        layers: 3,
        classes: 3,
    };
    let begin = perceptron::begin(&plan, shape, &labelled(20, shape.features));
    assert_seen("a perceptron", begin.step());
}

#[test]
fn wrong_signs_of_convolutional_networks_show() {
    let plan = Plan::of(&case(&[])).unwrap();
    let shape = convnet::Shape {
        batch: 6,
        side: 6,
        channels: 2,
        width: 3,
        stages: 2,
        blocks: 1,
        classes: 3,
        drop: 1 << 30,
    };
    let augmentation = Augmentation {
        kind: Kind::Either,
        smoothing: 0.1,
    };
    let begin = convnet::workload::begin(&plan, shape, augmentation, &labelled(20, 6 * 6 * 2));
    assert_seen("a convolutional network", begin.unwrap().step());
}

#[test]
fn wrong_signs_of_autoencoders_show() {
    let plan = Plan::of(&case(&[])).unwrap();
    let shape = autoencoder::Shape {
        batch: 5,
        points: 10,
        width: 7,
        layers: 2,
        code: 3,
        beta: 0.5,
    };
    let spectra = Weighted {
        x: numbers(2, 20 * shape.points),
        w: numbers(3, 20 * shape.points)
            .iter()
            .map(|w| w.abs())
            .collect(),
    };
    assert_seen(
        "an autoencoder",
        autoencoder::workload::begin(&plan, shape, &spectra).step(),
    );
}
