//! A series drawn: the large chart of its page and the small one of a table.

use std::convert::Infallible;
use std::ops::Range;

use assay_record::Timestamp;
use assay_stats::Interval;
use assay_verdicts::{CaseHistory, CaseState, Confirmed, LocatedChange, Missed, Series, Verdict};
use plotters::coord::types::{RangedCoordf64, RangedCoordi32};
use plotters::prelude::*;

use super::Chart;
use super::backend::{Classed, FINENESS, Role, titled_line, units, words_at};
use super::sheet::{axis_words, room, roomy};
use super::thin::thin;
use crate::{format, words};

/// Most points of a large chart.
const POINTS: usize = 200;

/// Most points of a small chart.
const SPARK_POINTS: usize = 40;

/// Most changes of the machine that are drawn; the table names them all.
const CHANGES: usize = 100;

/// Most points of a large chart whose day stands below them.
const DAYS: usize = 5;

/// Most lasting changes that are drawn, the latest.
pub const SHIFTS: usize = 40;

/// Most confirmed regressions that are drawn, the latest.
const TOLD: usize = 40;

/// Most runs without a right result that are drawn, the latest.
const MISSED: usize = 100;

/// The history of a series in the unit in which it is drawn.
pub struct Course {
    pub(super) estimates: Vec<f64>,
    lows: Vec<f64>,
    highs: Vec<f64>,
    changes: Vec<usize>,
    pub(super) shifts: Vec<Shift>,
    confirmed: Vec<Told>,
    missed: Vec<Gap>,
    times: Vec<Timestamp>,
    unit: String,
}

/// A night of which a regression was confirmed.
struct Told {
    point: usize,
    title: String,
}

/// Runs without a right result, between the same points.
struct Gap {
    /// How many points come before it.
    after: usize,
    /// How many runs.
    count: usize,
    /// Whether it has a point all the same: of rounds that were right.
    is_point: bool,
    is_skipped: bool,
    title: String,
}

impl Gap {
    fn is_beside(&self, after: usize, is_skipped: bool) -> bool {
        !self.is_point && (self.after, self.is_skipped) == (after, is_skipped)
    }
}

/// A lasting change of the level.
pub(super) struct Shift {
    /// The last point before it and the first after it, most likely; and surely.
    between: [usize; 2],
    within: [usize; 2],
    class: &'static str,
    title: String,
}

impl Course {
    /// Takes a series' points, scaled so that the axis has short numbers.
    pub fn new(history: &CaseHistory) -> Self {
        let series = &history.series;
        let points = &series.points;
        let largest = points.iter().map(|p| p.estimate.estimate.abs());
        let (factor, unit) = format::axis_scale(largest.fold(0.0, f64::max), &series.metric.unit);
        let changed = |(at, point): (usize, &assay_verdicts::Point)| {
            (!point.changes.is_empty()).then_some(at)
        };
        Self {
            estimates: points
                .iter()
                .map(|p| p.estimate.estimate / factor)
                .collect(),
            lows: points.iter().map(|p| p.estimate.low / factor).collect(),
            highs: points.iter().map(|p| p.estimate.high / factor).collect(),
            changes: points.iter().enumerate().filter_map(changed).collect(),
            shifts: history
                .changes
                .iter()
                .skip(history.changes.len().saturating_sub(SHIFTS))
                .map(|change| shift(series, change))
                .collect(),
            confirmed: Vec::new(),
            missed: Vec::new(),
            times: points.iter().map(|p| p.started).collect(),
            unit,
        }
    }

    /// With a sign above each night of which a regression was confirmed.
    pub fn with_confirmed(
        mut self,
        history: &CaseHistory,
        confirmed: &[(&Confirmed, bool)],
    ) -> Self {
        let points = &history.series.points;
        let told = |(one, _): &(&Confirmed, bool)| {
            let effect = one.case.ratio.as_ref();
            let effect = effect.map_or(String::new(), |ratio| {
                format!(" of {}", words::change(ratio))
            });
            Some(Told {
                point: points.iter().position(|point| point.run == one.night)?,
                title: format!(
                    "Confirmed regression{effect}, night of {}",
                    one.started.minute()
                ),
            })
        };
        let first = confirmed.len().saturating_sub(TOLD);
        self.confirmed = confirmed[first..].iter().filter_map(told).collect();
        self
    }

