//! What activations are compared with, in `f64`.

use super::{Form, roughly};
use crate::lane::Lane;
use crate::math::SIGMOID_ROUGHLY;
use crate::ml::bound::{self, EXP};
use crate::program::{Checked, Outcome};

/// Compares gelu with its definition.
pub fn gelu<T: Lane>(outcome: &Outcome, form: Form, [x, out]: [usize; 2]) -> Checked {
    let x = outcome.get::<T>(x);
    bound::compare(
        outcome.get::<T>(out),
        form.roundings::<T>(),
        "|out - exact| / |x|",
        |i| {
            let x: f64 = x[i].into();
            (form.exact(x)[0], x.abs())
        },
    )
}

/// The derivative's second term has a product of four factors, each of a few roundings, and two exponentials.
pub fn gelu_backward<T: Lane>(outcome: &Outcome, form: Form, [x, dy, dx]: [usize; 3]) -> Checked {
    let (x, dy) = (outcome.get::<T>(x), outcome.get::<T>(dy));
    let roundings = form.roundings::<T>() + 2 * EXP + 10;
    bound::compare(
        outcome.get::<T>(dx),
        roundings,
        "|dx - exact| / |dy| (1 + |x p|)",
        |i| {
            let (dy, [_, slope, magnitude]) = (dy[i].into(), form.exact(x[i].into()));
            (dy * slope, f64::abs(dy) * magnitude)
        },
    )
}

/// The logistic function rounds by the exponential, the sum and the quotient, which takes two steps, and two products follow. Of 16 bits
/// it is computed roughly.
pub fn swiglu<T: Lane>(outcome: &Outcome, [gate, up, out]: [usize; 3]) -> Checked {
    let (gate, up) = (outcome.get::<T>(gate), outcome.get::<T>(up));
    bound::compare(
        outcome.get::<T>(out),
        EXP + 5 + roughly::<T>(SIGMOID_ROUGHLY),
        "|out - exact| / |out|",
        |i| {
            let exact = exact_swiglu(gate[i].into(), up[i].into())[0];
            (exact, exact.abs())
        },
    )
}

/// The gradient of the gate has two exponentials' roundings, that of `up` one's.
pub fn swiglu_backward<T: Lane>(
    outcome: &Outcome,
    [gate, up, dout, dgate, dup]: [usize; 5],
) -> Checked {
    let [gate, up, dout] = [gate, up, dout].map(|buffer| outcome.get::<T>(buffer));
    let exact = |i: usize| {
        (
            Into::<f64>::into(dout[i]),
            exact_swiglu(gate[i].into(), up[i].into()),
        )
    };
    let of_gate = bound::compare(
        outcome.get::<T>(dgate),
        2 * EXP + 10 + 2 * roughly::<T>(SIGMOID_ROUGHLY),
        "|dgate - exact| / magnitude",
        |i| {
            let (dout, [_, of_gate, _, magnitude]) = exact(i);
            (dout * of_gate, dout.abs() * magnitude)
        },
    );
    let of_up = bound::compare(
        outcome.get::<T>(dup),
        EXP + 5 + roughly::<T>(SIGMOID_ROUGHLY),
        "|dup - exact| / |dup|",
        |i| {
            let (dout, [_, _, of_up, _]) = exact(i);
            (dout * of_up, (dout * of_up).abs())
        },
    );
    bound::worst([of_gate, of_up])
}

/// In `f64`: swiglu, its derivatives by gate and by up, and the magnitudes that went into the first of these.
fn exact_swiglu(gate: f64, up: f64) -> [f64; 4] {
    let below = 1.0 / (1.0 + (-gate).exp());
    let slope = below + gate * below * (1.0 - below);
    [
        gate * below * up,
        up * slope,
        gate * below,
        up.abs() * below * (1.0 + gate.abs()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{Form, exact_swiglu};
    use crate::gradient::{assert_gradient, numbers};

    #[test]
    fn the_references_are_the_gradients() {
        for x in numbers(0, 20) {
            for (_, form) in Form::NAMED {
                let x = 5.0 * x;
                assert_gradient("gelu", &[form.exact(x)[1]], |x| form.exact(x[0])[0], &[x]);
            }
        }
        let both = numbers(1, 2);
        let [_, of_gate, of_up, _] = exact_swiglu(both[0], both[1]);
        assert_gradient(
            "swiglu",
            &[of_gate, of_up],
            |x| exact_swiglu(x[0], x[1])[0],
            &both,
        );
    }

    #[test]
    fn both_forms_are_nearly_the_same_and_not_quite() {
        let difference = |x: f64| (Form::Erf.exact(x)[0] - Form::Tanh.exact(x)[0]).abs();
        let most = (-50..50)
            .map(|i| difference(f64::from(i) / 10.0))
            .fold(0.0, f64::max);
        assert!((1e-4..1e-3).contains(&most), "{most}");
    }
}
