//! The step that is timed, examined at its whole size: its losses, gradients and updates, against what can be had of any size.
//!
//! No reference affords a step of a large model, and no host keeps up with a GPU. But windows that are all the same have the loss and the
//! gradients of one of them, however many there are: so one window is written to wherever those of some turns begin in the corpus of a
//! training, and of its program, on its device, nothing is changed. On the host that one window costs a share of a step.
//!
//! | of the step                                         | is held against                                              |
//! |-----------------------------------------------------|--------------------------------------------------------------|
//! | first losses of the first and the last window, of ordinary text | the [reference](super::reference) in `f64`       |
//! | losses of all tokens, gradients of all tensors      | those of one window on the host, in `f32`                    |
//! | gradients on the host, of the same parameters       | differences of the reference, along a [`direction`]          |
//! | parameters and states, some of each tensor          | the [rule](update) of the optimizer, with its bound          |
//!
//! So a wrong op is seen at the sizes that are timed, in whatever type, on whatever device; and one that is wrong in each implementation,
//! in the reference of another code. What is not seen: what a window takes from another one in its last tokens, for these are compared where
//! all windows are the same; choices of experts for which some window had no slot, and losses and gradients of experts in 16 bits, whose
//! roundings choose others; and of 16 bits what is less than their roundings, some hundredths of a tensor's gradient.

mod direction;
mod update;

use assay_kernels::device::memory;
use assay_kernels::element::{DType, Real as _};
use assay_kernels::ml::moe::NOWHERE;
use assay_kernels::ml::optimizer::Optimizer;
use assay_kernels::ml::optimizer::rules::Sgd;
use assay_kernels::ml::windows::Windows;
use assay_kernels::program::{Fill, Program, Role};
use assay_protocol::{Failure, Work};

use super::beside;
use super::language::{self, CORPUS, GIVEN};
use super::reference::{self, softmax_loss};
use super::run::{Together, Training};
use super::session::{Device, Session};
use super::setup::Setup;
use direction::Direction;
use update::Before;

/// Turns that are looked at for windows that do not overlap.
const MOST_TURNS: u64 = 4096;
/// Steps that may be passed over before one is taken, where losses are scaled.
const MOST_SKIPPED: usize = 40;
/// Roundings of a token on its way through a layer.
const ROUNDINGS: usize = 10;
/// How many deviations of what roundings come to are no fault: of sums, whose terms are not all alike, and of numbers of 16 bits.
const OF_SUMS: f64 = 4.0;
const OF_STORED: f64 = 2.0;

/// Products and sums that the reference may take for the tokens that it computes, each time; and how many it computes whatever that takes.
const REFERENCE_FLOPS: usize = 1 << 28;
const LEAST_TOKENS: usize = 8;

/// What an examination came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examined {
    /// What is wrong, if anything is.
    pub fault: Option<String>,
    /// What was compared, and what was not, in words.
    pub notes: Vec<String>,
}

impl Examined {
    fn wrong(words: &str) -> Self {
        Self {
            fault: Some(format!("examined step: {words}")),
            notes: vec![],
        }
    }

    fn note(&mut self, words: &str) {
        self.notes.push(format!("examined step: {words}"));
    }
}

/// How far numbers may be from those of exact arithmetic, as a share: roundings of all layers, one after the other, and those of sums, of
/// each the root of how many there are.
fn tolerance(setup: &Setup, stored: DType) -> f64 {
    let shape = &setup.shape;
    let depth = (ROUNDINGS * shape.layers + 2) as f64;
    let longest = shape.vocabulary.max(4 * shape.width).max(shape.tokens());
    let of_sums = f32::UNIT_ROUNDOFF * (depth * longest as f64).sqrt();
    let of_stored = match stored {
        DType::Bf16 => half::bf16::UNIT_ROUNDOFF,
        DType::F16 => half::f16::UNIT_ROUNDOFF,
        _ => 0.0,
    };
    OF_SUMS * of_sums + OF_STORED * of_stored * depth.sqrt()
}

/// How far losses may be from those of exact arithmetic, in nats: as far as logits may be, by their deviation from each other, and the rounding
/// of the largest loss itself.
fn of_losses(share: f64, logits: &[Vec<f64>], losses: &[f64]) -> f64 {
    let of_row = |row: &Vec<f64>| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let squares = row.iter().map(|x| (x - mean).powi(2));
        squares.sum::<f64>() / row.len() as f64
    };
    let variances = logits.iter().map(of_row).sum::<f64>() / logits.len() as f64;
    let largest = losses.iter().copied().fold(0.0, f64::max);
    share * variances.sqrt() + OF_SUMS * f32::UNIT_ROUNDOFF * largest
}

