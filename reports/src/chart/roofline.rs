//! The roofline: what kernels reach beside what the machine can give at their arithmetic intensity.
//!
//! S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
//! architectures", CACM 52(4), 2009. Both axes are logarithmic.

use std::fmt::Write as _;
use std::ops::Range;

use assay_stats::Interval;
use plotters::coord::combinators::LogCoord;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::backend::{Classed, FINENESS, Role, titled_line, units, words_at};
use super::sheet::{Area, Drawn, Words, sheet};
use crate::format;

/// Room of a letter and of a line of words, in pixels of plotters: as large as a phone's stylesheet makes them.
const LETTER: i32 = 11 * FINENESS as i32;
const LINE: i32 = 20 * FINENESS as i32;

type Plot<'a, 'b> = ChartContext<'a, Classed<'b>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

/// A kernel on the roofline.
pub struct Kernel {
    /// Floating-point operations per byte.
    pub intensity: f64,
    /// Floating-point operations per second.
    pub rate: f64,
    /// What it says when it is pointed at.
    pub title: String,
}

/// A ceiling.
pub struct Limit {
    /// Of what.
    pub name: &'static str,
    /// Bytes or floating-point operations per second.
    pub rate: Interval,
    /// Whether it was measured while others used the machine.
    pub disturbed: bool,
    /// What it says when it is pointed at.
    pub title: String,
}

/// What bounds the kernels.
#[derive(Default)]
pub struct Roofs {
    /// Memory levels.
    pub levels: Vec<Limit>,
    /// Arithmetic units.
    pub units: Vec<Limit>,
}

impl Roofs {
    fn highest(of: &[Limit]) -> Option<f64> {
        of.iter().map(|limit| limit.rate.estimate).reduce(f64::max)
    }
}

/// All kernels under all roofs; there is at least one kernel.
pub fn roofline(kernels: &[Kernel], roofs: &Roofs, words: Words<'_>) -> Result<String, String> {
    let intensities = kernels.iter().map(|kernel| kernel.intensity);
    let x = decades(intensities.chain(ridges(roofs)));
    let rates = kernels.iter().map(|kernel| kernel.rate);
    let tops = roofs.units.iter().map(|limit| limit.rate.estimate);
    let y = decades(rates.chain(tops));
    sheet(words, "roofline", (760, 400), |area| {
        let mut chart = axes(area, x.clone(), y.clone())?;
        let lines: Vec<Roof<'_>> = lines(roofs, &x, &y);
        let band = |line: &Roof<'_>| Polygon::new(line.band(&x, &y), Role::Band.color());
        chart.draw_series(lines.iter().map(band))?;
        area.present()?;
        let mut more: String = lines.iter().map(|line| drawn(&chart, line)).collect();
        more.push_str(&names(&chart, &lines));
        for kernel in kernels {
            let (x, y) = chart.backend_coord(&(kernel.intensity, kernel.rate));
            let mut d = String::new();
            let _ = write!(d, "M{} {}h0", units(x), units(y));
            more.push_str(&titled_line("points", &d, &kernel.title));
        }
        Ok(more)
    })
}

/// Where the roofs of memory levels meet the highest of the units.
fn ridges(roofs: &Roofs) -> impl Iterator<Item = f64> {
    let top = Roofs::highest(&roofs.units);
    let levels = roofs.levels.iter();
    levels.filter_map(move |limit| Some(top? / limit.rate.estimate))
}

/// A span around values with some room, of two decades at least.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values {
        least = least.min(value);
        most = most.max(value);
    }
    let missing = (100.0 / (most / least)).max(1.0).sqrt();
    least / missing / 2.5..most * missing * 2.5
}

/// A roof as it is drawn: its name stands at its right end.
struct Roof<'a> {
    limit: &'a Limit,
    ends: [(f64, f64); 2],
    is_level: bool,
}

