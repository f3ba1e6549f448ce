//! How sure a cut is, and whether it is a jump or a drift.

use super::fit::{Fit, SHORTEST, SHORTEST_SHAPED};
use super::noise::{Noise, long_run_from_differences};
use super::sums::{Shape, Stretch, Sums};
use crate::student;

/// A jump between two lines must be as high as one standard deviation of the nights. Two lines follow any curve better than
/// one does, and then meet almost without a jump; such a kink is a drift, not a change.
const SMALLEST_JUMP: f64 = 1.0;

/// Share of a step that must be seen between the nights just before and just after it: half, or it is gradual.
const SEEN_NEARBY: f64 = 0.5;

/// How many standard errors the step must have among those nights. Half of it is three then, so that
/// noise calls one step in 700 gradual.
const NEARBY_ERRORS: f64 = 6.0;

/// Squares below this share of the squares around no cut are rounding.
const ROUNDING: f64 = 1e-12;

/// What speaks for a cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// Probability that noise alone does as well somewhere in the stretch.
    pub p_value: f64,
    /// Long-run variance of the nights around the fit.
    pub long_run: f64,
}

/// The evidence for `fit`, where `uncut` are the squares around the stretch in one piece of the same shape.
pub(super) fn evidence(fit: &Fit, uncut: f64, sums: &Sums) -> Option<Evidence> {
    if fit.squares <= ROUNDING * uncut {
        return Some(Evidence {
            p_value: 0.0,
            long_run: 0.0,
        });
    }
    let noise = Noise::around(fit, sums)?;
    let statistic = (uncut - fit.squares) / noise.long_run();
    let p_value = match (fit.shape, fit.cuts.len()) {
        (Shape::Level, 1) => step_p_value(statistic, noise, fit.stretch),
        (Shape::Level, _) => passing_p_value(statistic, noise, fit.stretch),
        (Shape::Line, _) => line_p_value(statistic, noise, fit.stretch),
    };
    Some(Evidence {
        p_value,
        long_run: noise.long_run(),
    })
}

/// Whether two lines are so far apart at their cut that it is a jump and no kink.
pub(super) fn is_jump(fit: &Fit, sums: &Sums) -> bool {
    let height = step_height(sums, fit.pieces()[0], fit.pieces()[1], fit.shape);
    let variance = fit.squares / fit.stretch.nights() as f64;
    height.powi(2) >= SMALLEST_JUMP.powi(2) * variance
}

/// Whether a line explains a stretch better than a level, by twice the price of its slope (Schwarz 1978, Annals of Statistics 6(2)).
pub(super) fn is_trending(sums: &Sums, stretch: Stretch) -> bool {
    let squares = sums.around(stretch, Shape::Line);
    let line = Fit {
        stretch,
        cuts: Vec::new(),
        shape: Shape::Line,
        squares,
    };
    let explained = sums.around(stretch, Shape::Level) - squares;
    stretch.nights() >= 4 * SHORTEST
        && Noise::around(&line, sums).is_some_and(|noise| {
            explained > 2.0 * (stretch.nights() as f64).ln() * noise.long_run()
        })
}

/// How a level moved, judged by the nights next to the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// From one night to the next.
    Abrupt,
    /// There are too few nights next to it to tell.
    Unclear,
    /// Over many nights.
    Gradual,
}

/// The pace of the slowest cut: gradual if the jump between two lines through just as many nights as tell the step from none
/// is less than half of it.
///
/// Such a comparison at the cut is a regression discontinuity: Hahn, Todd and van der Klaauw 2001, Econometrica 69(1), section 4. The
/// squared error of the jump of two lines through m nights each is 8 / m times the long-run variance.
pub(super) fn pace(fit: &Fit, long_run: f64, sums: &Sums) -> Pace {
    let noise = long_run_from_differences(sums, fit.stretch).min(long_run);
    let pace = |pair: &[Stretch]| {
        let (before, after) = (pair[0], pair[1]);
        let height = step_height(sums, before, after, fit.shape);
        let nights = 8.0 * NEARBY_ERRORS.powi(2) * noise / height.powi(2);
        let reach = (nights.ceil() as usize).max(SHORTEST + 2);
        let just_before = Stretch::new(before.from.max(before.to.saturating_sub(reach)), before.to);
        let just_after = Stretch::new(after.from, after.to.min(after.from.saturating_add(reach)));
        let seen = step_height(sums, just_before, just_after, Shape::Line);
        if seen / height < SEEN_NEARBY {
            Pace::Gradual
        } else if reach > before.nights().min(after.nights()) {
            Pace::Unclear
        } else {
            Pace::Abrupt
        }
    };
    let slowest = fit.pieces().windows(2).map(pace).max();
    slowest.unwrap_or(Pace::Unclear)
}

/// How much higher the second fit is where the two meet.
fn step_height(sums: &Sums, before: Stretch, after: Stretch, shape: Shape) -> f64 {
    sums.edge(after, shape, after.from) - sums.edge(before, shape, after.from)
}

/// One step: the two-sided tail of t, then the supremum over places.
fn step_p_value(statistic: f64, noise: Noise, stretch: Stretch) -> f64 {
    let tail = two_sided_tail(statistic, noise);
    let z = student::normal_quantile(tail / 2.0).map_or(f64::INFINITY, f64::abs);
    supremum_tail(z, 1.0, stretch, SHORTEST)
}

/// A passing shift: one test for each start and end (Bonferroni).
fn passing_p_value(statistic: f64, noise: Noise, stretch: Stretch) -> f64 {
    let pairs = (stretch.nights() as f64).powi(2) / 2.0;
    (pairs * two_sided_tail(statistic, noise)).min(1.0)
}

/// A jump between two lines, level and slope at once: the tail of F with two degrees of freedom, which is
/// (1 + 2 F / ν)^(-ν / 2), then the supremum over places.
fn line_p_value(statistic: f64, noise: Noise, stretch: Stretch) -> f64 {
    let degrees = noise.effective_degrees_of_freedom();
    let z = (degrees * (statistic / degrees).ln_1p()).sqrt();
    supremum_tail(z, 2.0, stretch, SHORTEST_SHAPED)
}

fn two_sided_tail(statistic: f64, noise: Noise) -> f64 {
    let degrees = noise.effective_degrees_of_freedom();
    2.0 * student::upper_tail(statistic.max(0.0).sqrt(), degrees)
}

/// Probability that the largest of the standardised statistics over all cuts exceeds `z`, when each is the norm of `dimensions`
/// standard normals (1 or 2) and `shortest` nights stay on both sides.
///
/// Source: Vostrikova 1981, Theory of Probability and its Applications 26(2), 356-362, as in Csörgő
/// and Horváth 1997, Limit Theorems in Change-Point Analysis, section 1.3.
fn supremum_tail(z: f64, dimensions: f64, stretch: Stretch, shortest: usize) -> f64 {
    if z < 2.0 {
        return 1.0; // the expansion is for the far tail
    }
    let share = shortest as f64 / stretch.nights() as f64;
    let places = 2.0 * ((1.0 - share) / share).ln();
    let constant = if dimensions > 1.0 {
        0.5
    } else {
        1.0 / std::f64::consts::TAU.sqrt()
    };
    let density = constant * z.powf(dimensions) * (-z * z / 2.0).exp();
    let factor = places * (1.0 - dimensions / (z * z)) + 4.0 / (z * z);
    if density == 0.0 {
        0.0
    } else {
        (density * factor).min(1.0)
    }
}
