use std::ops::Range;

use assay_kernels::element::DType;
use assay_kernels::ml::norm::Kind;
use assay_protocol::Philox;

use super::network::{Network, Past};
use super::{TOGETHER, Writer};
use crate::training::decoder::{Decoder, Places, Shape};
use crate::training::layers::Activation;
use crate::training::mixture::Routing;
use crate::training::model::{Model, Parameter};
use crate::training::reference;

const SHAPE: Shape = Shape {
    batch: 2,
    length: 12,
    vocabulary: 256,
    layers: 2,
    width: 24,
    heads: 3,
    places: Places::Learned,
    norm: Kind::Layer,
    activation: Activation::Gelu,
    routing: None,
    rank: 0,
    base: DType::F32,
};

/// Numbers that are no small ones, so that a slip anywhere shows.
fn parameters(shape: Shape) -> Vec<Vec<f32>> {
    let mut model = Model::new(0, false);
    Decoder::new(&mut model, shape);
    let values = |(stream, len): (usize, usize)| {
        let random = Philox::new(7, stream as u64);
        let value = |i: usize| (random.word(i as u64) as f32 / u32::MAX as f32 - 0.5) * 0.6;
        (0..len).map(value).collect()
    };
    let lens = model.parameters.iter().map(Parameter::len);
    lens.enumerate().map(values).collect()
}

fn exact(parameters: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let part = |part: &Vec<f32>| part.iter().map(|x| f64::from(*x)).collect();
    parameters.iter().map(part).collect()
}

fn shapes() -> Vec<Shape> {
    let routing = Routing {
        experts: 4,
        chosen: 2,
        capacity: 4.0,
        balance: 0.0,
    };
    vec![
        SHAPE,
        Shape {
            places: Places::Rope,
            norm: Kind::Rms,
            activation: Activation::SwiGlu,
            ..SHAPE
        },
        Shape {
            places: Places::Alibi,
            rank: 3,
            ..SHAPE
        },
        Shape {
            norm: Kind::Rms,
            routing: Some(routing),
            ..SHAPE
        },
    ]
}

#[test]
fn logits_token_by_token_are_those_of_the_reference() {
    let sequences: [&[u32]; 2] = [
        &[10, 65, 200, 3, 7, 7, 9, 0, 255, 1, 2, 3],
        &[1, 2, 3, 4, 5],
    ];
    for shape in shapes() {
        let parameters = parameters(shape);
        let exact = exact(&parameters);
        let network = Network::new(shape, parameters).unwrap();
        let mut pasts = [Past::default(), Past::default()];
        for place in 0..12 {
            // The second sequence is shorter: the first goes on alone.
            let running: Range<usize> = 0..if place < 5 { 2 } else { 1 };
            let tokens: Vec<u32> = sequences[running.clone()]
                .iter()
                .map(|s| s[place])
                .collect();
            let mut on: Vec<&mut Past> = pasts[running.clone()].iter_mut().collect();
            let logits = network.step(&mut on, &tokens);
            for (sequence, logits) in sequences[running].iter().zip(logits.chunks_exact(256)) {
                let (expected, _) = reference::logits(&shape, &exact, &sequence[..=place]);
                for (found, expected) in logits.iter().zip(&expected[place]) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-4, "{shape:?}, place {place}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn a_line_is_the_same_whoever_writes_it_beside_which_and_is_what_was_drawn() {
    for shape in shapes() {
        let parameters = parameters(shape);
        let exact = exact(&parameters);
        let writer = Writer::new(shape, parameters, 1.0, 40).unwrap();
        let all = writer.lines(5, 3, 2 * TOGETHER + 3);
        assert_eq!(writer.lines(5, 3, 4)[..], all[..4]);
        assert_eq!(writer.lines(5, 3 + 20, 1)[0], all[20]);
        assert!(
            all.iter().any(|line| line.len() > shape.length),
            "none goes on"
        );
        assert!(
            all.iter()
                .all(|line| line.len() <= 40 && !line.contains(&b'\n'))
        );
        for (number, line) in (3..).zip(&all) {
            let mut bytes = [&line[..], b"\n"].concat();
            writer.check(&exact, (5, number), &bytes).unwrap();
            if line.is_empty() {
                continue;
            }
            bytes[0] ^= 0x40;
            assert!(
                writer.check(&exact, (5, number), &bytes).is_err(),
                "{number}"
            );
        }
    }
}

#[test]
fn what_is_likely_comes_more_often_at_a_low_temperature() {
    let parameters = parameters(SHAPE);
    let different = |temperature| {
        let writer = Writer::new(SHAPE, parameters.clone(), temperature, 30).unwrap();
        let mut bytes = writer.lines(1, 0, 50).concat();
        bytes.sort_unstable();
        bytes.dedup();
        bytes.len()
    };
    let counts = [0.03, 0.1, 1.0].map(different);
    assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
}
