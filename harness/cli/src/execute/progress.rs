//! What a run says on stderr while it goes on: a bar with the time left, or plain lines where it is no terminal.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use assay_record::{Block, BlockStatus};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::visible;

/// Least time between two plain lines.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Progress of a run over its visits.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    begun: Instant,
    last_line: Instant,
}

impl Progress {
    /// For that many visits.
    pub fn new(visits: u64, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !quiet {
            ProgressBar::new(visits)
        } else {
            ProgressBar::hidden()
        };
        bar.set_length(visits);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {wide_msg}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            plain: !terminal && !quiet,
            begun: Instant::now(),
            last_line: Instant::now(),
        }
    }

    /// More visits than were planned at first.
    pub fn extend(&self, visits: u64) {
        self.bar.inc_length(visits);
    }

    /// A visit begins.
    pub fn visit(&self, case: &str, round: u32) {
        self.bar.set_message(format!("round {} {case}", round + 1));
    }

    /// A visit has ended.
    pub fn visited(&mut self, block: &Block, attempt: u32) {
        if attempt == 0 {
            self.bar.inc(1);
        }
        if let BlockStatus::Failed(reason) | BlockStatus::Wrong(reason) = &block.status {
            self.say(&format!(
                "{}: {}: {reason}",
                block.status.name(),
                block.case
            ));
        }
        if self.plain && self.last_line.elapsed() >= LINE_PERIOD {
            self.last_line = Instant::now();
            crate::note!(
                "{}/{} visits, about {} s left",
                self.bar.position(),
                self.bar.length().unwrap_or(0),
                self.left().as_secs()
            );
        }
    }

    /// A line above the bar.
    fn say(&self, line: &str) {
        if self.plain {
            crate::note!("{line}");
        } else {
            // A reason comes from a worker.
            self.bar.println(visible(line));
        }
    }

    fn left(&self) -> Duration {
        let done = self.bar.position().max(1) as f64;
        let remaining = self.bar.length().unwrap_or(0) as f64 - done;
        self.begun.elapsed().mul_f64((remaining / done).max(0.0))
    }

    /// The run is over.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
