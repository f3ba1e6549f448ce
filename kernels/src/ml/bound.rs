//! How far results of bricks may be from exact ones: rounding in `f32`, then once to the type of the result.

use crate::bound::gamma;
use crate::check;
use crate::element::DType;
use crate::lane::Lane;
use crate::math;
use crate::program::Checked;

/// Error of an exponential on any device, in units of 2^-24.
pub const EXP: u64 = if math::EXP > math::ON_CUDA {
    math::EXP
} else {
    math::ON_CUDA
};
/// Error of the normal distribution on any device, absolute. CUDA devices compute it of an error function, half of whose error
/// it has, and round two sums and products more.
pub const NORMAL: u64 = if math::NORMAL > math::ON_CUDA {
    math::NORMAL
} else {
    math::ON_CUDA
};
/// Error of a logarithm on any device.
pub const LN: u64 = if math::LN > math::ON_CUDA {
    math::LN
} else {
    math::ON_CUDA
};

/// Numbers as references compute with them.
pub fn wide<T: Lane>(x: &[T]) -> Vec<f64> {
    x.iter().map(|x| (*x).into()).collect()
}

/// Largest error, relative to the condition, of a result of type `T` that took `roundings` of `f32` on its way.
pub fn tolerance<T: Lane>(roundings: u64) -> f64 {
    // The reference rounds as often, in f64: beneath notice, but counted.
    let of_f32 = gamma(roundings, 2_f64.powi(-24)) + gamma(roundings, 2_f64.powi(-53));
    if T::DTYPE == DType::F32 {
        of_f32
    } else {
        of_f32 + T::UNIT_ROUNDOFF * (1.0 + of_f32)
    }
}

/// What the type cannot tell from 0: half of the smallest number of `f16`, and for the others what exponentials give up.
pub fn least<T: Lane>() -> f64 {
    if T::DTYPE == DType::F16 {
        2_f64.powi(-25)
    } else {
        f64::from(f32::MIN_POSITIVE)
    }
}

/// Distance of `found` from `exact` in units of `condition`, less what the type cannot tell from 0.
pub fn error<T: Lane>(found: T, exact: f64, condition: f64) -> f64 {
    let distance = (found.into() - exact).abs();
    let beyond = if distance <= least::<T>() {
        0.0
    } else {
        // Not by a maximum, which would take what is no number for 0.
        distance - least::<T>()
    };
    check::relative(exact + beyond, exact, condition.max(exact.abs()))
}

/// The comparison of elements that took `roundings`, each with its exact value and condition.
pub fn compare<T: Lane>(
    found: &[T],
    roundings: u64,
    detail: &str,
    exact: impl Fn(usize) -> (f64, f64) + Sync,
) -> Checked {
    let error = check::worst(found.len(), |i| {
        let (exact, condition) = exact(i);
        error(found[i], exact, condition)
    });
    Checked {
        error,
        tolerance: tolerance::<T>(roundings),
        detail: format!(
            "largest {detail}; {roundings} roundings of f32, then one to {}",
            T::DTYPE
        ),
    }
}

/// Of several comparisons, that which has used the most of its tolerance.
pub fn worst(all: impl IntoIterator<Item = Checked>) -> Checked {
    let used = |checked: &Checked| {
        if checked.error.is_finite() {
            checked.error / checked.tolerance
        } else {
            f64::INFINITY
        }
    };
    let nearest = all.into_iter().max_by(|a, b| used(a).total_cmp(&used(b)));
    nearest.unwrap_or_else(|| Checked::exact(0, "nothing to compare"))
}