/// The largest distance of losses from what they should be; no number, where one is none.
fn furthest_loss(found: &[f32], exact: &[f64]) -> f64 {
    let apart = found.iter().zip(exact);
    apart
        .map(|(found, exact)| (f64::from(*found) - exact).abs())
        .fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
}

/// Examines the step of a training, by its setup and the tokens that it is trained on.
///
/// # Errors
/// If a device fails.
pub fn step(setup: &Setup, tokens: &[u32], training: &mut Training) -> Result<Examined, Failure> {
    let mut examined = Examined::default();
    training.restart()?;
    // Away from where it begins, where biases and adapters have nothing to say.
    training.step()?;
    if let Some(words) = of_text(setup, training, &mut examined)? {
        return Ok(Examined::wrong(&words));
    }
    let windows = language::windows(setup, tokens.len());
    let Some((turn, begins)) = apart(&windows, setup.plan.recipe.accumulation)? else {
        examined.note("the text has no room for windows that are all the same, so its gradients were not compared");
        return Ok(examined);
    };
    let window = tokens[begins[0]..][..=windows.length].to_vec();
    let host = one(setup, windows.length, &window, training);
    let Some(mut host) = unless_lacking(host, &mut examined)? else {
        return Ok(examined);
    };
    // First, while both have the same parameters.
    if let Some(words) = of_differences(setup, &window, training, &mut examined)? {
        return Ok(Examined::wrong(&words));
    }
    host.step()?;
    let before = repeat(training, tokens, (turn, &begins), &window)?;
    let Some(before) = before else {
        examined
            .note("no step was taken, for its gradients were no numbers at any scale of the loss");
        return Ok(examined);
    };
    let fault = match before.strays(training)? {
        Some(words) => Some(words),
        None => beside_one(setup, training, &host, &mut examined)?,
    };
    Ok(fault.map_or(examined, |words| Examined::wrong(&words)))
}

/// What is said where that is so.
const OTHER_EXPERTS: &str = "what is rounded to 16 bits may choose other experts, so losses and gradients were not compared";

/// Whether roundings may choose other experts, by which losses are others and no worse.
fn chooses_otherwise(setup: &Setup) -> bool {
    setup.shape.routing.is_some() && setup.plan.recipe.stored != DType::F32
}

