//! Wrong kernels fail at the sizes of the suites, with all that tensor cores may do; right ones pass, whichever way they rounded what
//! is halfway between two numbers.

use assay_protocol::ArithmeticUnit;
use half::{bf16, f16};

use super::{of_backward, of_forward, rounded};
use crate::element::DType;
use crate::gradient::numbers;
use crate::lane::Lane;
use crate::ml::attention::reference::{Forward, Head};
use crate::ml::attention::{Attention, Position, Variant};

const WIDTH: usize = 64;
/// Tokens in `kernels-smoke` and in `ml-ops`.
const LENGTHS: [usize; 2] = [256, 1024];

fn shape(head: &Head) -> Attention {
    Attention {
        batch: 1,
        length: head.length,
        heads: 1,
        width: head.width,
        is_causal: head.is_causal,
        position: match head.angles {
            Some(_) => Position::Rope,
            None => Position::None,
        },
        variant: Variant::Fused,
    }
}

fn tensor<T: Lane>() -> ArithmeticUnit {
    match T::DTYPE {
        DType::F16 => ArithmeticUnit::F16Tensor,
        _ => ArithmeticUnit::Bf16Tensor,
    }
}

/// Angles of all places and pairs, but for the first `left_out` pairs.
fn angles(length: usize, left_out: usize) -> Vec<f64> {
    let of = |i: usize| {
        let (place, pair) = (i / (WIDTH / 2), i % (WIDTH / 2));
        let angle = place as f64 * 10_000_f64.powf(-2.0 * pair as f64 / WIDTH as f64);
        let turned = if pair < left_out { 0.0 } else { angle };
        [turned.cos(), turned.sin()].map(|x| f64::from(x as f32))
    };
    (0..length * WIDTH / 2).flat_map(of).collect()
}

fn random<T: Lane>(stream: u64, len: usize) -> Vec<f64> {
    numbers(stream, len).into_iter().map(rounded::<T>).collect()
}

fn head<T: Lane>(length: usize, is_causal: bool, is_rotated: bool) -> Head {
    let [q, k, v] = [0, 1, 2].map(|stream| random::<T>(stream, length * WIDTH));
    Head {
        length,
        width: WIDTH,
        q,
        k,
        v,
        is_causal,
        slope: 0.0,
        angles: is_rotated.then(|| angles(length, 0)),
        round: Some(rounded::<T>),
    }
}

/// A head whose queries and keys were rotated before, in `f32`, as a kernel does.
fn rotated_by_kernel<T: Lane>(head: &Head) -> Head {
    let Some(angles) = &head.angles else {
        return head.clone();
    };
    let turn = |x: &[f64]| {
        let pairs = x.chunks_exact(2).zip(angles.chunks_exact(2));
        let of = |(x, angle): (&[f64], &[f64])| {
            let [a, b, cosine, sine] = [x[0], x[1], angle[0], angle[1]].map(|x| x as f32);
            [a * cosine - b * sine, a * sine + b * cosine].map(|x| T::narrow(x).into())
        };
        pairs.flat_map(of).collect()
    };
    Head {
        q: turn(&head.q),
        k: turn(&head.k),
        angles: None,
        ..head.clone()
    }
}

/// What is left of a forward pass that leaves out the last key of each query that sees several.
fn without_last_key(head: &Head, mut found: Forward) -> Forward {
    let Head { length, width, .. } = *head;
    for query in 0..length {
        let last = if head.is_causal { query } else { length - 1 };
        if last == 0 {
            continue;
        }
        let p = found.probabilities[query * length + last];
        for column in 0..width {
            let out = &mut found.out.value[query * width + column];
            *out = (*out - p * head.v[last * width + column]) / (1.0 - p);
        }
        found.log_sums[query] += (1.0 - p).ln();
    }
    found
}

