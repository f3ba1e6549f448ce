//! Steps of a training on a GPU beside those of the same one on the host.
//!
//! Sums are rounded in other orders there, and nothing else may differ: neither losses nor, tensor by tensor, gradients. A loss alone
//! would not do: in a few steps some gradients hardly change it, whatever their sign.

use assay_protocol::Failure;

use super::model::Parameter;
use super::run::{Stepped, Training};

/// How far a loss may be from that on the host, relative to it. Optimizers make much of small gradients.
const OF_LOSS: f64 = 2e-4;
/// How far the gradient of a tensor may be from that on the host, relative to its norm,
const OF_GRADIENT: f64 = 0.05;
/// or to this share of the norm of all gradients, where that is more: some are 0 but for rounding.
pub const LEAST_SHARE: f64 = 1e-4;

/// Whether a loss is near that of the same step elsewhere.
pub fn is_near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= OF_LOSS * expected.abs()
}

/// What of a step that a training has just come to is not as in the next one of that on the host, in words, if anything is not.
///
/// # Errors
/// If a device fails.
pub fn strays(
    (training, found): (&Training, Stepped),
    on_host: &mut Option<Training>,
) -> Result<Option<String>, Failure> {
    let Some(on_host) = on_host else {
        return Ok(None);
    };
    let expected = on_host.step()?;
    let on_host = &*on_host;
    let step = on_host.at();
    if !is_near(found.loss, expected.loss) {
        let [found, expected] = [found, expected].map(|step| step.loss);
        return Ok(Some(format!(
            "step {step} has a loss of {found}, and of {expected} on the host"
        )));
    }
    for parameter in &training.parameters {
        let Some(gradients) = gradients([training, on_host], parameter)? else {
            continue;
        };
        let apart = distance(&gradients, LEAST_SHARE * expected.norm);
        // A distance that is no number is none.
        if apart <= OF_GRADIENT {
            continue;
        }
        let name = &parameter.name;
        return Ok(Some(format!(
            "step {step}: the gradient of `{name}` is not that on the host: it lies {apart:.2e} of its norm apart"
        )));
    }
    Ok(None)
}

/// The tensor whose gradient lies furthest from that in a second training, by its name, and how far, as a share of its norm.
///
/// # Errors
/// If a device fails.
pub fn furthest(trainings: [&Training; 2]) -> Result<Option<(&str, f64)>, Failure> {
    let parameters = &trainings[0].parameters;
    let mut squares = 0.0;
    for parameter in parameters {
        if let Some([_, expected]) = gradients(trainings, parameter)? {
            squares += expected.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
    }
    let mut worst = None;
    for parameter in parameters {
        let Some(gradients) = gradients(trainings, parameter)? else {
            continue;
        };
        let apart = distance(&gradients, LEAST_SHARE * squares.sqrt());
        // What is no number is the furthest.
        if worst.is_none_or(|(_, most)| apart > most || apart.is_nan()) {
            worst = Some((parameter.name.as_str(), apart));
        }
        if apart.is_nan() {
            break;
        }
    }
    Ok(worst)
}

/// The gradients of a parameter in two trainings, if it is trained.
fn gradients(
    trainings: [&Training; 2],
    parameter: &Parameter,
) -> Result<Option<[Vec<f32>; 2]>, Failure> {
    let Some(gradient) = parameter.gradient else {
        return Ok(None);
    };
    let read = |training: &Training| -> Result<Vec<f32>, Failure> {
        Ok(training.session().read(gradient)?.get::<f32>().to_vec())
    };
    let [found, expected] = trainings.map(read);
    Ok(Some([found?, expected?]))
}

/// The norm of a difference, over that of the second or `least`, where that is more; 0 where both are.
fn distance([found, expected]: &[Vec<f32>; 2], least: f64) -> f64 {
    let norm = |all: &mut dyn Iterator<Item = f64>| all.map(|x| x * x).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    let apart = norm(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let whole = norm(&mut expected.iter().map(|x| f64::from(*x)));
    if apart == 0.0 {
        return 0.0;
    }
    apart / whole.max(least)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn a_wrong_sign_is_twice_the_norm_and_rounding_is_nothing() {
        let some = vec![3.0, -4.0];
        let other = vec![-3.0, 4.0];
        assert!((distance(&[other, some.clone()], 1e-6) - 2.0).abs() < 1e-12);
        assert!(distance(&[some.clone(), some.clone()], 0.0) < 1e-300);
        // What is nearly 0 is compared with what all others have.
        assert!(distance(&[vec![1e-7], vec![-1e-7]], 1e-4) < 0.01);
        assert!(distance(&[vec![f32::NAN, 0.0], some], 1.0).is_nan());
    }
}