/// What there was, unless memory was lacking: then that is noted.
fn unless_lacking<T>(
    found: Result<T, Failure>,
    examined: &mut Examined,
) -> Result<Option<T>, Failure> {
    match found {
        Err(Failure::Skipped(why)) => {
            examined.note(&format!("the host did not do it: {why}"));
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// A step of ordinary text, of which the first losses of the first window and, where none depends on other windows, of the last are those
/// of the reference; or words.
fn of_text(
    setup: &Setup,
    training: &mut Training,
    examined: &mut Examined,
) -> Result<Option<String>, Failure> {
    if chooses_otherwise(setup) {
        examined.note(OTHER_EXPERTS);
        return Ok(None);
    }
    // As they are in f64, beside how they are read.
    let fits = memory::ensure_fits(12 * training.size() as u64);
    if unless_lacking(fits, examined)?.is_none() {
        return Ok(None);
    }
    let exact = exact(training)?;
    training.step()?;
    let shape = &setup.shape;
    let count = of_reference(training.size(), shape.length);
    let windows = match shape.routing {
        Some(_) => vec![0],
        None => vec![0, shape.batch - 1],
    };
    let given = GIVEN.map(|name| read(training, name));
    let [ids, labels] = given;
    let (ids, labels) = (ids?, labels?);
    let losses = training.losses()?.pop().unwrap_or_default();
    let of_type = tolerance(setup, setup.plan.recipe.stored);
    let mut furthest = 0.0_f64;
    for window in windows {
        let place = window * shape.length;
        let part = place..place + count;
        let (logits, _) = reference::logits(shape, &exact, &ids[part.clone()]);
        let pairs = logits.iter().zip(&labels[part.clone()]);
        let expected = pairs.map(|(logits, label)| softmax_loss(logits, *label as usize));
        let expected: Vec<_> = expected.collect();
        let tolerance = of_losses(of_type, &logits, &expected);
        let apart = furthest_loss(&losses[part], &expected);
        // What is no number is none.
        if apart <= tolerance {
            furthest = furthest.max(apart / tolerance);
            continue;
        }
        return Ok(Some(format!(
            "a loss of window {window} lies {apart:.2e} nats from that in f64, {tolerance:.1e} allowed"
        )));
    }
    examined.note(&format!(
        "losses of {count} tokens of the first and the last window lie within {furthest:.2} of what is allowed from those in f64"
    ));
    Ok(None)
}

/// Tokens of a window that the reference can compute, of a model of so many parameters.
fn of_reference(size: usize, length: usize) -> usize {
    (REFERENCE_FLOPS / (2 * size)).clamp(LEAST_TOKENS.min(length), length)
}

/// Parameters as the reference computes with them.
fn exact(training: &Training) -> Result<Vec<Vec<f64>>, Failure> {
    let parameters = training.parameters.iter();
    let exact = parameters.map(|p| {
        let values = training.values(p)?;
        Ok(values.into_iter().map(f64::from).collect())
    });
    exact.collect()
}

fn read(training: &Training, name: &str) -> Result<Vec<u32>, Failure> {
    let buffer = named(training, name)?;
    Ok(training.session().read(buffer)?.get::<u32>().to_vec())
}

/// A buffer that every training of a language model has.
fn named(training: &Training, name: &str) -> Result<usize, Failure> {
    let found = training.session().find(name);
    found.ok_or_else(|| Failure::Failed(format!("the training has no buffer `{name}`")))
}

/// The first turn from which on the windows of so many turns do not overlap, and where they begin; the brick itself tells, of a corpus that is
/// made of places.
fn apart(windows: &Windows, turns: usize) -> Result<Option<(u64, Vec<usize>)>, Failure> {
    let count = turns * windows.batch;
    if count.saturating_mul(windows.length + 1) > windows.corpus {
        return Ok(None);
    }
    let mut program = Program::new(Work::default());
    let places = Fill::Host(Box::new(|buffer, _| {
        let places = buffer.get_mut::<u32>().iter_mut();
        places.zip(0..).for_each(|(token, place)| *token = place);
    }));
    let scratch = Role::Scratch;
    let corpus = program.add(CORPUS, DType::U32, windows.corpus, Role::Input, places);
    let turn = program.add("turn", DType::U64, 1, scratch, Fill::Zero);
    let len = windows.batch * windows.length;
    let given = GIVEN.map(|name| program.add(name, DType::U32, len, scratch, Fill::Zero));
    windows.forward(&mut program, corpus, turn, given);
    let mut session = Session::new(program, 0, &Device::Host(1))?;
    let mut begins: Vec<usize> = vec![];
    for turn in 1..=MOST_TURNS {
        session.run()?;
        let ids = session.read(given[0])?;
        let firsts = ids.get::<u32>().iter().step_by(windows.length);
        begins.extend(firsts.map(|first| *first as usize));
        begins.drain(..begins.len().saturating_sub(count));
        if begins.len() == count && are_apart(&begins, windows.length) {
            return Ok(Some((turn - turns as u64, begins)));
        }
    }
    Ok(None)
}

/// Whether windows that begin here, and the token behind each, do not overlap.
fn are_apart(begins: &[usize], length: usize) -> bool {
    let mut begins = begins.to_vec();
    begins.sort_unstable();
    begins.windows(2).all(|pair| pair[1] - pair[0] > length)
}

/// A training of one window of so many tokens on the host, in `f32`, with the parameters that a training has.
fn one(
    setup: &Setup,
    length: usize,
    window: &[u32],
    training: &Training,
) -> Result<Training, Failure> {
    let mut setup = setup.clone();
    setup.base = None;
    setup.shape.batch = 1;
    setup.shape.length = length;
    let plan = &mut setup.plan;
    if let Some(routing) = &mut setup.shape.routing {
        // One turn has all of it.
        routing.balance *= plan.recipe.accumulation as f32;
    }
    plan.resume = None;
    plan.recipe.accumulation = 1;
    plan.recipe.stored = DType::F32;
    // Nobody looks at its updates.
    plan.recipe.optimizer = Optimizer::Sgd(Sgd::default());
    let team = Together::alone(plan.device.threads());
    let mut host = language::begin_on(&setup, window).training(&team)?;
    adopt(&mut host, training)?;
    Ok(host)
}

/// Gives one training the parameters of another; of places the first ones, where it has fewer.
fn adopt(host: &mut Training, training: &Training) -> Result<(), Failure> {
    let pairs = host.parameters.iter().zip(&training.parameters);
    let pairs: Vec<_> = pairs
        .flat_map(|(own, other)| own.buffers().zip(other.buffers()).collect::<Vec<_>>())
        .collect();
    for (own, other) in pairs {
        let found = training.session().read(other)?;
        let len = host.session().read(own)?.bytes().len();
        host.write(own, &found.bytes()[..len])?;
    }
    Ok(())
}

/// Whether gradients on the host belong to losses of the reference, of as many tokens as that can compute; or words.
fn of_differences(
    setup: &Setup,
    window: &[u32],
    training: &Training,
    examined: &mut Examined,
) -> Result<Option<String>, Failure> {
    let count = of_reference(training.size(), setup.shape.length);
    let plain = {
        let mut plain = setup.clone();
        let recipe = &mut plain.plan.recipe;
        recipe.centralises = false;
        recipe.most_of_unit = f32::INFINITY;
        plain
    };
    let host = one(&plain, count, &window[..=count], training);
    let Some(mut host) = unless_lacking(host, examined)? else {
        return Ok(None);
    };
    let fits = memory::ensure_fits(24 * training.size() as u64);
    if unless_lacking(fits, examined)?.is_none() {
        return Ok(None);
    }
    let parameters = exact(&host)?;
    host.step()?;
    let direction = Direction::of(&host)?;
    let mut shape = setup.shape;
    (shape.batch, shape.length) = (1, count);
    if let Some(routing) = &mut shape.routing {
        routing.balance *= setup.plan.recipe.accumulation as f32;
    }
    let loss = |parameters: &[Vec<f64>]| {
        let [ids, labels] = [&window[..count], &window[1..=count]];
        let (losses, balance) = reference::losses(&shape, parameters, ids, labels);
        losses.iter().sum::<f64>() / count as f64 + balance
    };
    let error = direction.error(&parameters, loss);
    let tolerance = direction.tolerance(tolerance(setup, DType::F32));
    // What is no number is none.
    if error <= tolerance {
        examined.note(&format!(
            "gradients on the host lie {error:.1e} from differences of losses of {count} tokens in f64, {tolerance:.1e} allowed"
        ));
        return Ok(None);
    }
    Ok(Some(format!(
        "gradients on the host are not those of losses in f64: along a direction in which each tensor changes the loss by about 1, they \
         lie {error:.2e} apart, {tolerance:.1e} allowed"
    )))
}

/// Takes a step whose windows are all the same. Gives what some parameters were before, unless none was taken.
fn repeat(
    training: &mut Training,
    tokens: &[u32],
    (turn, begins): (u64, &[usize]),
    window: &[u32],
) -> Result<Option<Before>, Failure> {
    let mut tokens = tokens.to_vec();
    for begin in begins {
        tokens[*begin..][..window.len()].copy_from_slice(window);
    }
    let corpus = named(training, CORPUS)?;
    training.write(corpus, assay_kernels::element::bytes(&tokens))?;
    for _ in 0..MOST_SKIPPED {
        training.set_turn(turn)?;
        let before = Before::of(training)?;
        training.step()?;
        if before.is_taken(training)? {
            return Ok(Some(before));
        }
    }
    Ok(None)
}

/// What of a step whose windows are all the same is not as that of one on the host, in words.
fn beside_one(
    setup: &Setup,
    training: &Training,
    host: &Training,
    examined: &mut Examined,
) -> Result<Option<String>, Failure> {
    if chooses_otherwise(setup) {
        return Ok(None);
    }
    let tolerance = tolerance(setup, setup.plan.recipe.stored);
    for training in [training, host] {
        let watched = training.watched()?;
        let mut slots = watched.iter().flat_map(|slots| slots.get::<u32>());
        if slots.any(|slot| *slot == NOWHERE) {
            examined.note("some tokens found no slot of their expert, and so windows differ: gradients were not compared");
            return Ok(None);
        }
    }
    let expected: Vec<_> = host.losses()?.concat().into_iter().map(f64::from).collect();
    let logits = host.session().read(named(host, "logits")?)?;
    let logits = logits.get::<f32>().chunks_exact(setup.shape.vocabulary);
    let logits: Vec<Vec<f64>> = logits
        .map(|row| row.iter().map(|x| f64::from(*x)).collect())
        .collect();
    let of_losses = of_losses(tolerance, &logits, &expected);
    let mut furthest = 0.0_f64;
    for (turn, losses) in training.losses()?.iter().enumerate() {
        for (number, found) in losses.chunks_exact(expected.len()).enumerate() {
            let apart = furthest_loss(found, &expected);
            if apart <= of_losses {
                furthest = furthest.max(apart);
                continue;
            }
            return Ok(Some(format!(
                "a loss of window {number} of turn {turn} lies {apart:.2e} nats from that on the host, {of_losses:.1e} allowed"
            )));
        }
    }
    let apart = beside::furthest([training, host])?;
    match apart {
        Some((name, apart)) if apart > tolerance || apart.is_nan() => Ok(Some(format!(
            "the gradient of `{name}` is not that on the host: it lies {apart:.2e} of its norm apart, {tolerance:.1e} allowed"
        ))),
        Some((_, apart)) => {
            examined.note(&format!(
                "of windows that are all the same losses lie {furthest:.1e} nats from those of one on the host at most, {of_losses:.1e} allowed, gradients {apart:.1e} of their norms, \
                 {tolerance:.1e} allowed; updates are those of the optimizer"
            ));
            Ok(None)
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
