//! Whether a spectrum is what its labels say: lines are summed up where the redshift puts them, not drawn again.

use super::{BETA, KINDS, LIGHT_KM_S, Maker, Truth};
use crate::synthetic::items::read_f32;

/// Most standard errors that a sum may be off: by chance once in 10^9.
const ERRORS: f64 = 6.1;

/// Reads a spectrum and compares it with what is known of it.
pub fn check(maker: &Maker, truth: &Truth, bytes: &[u8]) -> Result<(), String> {
    let points = maker.recipe.points;
    let values = read_f32(bytes);
    if values.len() != 2 * points {
        return Err(format!("{} numbers, expected {}", values.len(), 2 * points));
    }
    let (flux, weight) = values.split_at(points);
    if let Some(pixel) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!("number {pixel} is not finite"));
    }
    masks(truth, weight)?;
    noise(maker, truth, flux, weight)?;
    lines(maker, truth, flux, weight)
}

/// Exactly the masked pixels have no weight.
fn masks(truth: &Truth, weight: &[f32]) -> Result<(), String> {
    let mut expected = vec![false; weight.len()];
    for (first, len) in &truth.masks {
        expected[*first..first + len].fill(true);
    }
    let wrong = expected
        .iter()
        .zip(weight)
        .position(|(is_masked, weight)| *is_masked != (*weight == 0.0));
    wrong.map_or(Ok(()), |pixel| {
        Err(format!(
            "pixel {pixel}: weight {}, not as its mask",
            weight[pixel]
        ))
    })
}

/// The continuum at a wavelength, by the formula.
fn continuum(maker: &Maker, truth: &Truth, pixel: f64) -> f64 {
    let x = (pixel - (maker.recipe.points - 1) as f64 / 2.0) * maker.log_step;
    (truth.slope * x + truth.curvature * x * x).exp()
}

/// Place of a wavelength at rest.
fn place(maker: &Maker, truth: &Truth, rest: f64) -> f64 {
    ((rest * (1.0 + truth.redshift)).ln() - maker.log_from) / maker.log_step
}

/// Where no line is, differences from the continuum have the variance that the weights say.
fn noise(maker: &Maker, truth: &Truth, flux: &[f32], weight: &[f32]) -> Result<(), String> {
    let width = truth.width_km_s / LIGHT_KM_S / maker.log_step;
    let centres: Vec<f64> = super::LINES
        .iter()
        .map(|(rest, ..)| place(maker, truth, *rest))
        .collect();
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for (pixel, (flux, weight)) in flux.iter().zip(weight).enumerate() {
        let at = pixel as f64;
        let is_free = centres
            .iter()
            .all(|centre| (centre - at).abs() > 6.0 * width + 1.0);
        if *weight > 0.0 && is_free {
            let difference = f64::from(*flux) - continuum(maker, truth, at);
            let pull = difference * f64::from(*weight).sqrt();
            sum += pull;
            squares += pull * pull;
            count += 1.0;
        }
    }
    let mean_errors = sum / f64::sqrt(count);
    let variance_errors = (squares / count - 1.0) / f64::sqrt(2.0 / count);
    if count > 0.0 && (mean_errors.abs() > ERRORS || variance_errors.abs() > ERRORS) {
        return Err(format!(
            "beside lines the noise is off by {mean_errors:.1} standard errors in its mean, {variance_errors:.1} in its variance"
        ));
    }
    Ok(())
}

/// H beta and the stronger line of [O III] have their area, where they are seen whole.
fn lines(maker: &Maker, truth: &Truth, flux: &[f32], weight: &[f32]) -> Result<(), String> {
    let width = truth.width_km_s / LIGHT_KM_S / maker.log_step;
    // Coarser than that, a sum of pixels says nothing of an area.
    if width < 0.6 {
        return Ok(());
    }
    let oxygen = 0.749 * KINDS[truth.kind].1[0].exp();
    for (rest, ratio) in [(BETA, 1.0), (5008.24, oxygen)] {
        let centre = place(maker, truth, rest);
        let (from, to) = (
            (centre - 4.0 * width).floor(),
            (centre + 4.0 * width).ceil(),
        );
        if from < 0.0 || to >= flux.len() as f64 {
            continue;
        }
        let range = from as usize..=to as usize;
        if weight[range.clone()].contains(&0.0) {
            continue;
        }
        let (mut area, mut variance) = (0.0, 0.0);
        for pixel in range {
            // Pixels grow with their wavelength.
            let angstrom = (maker.log_from + pixel as f64 * maker.log_step).exp() * maker.log_step;
            let above = f64::from(flux[pixel]) - continuum(maker, truth, pixel as f64);
            area += above * angstrom;
            variance += angstrom * angstrom / f64::from(weight[pixel]);
        }
        let beside = continuum(maker, truth, place(maker, truth, BETA));
        let expected = truth.equivalent_width * (1.0 + truth.redshift) * beside * ratio;
        // Narrow lines are sampled coarsely, and of broad ones a neighbour's wing comes in.
        let slack = expected * 0.002 + ERRORS * variance.sqrt();
        if (area - expected).abs() > slack {
            return Err(format!(
                "the line of {rest} Å has area {area:.3}, its labels say {expected:.3} ± {slack:.3}"
            ));
        }
    }
    Ok(())
}
