//! What the charts of one run and of a machine share: the sheet they are drawn on, and axes of plain numbers.

use std::convert::Infallible;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Chart;
use super::backend::{Classed, FINENESS, Role, words_at};

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
        let mut chart = ChartBuilder::on(area)
            .margin_top(10 * FINENESS)
            .margin_right(16 * FINENESS)
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

/// A span around values, and no less than 4 % of their size, so that noise does not look like news.
pub fn roomy(least: f64, most: f64) -> Range<f64> {
    let middle = f64::midpoint(least, most);
    let short = (middle.abs() * 0.04).max(f64::MIN_POSITIVE * 1e6) - (most - least);
    let pad = (most - least) * 0.08 + short.max(0.0) / 2.0;
    least - pad..most + pad
}

/// A sorted value by its share: 0 is the least, 1 the most. Zero of none.
pub fn ranked(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round() as usize;
    sorted.get(at.min(last)).copied().unwrap_or(0.0)
}
