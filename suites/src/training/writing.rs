//! Lines that a language model writes: each byte is drawn from what the model says after those before.
//!
//! A line begins behind the end of another one, and ends with one, or after so many bytes. Its bytes are a function of model,
//! temperature, seed and the line's number. Where a line is longer than the sequences that the model was trained on, it goes on from
//! the second half of them.

mod network;

use std::collections::VecDeque;
use std::path::Path;

use rayon::prelude::*;

use super::checkpoint::{self, CheckpointError};
use super::decoder::{Decoder, Shape};
use super::model::Model;
use super::{reference, setup};
use crate::synthetic::random::{Bits as _, Draws};
use network::{Network, Past};

/// Random stream of the draws of a line.
const STREAM: u64 = 25;
/// Lines that are written side by side, so that the parameters are read once for all of them.
const TOGETHER: usize = 16;
const END: u32 = b'\n' as u32;
/// How far shares of probability in `f32` may lie from those in `f64`.
const ROUNDING: f64 = 1e-4;

/// The shape of a checkpoint's language model, and its parameters in their order.
///
/// # Errors
/// If the file cannot be read, is damaged, or is of no language model.
pub fn read(path: &Path) -> Result<(Shape, Vec<Vec<f32>>), CheckpointError> {
    let mut found = None;
    let parameters = checkpoint::parameters(path, |facts| {
        let words = facts
            .get(setup::MODEL)
            .ok_or("it does not say of what model it is: no language model wrote it")?;
        let shape = setup::shape_of_words(words)?;
        let mut model = Model::new(0, false);
        Decoder::new(&mut model, shape);
        found = Some(shape);
        Ok(model.parameters)
    })?;
    let shape = found.ok_or_else(|| CheckpointError::Refused {
        path: path.to_owned(),
        what: "it is of no model".into(),
    })?;
    Ok((shape, parameters))
}

/// A model that writes.
pub struct Writer {
    network: Network,
    /// What logits are divided by.
    temperature: f64,
    /// Bytes of a line at most, without its end.
    most_bytes: usize,
}

/// A line on its way.
struct Line {
    number: usize,
    draws: Draws,
    past: Past,
    /// Tokens that the model was not told yet.
    waiting: VecDeque<u32>,
    bytes: Vec<u8>,
}

impl Writer {
    /// A model with its parameters, in the order in which it added them; `None` where they are too few.
    pub fn new(
        shape: Shape,
        parameters: Vec<Vec<f32>>,
        temperature: f64,
        most_bytes: usize,
    ) -> Option<Self> {
        Some(Self {
            network: Network::new(shape, parameters)?,
            temperature,
            most_bytes,
        })
    }

    /// The shape of the model.
    pub fn shape(&self) -> &Shape {
        self.network.shape()
    }

    /// Lines `first .. first + lines` under a seed, without their ends.
    pub fn lines(&self, seed: u64, first: u64, lines: usize) -> Vec<Vec<u8>> {
        let starts: Vec<usize> = (0..lines).step_by(TOGETHER).collect();
        let of_start = |start: &usize| {
            let count = TOGETHER.min(lines - start);
            self.some_lines(seed, first + *start as u64, count)
        };
        starts.par_iter().flat_map_iter(of_start).collect()
    }

    fn some_lines(&self, seed: u64, first: u64, count: usize) -> Vec<Vec<u8>> {
        let begin = |number| Line {
            number,
            draws: Draws::of_row(seed, STREAM, first + number as u64),
            past: Past::default(),
            waiting: [END].into(),
            bytes: vec![],
        };
        let mut on_their_way: Vec<Line> = (0..count).map(begin).collect();
        let mut done = vec![vec![]; count];
        while !on_their_way.is_empty() {
            self.step(&mut on_their_way);
            for place in (0..on_their_way.len()).rev() {
                if on_their_way[place].waiting.is_empty() {
                    let line = on_their_way.swap_remove(place);
                    done[line.number] = line.bytes;
                }
            }
        }
        done
    }

    /// Tells the model a token of each line; where none waits behind it, another one is drawn, or the line is over.
    fn step(&self, lines: &mut [Line]) {
        let length = self.shape().length;
        let tokens: Vec<u32> = lines
            .iter_mut()
            .map(|line| line.waiting.pop_front().unwrap_or(END))
            .collect();
        let mut pasts: Vec<&mut Past> = lines.iter_mut().map(|line| &mut line.past).collect();
        let logits = self.network.step(&mut pasts, &tokens);
        let classes = logits.len() / lines.len();
        for (line, logits) in lines.iter_mut().zip(logits.chunks_exact(classes)) {
            if !line.waiting.is_empty() {
                continue;
            }
            let token = self.draw(logits, line.draws.unit());
            if token == END || line.bytes.len() == self.most_bytes {
                continue;
            }
            line.bytes.push(token as u8);
            line.waiting.push_back(token);
            if line.past.len == length {
                line.past = Past::default();
                let half = line.bytes.len().saturating_sub(length.div_ceil(2));
                line.waiting = line.bytes[half..]
                    .iter()
                    .map(|byte| u32::from(*byte))
                    .collect();
            }
        }
    }

    /// The first class up to which more than a share of all probability lies.
    fn draw(&self, logits: &[f32], share: f64) -> u32 {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: &f32| libm::exp(f64::from(*logit - largest) / self.temperature);
        let weights: Vec<f64> = logits.iter().map(weight).collect();
        let mut rest = share * weights.iter().sum::<f64>();
        let found = weights.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        found.unwrap_or(weights.len() - 1) as u32
    }

    /// Whether the bytes of a line are those that its draws give by a [reference](super::reference) in `f64`, of `parameters` in their
    /// order; as far as the first sequence of the model goes. A draw that lies closer to another byte than `f32` can tell may be either.
    ///
    /// # Errors
    /// The byte that is another one.
    pub fn check(
        &self,
        parameters: &[Vec<f64>],
        (seed, line): (u64, u64),
        bytes: &[u8],
    ) -> Result<(), String> {
        let bytes = bytes.strip_suffix(b"\n").ok_or("no end of a line")?;
        let told = [END]
            .into_iter()
            .chain(bytes.iter().map(|byte| u32::from(*byte)));
        let ids: Vec<u32> = told.take(self.shape().length).collect();
        let (logits, _) = reference::logits(self.shape(), parameters, &ids);
        let mut draws = Draws::of_row(seed, STREAM, line);
        for (place, logits) in logits.iter().enumerate() {
            let share = draws.unit();
            let found = bytes.get(place).map_or(END, |byte| u32::from(*byte));
            if place == self.most_bytes {
                break;
            }
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weight = |logit: &f64| ((logit - largest) / self.temperature).exp();
            let weights: Vec<f64> = logits.iter().map(weight).collect();
            let total: f64 = weights.iter().sum();
            let before: f64 = weights[..found as usize].iter().sum::<f64>() / total;
            let after = before + weights[found as usize] / total;
            if !(before - ROUNDING..after + ROUNDING).contains(&share) {
                return Err(format!(
                    "byte {place} is {found}, of the shares from {before} to {after}, and {share} was drawn"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
