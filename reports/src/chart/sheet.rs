//! What the charts of one run and of a machine share: the sheet they are drawn on, and axes of plain numbers.

use std::convert::Infallible;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Chart;
use super::backend::{Classed, FINENESS, Role, words_at};
use crate::format;

/// Where a chart is drawn.
pub type Area<'a> = DrawingArea<Classed<'a>, Shift>;
/// What drawing gives; it cannot fail but for a mistake of ours.
pub type Drawn<T> = Result<T, DrawingAreaErrorKind<Infallible>>;
/// A chart with two axes of plain numbers.
pub type Plot<'a, 'b> = ChartContext<'a, Classed<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What a chart says in words. `id` tells it from other charts of the page.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    /// Part of the ids of its title and description.
    pub id: &'a str,
    /// What it is.
    pub title: &'a str,
    /// What it shows, for those who do not see it.
    pub description: &'a str,
}

/// Draws a chart of a class and size. What `draw` returns is written after all that plotters drew.
pub fn sheet(
    words: Words<'_>,
    class: &str,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Drawn<String>,
) -> Result<String, String> {
    let mut body = String::new();
    let area = Classed::new(width, height, &mut body).into_drawing_area();
    let more = draw(&area).map_err(|error| error.to_string())?;
    drop(area);
    body.push_str(&more);
    let chart = Chart {
        id: words.id,
        class,
        title: words.title,
        description: words.description,
        width,
        height,
        body,
    };
    chart.render()
}

/// Axes of plain numbers and what stands at them.
pub struct Axes<'a> {
    /// What the horizontal axis spans.
    pub x: Range<f64>,
    /// What the vertical axis spans.
    pub y: Range<f64>,
    /// Room for the labels at the left, in units of the drawing.
    pub left: u32,
    /// About how many labels each axis has.
    pub labels: (usize, usize),
    /// Whether lines help to read across.
    pub vertical_lines: bool,
    /// A place on the horizontal axis in words; empty where [`marks`] are put there.
    pub x_words: &'a dyn Fn(&f64) -> String,
    /// A value in words.
    pub y_words: &'a dyn Fn(&f64) -> String,
}

impl Axes<'_> {
    /// Draws them, for what is to be drawn between them.
    pub fn draw<'a, 'b>(&self, area: &'a Area<'b>) -> Drawn<Plot<'a, 'b>> {
        // A label may stand below the right end, and half of it beyond.
        let right = if self.labels.0 > 0 { 46 } else { 16 };
        let mut chart = ChartBuilder::on(area)
            .margin_top(10 * FINENESS)
            .margin_right(right * FINENESS)
            .x_label_area_size(26 * FINENESS)
            .y_label_area_size(self.left * FINENESS)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let color = Role::Label.color();
        let label = ("sans-serif", f64::from(12 * FINENESS), &color);
        let label = label.into_text_style(chart.plotting_area());
        let mut mesh = chart.configure_mesh();
        if !self.vertical_lines {
            mesh.disable_x_mesh();
        }
        mesh.bold_line_style(Role::Grid.color())
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(5 * FINENESS)
            .axis_style(Role::Axis.color())
            .x_labels(self.labels.0)
            .y_labels(self.labels.1)
            .x_label_style(label.clone().pos(Pos::new(HPos::Center, VPos::Top)))
            .y_label_style(label)
            .x_label_formatter(self.x_words)
            .y_label_formatter(self.y_words)
            .draw()?;
        Ok(chart)
    }
}

/// Words below places of the horizontal axis; what stands at its right end ends there.
pub fn marks(chart: &Plot<'_, '_>, axes: &Axes<'_>, marks: &[(f64, String)]) -> String {
    let mark = |(place, words): &(f64, String)| {
        let (x, y) = chart.backend_coord(&(*place, axes.y.start));
        let anchor = if *place < axes.x.end { "middle" } else { "end" };
        words_at((x, y + 17 * FINENESS as i32), anchor, words)
    };
    marks.iter().map(mark).collect()
}

/// A value at an axis with its unit.
pub fn axis_words(value: f64, decimals: usize, symbol: &str) -> String {
    let number = format::axis_number(value, decimals);
    format!("{number} {symbol}").trim_end().to_owned()
}

/// Room for the labels of values at the left of a large chart, in units of the drawing, as wide as letters are on a phone.
pub fn room(span: &Range<f64>, decimals: usize, symbol: &str) -> u32 {
    (letters(span, decimals, symbol) * 12 + 14).clamp(72, 180)
}

/// Letters of the longest words at a vertical axis.
pub fn letters(span: &Range<f64>, decimals: usize, symbol: &str) -> u32 {
    let letters = |value: f64| axis_words(value, decimals, symbol).chars().count();
    let most = letters(span.start).max(letters(span.end));
    u32::try_from(most).unwrap_or(0)
}

/// A span around values, and no less than 4 % of their size, so that noise does not look like news. Where nothing is
/// negative, the span is not either; of zeros alone it is from 0 to 1.
pub fn roomy(least: f64, most: f64) -> Range<f64> {
    if least == 0.0 && most == 0.0 {
        return 0.0..1.0;
    }
    let middle = f64::midpoint(least, most);
    let short = (middle.abs() * 0.04).max(f64::MIN_POSITIVE * 1e6) - (most - least);
    let pad = (most - least) * 0.08 + short.max(0.0) / 2.0;
    let floor = if least >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    (least - pad).max(floor)..most + pad
}

/// A sorted value by its share: 0 is the least, 1 the most. Zero of none.
pub fn ranked(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::roomy;

    #[test]
    fn a_span_is_as_the_values_are() {
        assert_eq!(roomy(0.0, 0.0), 0.0..1.0);
        assert_eq!(roomy(0.0, 100.0), 0.0..108.0);
        assert_eq!(roomy(98.0, 102.0), 97.68..102.32);
        assert!(roomy(-1.0, 1.0).start < -1.0);
        let flat = roomy(5.0, 5.0);
        assert!(flat.start < 5.0 && flat.end > 5.0);
    }
}
