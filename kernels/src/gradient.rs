//! For tests of backward passes: gradients by differences, in `f64`.

/// Step of the differences, which balances what they leave out, `O(h^4)`, against rounding, `O(2^-53 / h)`.
const STEP: f64 = 1e-3;

/// The gradient of `f` at `x`, element by element, by central differences of fourth order:
/// `(8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12 h`, with an error near 1e-12 where derivatives are near 1.
///
/// Source: B. Fornberg, "Generation of Finite Difference Formulas on Arbitrarily Spaced Grids", Math. Comp. 51, 1988, table 1.
pub fn by_differences(f: impl Fn(&[f64]) -> f64, x: &[f64]) -> Vec<f64> {
    let mut moved = x.to_vec();
    let mut at = |i: usize, steps: f64| {
        let before = moved[i];
        moved[i] += steps * STEP;
        let value = f(&moved);
        moved[i] = before;
        value
    };
    (0..x.len())
        .map(|i| (8.0 * (at(i, 1.0) - at(i, -1.0)) - (at(i, 2.0) - at(i, -2.0))) / (12.0 * STEP))
        .collect()
}

/// Fails unless a gradient is that of `f` at `x`, to 1e-8 of its largest element.
#[track_caller]
pub fn assert_gradient(what: &str, found: &[f64], f: impl Fn(&[f64]) -> f64, x: &[f64]) {
    let expected = by_differences(f, x);
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3, |most, g| g.abs().max(most));
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let is_near = (found - expected).abs() <= 1e-8 * scale;
        assert!(
            is_near,
            "{what}, element {i}: {found}, by differences {expected}"
        );
    }
}

/// Numbers on [-1, 1) that are the same in every run.
pub fn numbers(stream: u64, len: usize) -> Vec<f64> {
    let mut numbers = vec![0.0; len];
    assay_protocol::Philox::new(7, stream).fill_signed_f64(0, &mut numbers);
    numbers
}

#[cfg(test)]
mod tests {
    use super::{assert_gradient, by_differences, numbers};

    #[test]
    fn differences_are_derivatives() {
        let f = |x: &[f64]| x[0].sin() * x[1].exp() + x[2].powi(3);
        let x = numbers(0, 3);
        let exact = [
            x[0].cos() * x[1].exp(),
            x[0].sin() * x[1].exp(),
            3.0 * x[2] * x[2],
        ];
        assert_gradient("a function", &exact, f, &x);
        let found = by_differences(f, &x);
        assert!(
            found.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-11),
            "{found:?}"
        );
    }

    #[test]
    #[should_panic(expected = "by differences")]
    fn a_wrong_sign_shows() {
        assert_gradient("a square", &[-2.0], |x| x[0] * x[0], &[1.0]);
    }
}
