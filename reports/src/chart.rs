//! Charts as inline SVG: plotters draws, our backend writes classes for the stylesheet.
//!
//! A chart stays small however long the history is, has a title and a description in words, and
//! carries no colour of its own, so that dark mode and print are the stylesheet's business. Runs are
//! evenly spaced: a week without runs is no gap, and a day with twenty is no blot.

mod backend;
mod bars;
mod curve;
mod ecdf;
mod forest;
mod gauge;
mod heat;
mod history;
mod roofline;
mod rounds;
mod sheet;
mod small;
mod thin;

use serde::Serialize;

pub use bars::{Bars, bars};
pub use curve::curve;
pub use ecdf::{Sides, ecdf};
pub use forest::{Axis, forest};
pub use gauge::{Stretch, gauge};
pub use heat::{Heat, heat};
pub use history::{Course, SHIFTS, history, spark};
pub use roofline::{Kernel, Limit, Roofs, roofline};
pub use rounds::{Round, rounds};
pub use sheet::{Words, ranked};
pub use small::{Caption, small};

use crate::templates;

/// A drawing with its words, as `chart.svg` takes it.
#[derive(Serialize)]
struct Chart<'a> {
    id: &'a str,
    class: &'a str,
    title: &'a str,
    description: &'a str,
    width: u32,
    height: u32,
    body: String,
}

impl Chart<'_> {
    fn render(&self) -> Result<String, String> {
        templates::render("chart.svg", self).map_err(|error| error.to_string())
    }
}