impl Roof<'_> {
    /// Where the roof may be, by the interval of the ceiling, within the axes.
    fn band(&self, x: &Range<f64>, y: &Range<f64>) -> Vec<(f64, f64)> {
        let [(line_from, _), (to, _)] = self.ends;
        // The upper edge meets the lower axis before the line does.
        let from = if self.is_level {
            x.start.max(y.start / self.limit.rate.high)
        } else {
            line_from
        };
        let edge = |rate: f64| {
            let rate_at = |x: f64| if self.is_level { x * rate } else { rate };
            let (first, last) = if self.is_level {
                (y.start / rate, y.end / rate)
            } else {
                (x.start, x.end)
            };
            let inside = [from, from.max(first).min(to), to.min(last).max(from), to];
            inside.map(|x| (x, rate_at(x).clamp(y.start, y.end)))
        };
        let above = edge(self.limit.rate.high).into_iter();
        above
            .chain(edge(self.limit.rate.low).into_iter().rev())
            .collect()
    }
}

fn lines<'a>(roofs: &'a Roofs, x: &Range<f64>, y: &Range<f64>) -> Vec<Roof<'a>> {
    let top = Roofs::highest(&roofs.units).unwrap_or(y.end / 1.5);
    let levels = roofs.levels.iter().filter_map(|limit| {
        let rate = limit.rate.estimate;
        // From the left edge, or from the lower one where it begins there.
        let from = x.start.max(y.start / rate);
        let to = (top / rate).min(x.end / 1.3);
        (from < to).then_some(Roof {
            limit,
            ends: [(from, from * rate), (to, to * rate)],
            is_level: true,
        })
    });
    let fastest = Roofs::highest(&roofs.levels);
    let units = roofs.units.iter().map(|limit| {
        let rate = limit.rate.estimate;
        let from = fastest.map_or(x.start, |level| (rate / level).max(x.start));
        Roof {
            limit,
            ends: [(from.min(x.end), rate), (x.end, rate)],
            is_level: false,
        }
    });
    levels.chain(units).collect()
}

/// The line of a roof.
fn drawn(chart: &Plot<'_, '_>, roof: &Roof<'_>) -> String {
    let [from, to] = roof.ends.map(|end| chart.backend_coord(&end));
    let d = format!(
        "M{} {}L{} {}",
        units(from.0),
        units(from.1),
        units(to.0),
        units(to.1)
    );
    let class = if roof.limit.disturbed {
        "limit disturbed"
    } else {
        "limit"
    };
    titled_line(class, &d, &roof.limit.title)
}

