//! A ratio with its interval as one row of a forest plot: all rows of a table share the axis, which is of logarithms, with no
//! change in the middle and what counts as equal shaded.

use std::convert::Infallible;

use assay_stats::Interval;
use plotters::prelude::*;

use super::Chart;
use super::backend::{Classed, FINENESS, Role, units};
use super::sheet::ranked;

/// The axis reaches at least so far, and at most so far, to either side: logarithms of ratios.
const LEAST: f64 = 0.05;
const MOST: f64 = 1.4;

/// Nor does it reach farther than so many times as far as half of the intervals do: one wild row would make dots of all others.
const OF_HALF: f64 = 4.0;

/// The axis of a table.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    reach: f64,
    margin: f64,
}

impl Axis {
    /// An axis on which all these fit, but for those far out; what is equal reaches to `margin`.
    pub fn of<'a>(ratios: impl Iterator<Item = &'a Interval>, margin: f64) -> Self {
        let end = |ratio: &Interval| ratio.low.ln().abs().max(ratio.high.ln().abs());
        let mut ends: Vec<f64> = ratios.map(end).filter(|end| end.is_finite()).collect();
        ends.sort_unstable_by(f64::total_cmp);
        let (half, farthest) = (ranked(&ends, 0.5), ranked(&ends, 1.0));
        let reach = 1.1 * farthest.min(OF_HALF * half).max(margin.ln_1p());
        let reach = reach.clamp(LEAST, MOST);
        Self {
            reach,
            margin: margin.ln_1p(),
        }
    }
}

/// A row; its numbers stand beside it. `class` is that of its verdict.
pub fn forest(axis: Axis, ratio: &Interval, class: &str) -> Result<String, String> {
    let (width, height) = (160, 20);
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    let arrows = draw(&area, axis, ratio).map_err(|error| error.to_string())?;
    drop(area);
    body.push_str(&arrows);
    let chart = Chart {
        id: "",
        class: &format!("forest {class}"),
        title: "",
        description: "",
        width,
        height,
        body,
    };
    chart.render()
}

type Area<'a> = DrawingArea<Classed<'a>, plotters::coord::Shift>;

fn draw(
    area: &Area<'_>,
    axis: Axis,
    ratio: &Interval,
) -> Result<String, DrawingAreaErrorKind<Infallible>> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(3 * FINENESS)
        .margin_right(3 * FINENESS)
        .build_cartesian_2d(-axis.reach..axis.reach, 0.0..1.0)?;
    let place = |ratio: f64| ratio.ln().clamp(-axis.reach, axis.reach);
    let equal = [
        (-axis.margin, 0.0),
        (axis.margin, 0.0),
        (axis.margin, 1.0),
        (-axis.margin, 1.0),
    ];
    let across = |x: f64| PathElement::new(vec![(x, 0.0), (x, 1.0)], Role::Grid.color());
    let interval = vec![(place(ratio.low), 0.5), (place(ratio.high), 0.5)];
    chart.draw_series(std::iter::once(Polygon::new(equal, Role::Band.color())))?;
    chart.draw_series(std::iter::once(across(0.0)))?;
    chart.draw_series(std::iter::once(PathElement::new(
        interval,
        Role::Line.color(),
    )))?;
    let middle = (place(ratio.estimate), 0.5);
    chart.draw_series(std::iter::once(Circle::new(
        middle,
        3,
        Role::Point.color().filled(),
    )))?;
    area.present()?;
    // An arrow where the interval goes on beyond the axis.
    let arrow = |beyond: bool, end: f64, direction: i32| {
        let (x, y) = chart.backend_coord(&(end, 0.5));
        let back = -4 * direction;
        let tip = (units(x) + f64::from(2 * direction), units(y));
        let head = format!(
            "M{} {}l{back} -4M{} {}l{back} 4",
            tip.0, tip.1, tip.0, tip.1
        );
        let path = || format!("<path class=\"line\" d=\"{head}\"/>");
        beyond.then(path).unwrap_or_default()
    };
    Ok(arrow(ratio.low.ln() < -axis.reach, -axis.reach, -1)
        + &arrow(ratio.high.ln() > axis.reach, axis.reach, 1))
}

#[cfg(test)]
mod tests {
    use assay_stats::Interval;

    use super::{Axis, forest};

    fn ratio(low: f64, estimate: f64, high: f64) -> Interval {
        Interval {
            estimate,
            low,
            high,
            confidence: 0.95,
        }
    }

    #[test]
    fn one_wild_row_leaves_the_axis_to_the_others() {
        let mut rows = vec![
            ratio(0.97, 1.0, 1.03),
            ratio(1.02, 1.05, 1.08),
            ratio(0.9, 0.95, 1.0),
        ];
        let tame = Axis::of(rows.iter(), 0.03);
        assert!(tame.reach > 0.1 && tame.reach < 0.2);
        rows.push(ratio(0.05, 0.8, 6.72));
        let wild = Axis::of(rows.iter(), 0.03);
        assert!(wild.reach < 0.5, "{wild:?}");
        let arrows = |row: &Interval| {
            let drawn = forest(wild, row, "").unwrap();
            drawn.matches("l4 -4").count() + drawn.matches("l-4 -4").count()
        };
        assert_eq!((arrows(&rows[0]), arrows(&rows[3])), (0, 2));
    }
}
