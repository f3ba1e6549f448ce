//! The roofline: what kernels reach beside what the machine can give at their arithmetic intensity.
//!
//! S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
//! architectures", CACM 52(4), 2009. Both axes are logarithmic.

use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::combinators::LogCoord;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::backend::{Classed, FINENESS, Role, titled_line, units, words_at};
use super::sheet::{Area, Drawn, Words, sheet};
use crate::format;

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

/// What bounds the kernels, by name.
#[derive(Default)]
pub struct Roofs {
    /// Bytes per second of memory levels.
    pub levels: Vec<(&'static str, f64)>,
    /// Floating-point operations per second of units.
    pub units: Vec<(&'static str, f64)>,
}

impl Roofs {
    fn highest(of: &[(&'static str, f64)]) -> Option<f64> {
        of.iter().map(|(_, rate)| *rate).reduce(f64::max)
    }
}

/// All kernels under all roofs; there is at least one kernel.
pub fn roofline(kernels: &[Kernel], roofs: &Roofs, words: Words<'_>) -> Result<String, String> {
    let intensities = kernels.iter().map(|kernel| kernel.intensity);
    let x = decades(intensities.chain(ridges(roofs)));
    let rates = kernels.iter().map(|kernel| kernel.rate);
    let tops = roofs.units.iter().map(|(_, rate)| *rate);
    let y = decades(rates.chain(tops));
    sheet(words, "roofline", (760, 400), |area| {
        let mut chart = axes(area, x.clone(), y.clone())?;
        let roof = |line: Vec<(f64, f64)>| PathElement::new(line, Role::Limit.color());
        let lines: Vec<Roof> = lines(roofs, &x, &y);
        chart.draw_series(lines.iter().map(|line| roof(line.ends.to_vec())))?;
        area.present()?;
        let mut more = String::new();
        for line in &lines {
            let (x, y) = chart.backend_coord(&line.ends[1]);
            let step = 4 * FINENESS as i32;
            let (place, anchor) = if line.is_level {
                ((x, y - step), "middle")
            } else {
                ((x + step, y + step), "start")
            };
            more.push_str(&words_at(place, anchor, line.name));
        }
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
    levels.filter_map(move |(_, rate)| Some(top? / rate))
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
struct Roof {
    name: &'static str,
    ends: [(f64, f64); 2],
    is_level: bool,
}

fn lines(roofs: &Roofs, x: &Range<f64>, y: &Range<f64>) -> Vec<Roof> {
    let top = Roofs::highest(&roofs.units).unwrap_or(y.end / 1.5);
    let levels = roofs.levels.iter().filter_map(|&(name, rate)| {
        // From the left edge, or from the lower one where it begins there.
        let from = x.start.max(y.start / rate);
        let to = (top / rate).min(x.end / 1.3);
        (from < to).then_some(Roof {
            name,
            ends: [(from, from * rate), (to, to * rate)],
            is_level: true,
        })
    });
    let fastest = Roofs::highest(&roofs.levels);
    let units = roofs.units.iter().map(|&(name, rate)| {
        let from = fastest.map_or(x.start, |level| (rate / level).max(x.start));
        Roof {
            name,
            ends: [(from.min(x.end), rate), (x.end, rate)],
            is_level: false,
        }
    });
    levels.chain(units).collect()
}

fn axes<'a, 'b>(area: &'a Area<'b>, x: Range<f64>, y: Range<f64>) -> Drawn<Plot<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(18 * FINENESS)
        .margin_right(76 * FINENESS)
        .x_label_area_size(28 * FINENESS)
        .y_label_area_size(86 * FINENESS)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    let color = Role::Label.color();
    let label = ("sans-serif", f64::from(12 * FINENESS), &color);
    let label = label.into_text_style(chart.plotting_area());
    let flops =
        |rate: &f64| format::value(*rate, &assay_protocol::Unit::FlopsPerSecond).to_string();
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
    use super::{Roofs, decades, lines};

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
            levels: vec![("dram", 1e10)],
            units: vec![("f32", 1e11)],
        };
        let found = lines(&roofs, &(0.01..100.0), &(1e8..1e12));
        let [level, unit] = &found[..] else {
            panic!("{}", found.len());
        };
        assert_eq!(level.ends[1], (10.0, 1e11));
        assert_eq!(unit.ends[0], (10.0, 1e11));
        assert_eq!(level.ends[0], (0.01, 1e8));
    }
}