/// The names of the roofs: of those that rise above their right ends, of the others below them. Where two would be written over
/// each other, they are written beside each other.
fn names(chart: &Plot<'_, '_>, roofs: &[Roof<'_>]) -> String {
    let mut words: Vec<(bool, (i32, i32), String)> = Vec::new();
    for roof in roofs {
        let name = roof.limit.name;
        let (x, y) = chart.backend_coord(&roof.ends[1]);
        let place = (x, y + if roof.is_level { -5 } else { 19 } * FINENESS as i32);
        let near = words
            .iter_mut()
            .find(|(is_level, (other_x, other_y), text)| {
                let length = (text.chars().count() + name.chars().count()) as i32;
                let across = if roof.is_level {
                    LETTER * length
                } else {
                    i32::MAX
                };
                *is_level == roof.is_level
                    && (x - other_x).abs() < across
                    && (place.1 - other_y).abs() < LINE
            });
        match near {
            Some((_, _, text)) => *text = format!("{text}, {name}"),
            None => words.push((roof.is_level, place, name.to_owned())),
        }
    }
    let written = words.into_iter().map(|(is_level, place, text)| {
        let anchor = if is_level { "middle" } else { "end" };
        words_at(place, anchor, &text)
    });
    written.collect()
}

fn axes<'a, 'b>(area: &'a Area<'b>, x: Range<f64>, y: Range<f64>) -> Drawn<Plot<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(18 * FINENESS)
        .margin_right(24 * FINENESS)
        .x_label_area_size(28 * FINENESS)
        .y_label_area_size(72 * FINENESS)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let color = Role::Label.color();
    let label = ("sans-serif", f64::from(12 * FINENESS), &color);
    let label = label.into_text_style(chart.plotting_area());
    // The unit is said below the chart: on a phone there is no room for it here.
    let flops = |rate: &f64| {
        let shown = format::value(*rate, &assay_protocol::Unit::FlopsPerSecond);
        let number = shown.value.trim_end_matches('0').trim_end_matches('.');
        let number = if shown.value.contains('.') {
            number
        } else {
            &shown.value
        };
        let prefix = shown.unit.trim_end_matches("FLOP/s");
        format!("{number} {prefix}").trim_end().to_owned()
    };
    chart
        .configure_mesh()
        .bold_line_style(Role::Grid.color())
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(5 * FINENESS)
        .axis_style(Role::Axis.color())
        .x_labels(8)
        .y_labels(8)
        .x_label_style(label.clone().pos(Pos::new(HPos::Center, VPos::Top)))
        .y_label_style(label)
        .x_label_formatter(&|intensity| format::scientific(*intensity))
        .y_label_formatter(&flops)
        .draw()?;
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use assay_stats::Interval;

    use super::{Kernel, Limit, Roofs, Words, decades, lines, roofline};

    fn limit(name: &'static str, rate: f64, share: f64) -> Limit {
        Limit {
            name,
            rate: Interval {
                estimate: rate,
                low: rate / (1.0 + share),
                high: rate * (1.0 + share),
                confidence: 0.95,
            },
            disturbed: share > 0.5,
            title: String::new(),
        }
    }

    #[test]
    fn spans_have_two_decades_at_least() {
        let span = decades([1.0, 2.0].into_iter());
        assert!(span.end / span.start >= 100.0 && span.start < 1.0 && span.end > 2.0);
        let wide = decades([1e-3, 1e3].into_iter());
        assert!(wide.start > 1e-4 && wide.end < 1e4);
    }

    /// A level's roof ends where it meets the highest unit; that is where the unit's begins.
    #[test]
    fn roofs_meet_at_the_ridge() {
        let roofs = Roofs {
            levels: vec![limit("dram", 1e10, 0.1)],
            units: vec![limit("f32", 1e11, 0.1)],
        };
        let found = lines(&roofs, &(0.01..100.0), &(1e8..1e12));
        let [level, unit] = &found[..] else {
            panic!("{}", found.len());
        };
        assert_eq!(level.ends[1], (10.0, 1e11));
        assert_eq!(unit.ends[0], (10.0, 1e11));
        assert_eq!(level.ends[0], (0.01, 1e8));
    }

    /// How well a ceiling is known is seen, and stays between the axes.
    #[test]
    fn a_roof_is_as_wide_as_its_ceiling_is_uncertain() {
        let roofs = Roofs {
            levels: vec![limit("l1", 1e11, 1.0)],
            units: vec![limit("f32", 1e11, 0.1)],
        };
        let (x, y) = (0.01..100.0, 1e9..3e11);
        let found = lines(&roofs, &x, &y);
        for roof in &found {
            for (at, rate) in roof.band(&x, &y) {
                assert!(x.start <= at && at <= x.end && y.start <= rate && rate <= y.end);
            }
        }
        let unit = found[1].band(&x, &y);
        assert!((unit[0].1 / unit[7].1 - 1.21).abs() < 1e-9, "{unit:?}");
    }

    #[test]
    fn names_of_roofs_are_not_written_over_each_other() {
        let roofs = Roofs {
            levels: vec![limit("l1", 2.0e11, 0.9), limit("l2", 1.9e11, 0.1)],
            units: vec![limit("f32", 1e12, 0.1), limit("f64", 1e11, 0.1)],
        };
        let kernel = Kernel {
            intensity: 1.0,
            rate: 1e10,
            title: String::new(),
        };
        let words = Words {
            id: "x",
            title: "",
            description: "",
        };
        let drawn = roofline(&[kernel], &roofs, words).unwrap();
        assert!(drawn.contains(">l1, l2<") && drawn.contains(">f32<") && drawn.contains(">f64<"));
        assert_eq!(drawn.matches("limit disturbed").count(), 1);
    }
}