    /// With a sign at the bottom for each run without a right result.
    pub fn with_missed(mut self, history: &CaseHistory, missed: &[Missed]) -> Self {
        let points = &history.series.points;
        let mut gaps: Vec<Gap> = Vec::new();
        let first = missed.len().saturating_sub(MISSED);
        for missed in &missed[first..] {
            let place = (missed.started, &missed.run);
            let after = points.partition_point(|point| (point.started, &point.run) < place);
            let (word, is_skipped) = match &missed.state {
                CaseState::Skipped(_) => ("Skipped", true),
                CaseState::Wrong(_) => ("Wrong", false),
                CaseState::Impossible(_) => ("Impossible", false),
                CaseState::Failed(_) | CaseState::Ok => ("Failed", false),
            };
            let at = points.get(after);
            let is_point = at.is_some_and(|point| point.run == missed.run);
            let title = format!("{word} in the run of {}", missed.started.minute());
            match gaps.last_mut() {
                // In a row they would be drawn over each other.
                Some(last) if !is_point && last.is_beside(after, is_skipped) => {
                    last.count += 1;
                    last.title.push('\n');
                    last.title.push_str(&title);
                }
                _ => gaps.push(Gap {
                    after,
                    count: 1,
                    is_point,
                    is_skipped,
                    title,
                }),
            }
        }
        self.missed = gaps;
        self
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.estimates.len()
    }

    /// How many points a large chart shows.
    pub fn drawn(&self) -> usize {
        thin(&self.estimates, POINTS).len()
    }

    /// Whether the large chart's vertical axis has zero on it.
    pub fn has_zero(&self) -> bool {
        let span = self.span();
        span.start <= 0.0 && span.end >= 0.0
    }

    /// What the vertical axis spans: the estimates and most of their intervals.
    pub(super) fn span(&self) -> Range<f64> {
        let (least, most) = extremes(&self.estimates);
        let (low, high) = (extremes(&self.lows).0, extremes(&self.highs).1);
        let middle = f64::midpoint(least, most);
        let reach = (most - least).max(middle.abs() * 0.1);
        roomy(low.max(least - reach), high.min(most + reach))
    }
}

fn shift(series: &Series, change: &LocatedChange) -> Shift {
    let class = match change.verdict {
        Some(Verdict::Regressed) => "shift bad",
        Some(Verdict::Improved) => "shift good",
        _ => "shift",
    };
    let level = |level: &Interval| format::value(level.estimate, &series.metric.unit);
    Shift {
        between: [change.index.saturating_sub(1), change.index],
        within: [change.last_before.index, change.first_after.index],
        class,
        title: format!(
            "From {} to {}, between the runs of {} and {}",
            level(&change.before),
            level(&change.after),
            change.last_before.started.minute(),
            change.first_after.started.minute()
        ),
    }
}

fn extremes(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least.is_finite() && most.is_finite() {
        (least, most)
    } else {
        (0.0, 0.0)
    }
}

/// The large chart of a series.
pub fn history(course: &Course, title: &str, description: &str) -> Result<String, String> {
    let (width, height) = (760, 280);
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    let shifts = draw_history(&area, course).map_err(|error| error.to_string())?;
    drop(area);
    body.push_str(&shifts);
    let chart = Chart {
        id: "history",
        class: "history",
        title,
        description,
        width,
        height,
        body,
    };
    chart.render()
}

/// The small chart of a table's row: an ornament, whose numbers stand beside it. Empty where there is no point.
pub fn spark(course: &Course) -> Result<String, String> {
    if course.len() == 0 {
        return Ok(String::new());
    }
    let (width, height) = (120, 28);
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    draw_spark(&area, course).map_err(|error| error.to_string())?;
    drop(area);
    let chart = Chart {
        id: "",
        class: "spark",
        title: "",
        description: "",
        width,
        height,
        body,
    };
    chart.render()
}

type Area<'a> = DrawingArea<Classed<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<Infallible>>;

/// Where a chart's points lie: by their number, by their value.
pub(super) type Plot<'a, 'b> =
    ChartContext<'a, Classed<'b>, Cartesian2d<RangedCoordi32, RangedCoordf64>>;