fn error<T: Lane>(head: &Head, exact: &Forward, found: &Forward) -> f64 {
    let out: Vec<_> = found.out.value.iter().map(|x| rounded::<T>(*x)).collect();
    let kept: Vec<_> = found
        .log_sums
        .iter()
        .map(|x| f64::from(*x as f32))
        .collect();
    of_forward::<T>(&shape(head), tensor::<T>(), (head, exact), (&out, &kept))
}

fn scaled(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}

fn wrong_results_fail<T: Lane>(length: usize, is_causal: bool, is_rotated: bool) {
    let head = head::<T>(length, is_causal, is_rotated);
    let exact = head.forward();
    let as_kernel = rotated_by_kernel::<T>(&head);
    let found = as_kernel.forward();
    let name = format!("{} {length} {is_causal} {is_rotated}", T::DTYPE);
    let right = error::<T>(&head, &exact, &found);
    assert!(right <= 1.0, "{name}: {right}");
    let with = |q: Vec<f64>| {
        Head {
            q,
            ..as_kernel.clone()
        }
        .forward()
    };
    let mut wrong = vec![
        ("no scores", with(scaled(&as_kernel.q, 0.0))),
        ("scale 1.05", with(scaled(&as_kernel.q, 1.05))),
        ("no last key", without_last_key(&as_kernel, found)),
    ];
    if is_rotated {
        let with = |angles| {
            Head {
                angles,
                ..head.clone()
            }
            .forward()
        };
        wrong.push(("no rotation", with(None)));
        wrong.push(("a pair not rotated", with(Some(angles(length, 1)))));
    }
    for (what, wrong) in wrong {
        let error = error::<T>(&head, &exact, &wrong);
        assert!(error > 1.0, "{name}: {what}: {error}");
    }
}

#[test]
fn wrong_results_of_16_bits_fail() {
    for is_rotated in [false, true] {
        for is_causal in [false, true] {
            wrong_results_fail::<f16>(LENGTHS[0], is_causal, is_rotated);
            wrong_results_fail::<bf16>(LENGTHS[0], is_causal, is_rotated);
        }
        // Where every query sees all keys, one key more or less is hardest to see.
        wrong_results_fail::<bf16>(LENGTHS[1], false, is_rotated);
    }
}

/// Gradients of a head that a kernel rotated, and of one that it forgot to.
fn gradients(head: &Head, given: &Head, d_out: &[f64]) -> [Vec<f64>; 3] {
    let found = head.backward(&head.forward(), &given.forward(), d_out);
    [found.dq.value, found.dk.value, found.dv.value]
}

fn wrong_gradients_fail<T: Lane>(is_causal: bool) {
    let head = head::<T>(LENGTHS[0], is_causal, true);
    let d_out = random::<T>(3, head.v.len());
    // The host, of which a case has the forward pass, does not round.
    let given = Head {
        round: None,
        ..head.clone()
    };
    let error = |found: [Vec<f64>; 3]| {
        let found = found.map(|x| x.into_iter().map(rounded::<T>).collect::<Vec<_>>());
        of_backward::<T>(&shape(&head), tensor::<T>(), (&head, &d_out), &found)
    };
    let exact = gradients(&head, &given, &d_out);
    let right = error(exact.clone());
    assert!(right <= 1.0, "{right}");
    let without = Head {
        angles: None,
        ..head.clone()
    };
    assert!(error(gradients(&without, &given, &d_out)) > 1.0);
    for (index, factor) in (0..3).flat_map(|index| [(index, 0.0), (index, 0.7)]) {
        let mut wrong = exact.clone();
        wrong[index] = scaled(&wrong[index], factor);
        let error = error(wrong);
        let name = T::DTYPE;
        assert!(error > 1.0, "{name} {is_causal} {index} {factor}: {error}");
    }
}

#[test]
fn wrong_gradients_of_16_bits_fail() {
    for is_causal in [false, true] {
        wrong_gradients_fail::<bf16>(is_causal);
        wrong_gradients_fail::<f16>(is_causal);
    }
}