/// Draws all but the shifts and days, and returns these.
fn draw_history(
    area: &Area<'_>,
    course: &Course,
) -> Result<String, DrawingAreaErrorKind<Infallible>> {
    let span = course.span();
    let decimals = format::axis_decimals((span.end - span.start) / 6.0);
    let mut chart = ChartBuilder::on(area)
        .margin_top(12 * FINENESS)
        .margin_right(24 * FINENESS)
        .x_label_area_size(30 * FINENESS)
        .y_label_area_size(room(&span, decimals, &course.unit) * FINENESS)
        .build_cartesian_2d(places(course.len()), span.clone())?;
    draw_axes(&mut chart, course, decimals)?;
    let vertical = |&at: &usize| {
        let ends = vec![(place(at), span.start), (place(at), span.end)];
        PathElement::new(ends, Role::Change.color())
    };
    let point = |&at: &usize| point(course, at);
    let kept = thin(&course.estimates, POINTS);
    chart.draw_series(std::iter::once(band(course, &kept, &span)))?;
    chart.draw_series(course.changes.iter().rev().take(CHANGES).map(vertical))?;
    chart.draw_series(std::iter::once(line(course, &kept)))?;
    chart.draw_series(kept.iter().map(point))?;
    area.present()?;
    let shifts = course.shifts.iter().map(|shift| rule(&chart, shift, &span));
    let confirmed = course.confirmed.iter();
    let confirmed = confirmed.map(|told| sign(&chart, course, told));
    let missed = course.missed.iter();
    let missed = missed.map(|gap| gap_sign(&chart, course, gap, &span));
    Ok(shifts
        .chain(confirmed)
        .chain(missed)
        .chain(days(&chart, course, &span))
        .collect())
}

/// The days of some points, evenly chosen, below them. What stands at the right end ends there.
fn days(chart: &Plot<'_, '_>, course: &Course, span: &Range<f64>) -> Vec<String> {
    let last = course.len().saturating_sub(1);
    let parts = last.clamp(1, DAYS - 1);
    let is_full = parts == DAYS - 1;
    let at = |part: usize| match part {
        // The last one, which ends at its point, has half as much room again as the others.
        part if is_full && part < parts => 2 * last * part / (2 * parts + 1),
        part => last * part / parts,
    };
    let mut chosen: Vec<usize> = (0..=parts).map(at).collect();
    chosen.dedup_by_key(|at| course.day(place(*at)));
    let day = |at: usize| {
        let (x, y) = chart.backend_coord(&(place(at), span.start));
        let anchor = if at == last && last > 0 {
            "end"
        } else {
            "middle"
        };
        let tick = format!("<path class=\"axis\" d=\"M{} {}v5\"/>", units(x), units(y));
        let below = (x, y + 19 * FINENESS as i32);
        tick + &words_at(below, anchor, &course.day(place(at)))
    };
    chosen.into_iter().map(day).collect()
}

/// A vertical rule where the level changed, with a bar over the points between which that surely was.
pub(super) fn rule(chart: &Plot<'_, '_>, shift: &Shift, span: &Range<f64>) -> String {
    let at = |point: usize, value: f64| chart.backend_coord(&(place(point), value));
    let x = |point: usize| units(at(point, span.end).0);
    let [from, to] = shift.within.map(x);
    let [left, right] = shift.between.map(x);
    let (middle, top, bottom) = (
        f64::midpoint(left, right),
        units(at(0, span.end).1),
        units(at(0, span.start).1),
    );
    let d = format!("M{from:.1} {top}H{to:.1}M{middle:.1} {top}V{bottom}");
    titled_line(shift.class, &d, &shift.title)
}

/// A sign at the bottom, between the points before and after a run, or beyond the last.
fn gap_sign(chart: &Plot<'_, '_>, course: &Course, gap: &Gap, span: &Range<f64>) -> String {
    let x = |point: usize| units(chart.backend_coord(&(place(point), span.start)).0);
    let last = course.len().saturating_sub(1);
    let at = match gap.after {
        after if gap.is_point => x(after),
        0 => x(0) - BESIDE,
        after if after > last => x(last) + BESIDE,
        after => f64::midpoint(x(after - 1), x(after)),
    };
    let bottom = units(chart.backend_coord(&(0, span.start)).1) - 3.0;
    let (class, d) = if gap.is_skipped {
        ("missed", format!("M{at:.1} {bottom}v-8"))
    } else {
        let left = at - 3.5;
        ("missed bad", format!("M{left:.1} {bottom}l7 -7m0 7l-7 -7"))
    };
    let sign = titled_line(class, &d, &gap.title);
    if gap.count == 1 {
        return sign;
    }
    let (anchor, y) = (
        if gap.after > last { "end" } else { "middle" },
        bottom - 11.0,
    );
    let count = gap.count;
    format!(
        "{sign}<text class=\"name\" x=\"{at:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{count}\u{d7}</text>"
    )
}

/// How far from the first and last point a sign stands that is beyond them.
const BESIDE: f64 = 9.0;

/// A sign that points at a night from above, or from below where there is no room above it.
fn sign(chart: &Plot<'_, '_>, course: &Course, told: &Told) -> String {
    let (x, y) = chart.backend_coord(&(place(told.point), course.estimates[told.point]));
    let (x, y) = (units(x), units(y));
    let top = units(chart.plotting_area().get_pixel_range().1.start);
    let d = if y - 14.0 >= top {
        format!("M{x} {:.1}l-5 -9h10z", y - 5.0)
    } else {
        format!("M{x} {:.1}l-5 9h10z", y + 5.0)
    };
    titled_line("told", &d, &told.title)
}

fn draw_axes(chart: &mut Plot<'_, '_>, course: &Course, decimals: usize) -> Drawn {
    let color = Role::Label.color();
    let label = ("sans-serif", f64::from(12 * FINENESS), &color);
    let label = label.into_text_style(chart.plotting_area());
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(Role::Grid.color())
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(5 * FINENESS)
        .axis_style(Role::Axis.color())
        .x_labels(0)
        .y_labels(6)
        .y_label_style(label)
        .x_label_formatter(&|_| String::new())
        .y_label_formatter(&|value| axis_words(*value, decimals, &course.unit))
        .draw()
}

fn draw_spark(area: &Area<'_>, course: &Course) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(3 * FINENESS)
        .build_cartesian_2d(places(course.len()), course.span())?;
    let kept = thin(&course.estimates, SPARK_POINTS);
    chart.draw_series(std::iter::once(line(course, &kept)))?;
    let last = course.len().saturating_sub(1);
    chart.draw_series(std::iter::once(point(course, last)))?;
    area.present()
}

pub(super) fn point(course: &Course, at: usize) -> Circle<(i32, f64), u32> {
    let center = (place(at), course.estimates[at]);
    Circle::new(center, 3, Role::Point.color().filled())
}

/// The place of a point by its number.
fn place(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(i32::MAX)
}

/// Evenly spaced places; a single one stands in the middle.
pub(super) fn places(count: usize) -> Range<i32> {
    if count < 2 {
        -1..1
    } else {
        0..place(count - 1)
    }
}

pub(super) fn line(course: &Course, kept: &[usize]) -> PathElement<(i32, f64)> {
    let corner = |&at: &usize| (place(at), course.estimates[at]);
    PathElement::new(
        kept.iter().map(corner).collect::<Vec<_>>(),
        Role::Line.color(),
    )
}

pub(super) fn band(course: &Course, kept: &[usize], span: &Range<f64>) -> Polygon<(i32, f64)> {
    let within = |value: f64| value.clamp(span.start, span.end);
    let above = kept.iter().map(|&at| (place(at), within(course.highs[at])));
    let below = kept
        .iter()
        .rev()
        .map(|&at| (place(at), within(course.lows[at])));
    Polygon::new(above.chain(below).collect::<Vec<_>>(), Role::Band.color())
}

impl Course {
    /// The day of a point, or its time of day where all lie within two days.
    fn day(&self, at: i32) -> String {
        let Some(time) = usize::try_from(at).ok().and_then(|at| self.times.get(at)) else {
            return String::new();
        };
        let (first, last) = (
            self.times[0].unix_ns(),
            self.times[self.len() - 1].unix_ns(),
        );
        let minute = time.minute();
        let two_days_ns = 2 * 86_400 * 1_000_000_000;
        if last - first > two_days_ns {
            minute.chars().take(10).collect()
        } else {
            minute.chars().skip(5).take(11).collect()
        }
    }
}
