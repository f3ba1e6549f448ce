//! A series as a chart of characters: its runs evenly spaced, the oldest at the left.

use assay_record::Timestamp;
use assay_reports::format;
use assay_verdicts::{CaseHistory, LocatedChange, Verdict};

/// Size of the plot, in characters.
const COLUMNS: usize = 64;
const ROWS: usize = 10;
/// Rows from one labelled value to the next.
const LABEL_EVERY: usize = 3;
/// The least that the vertical axis spans, as a share of the value: noise shall not look like news.
const LEAST_SPAN: f64 = 0.04;

/// The lines of the chart; none for a series without points.
///
/// Below the plot, where there are any: changes, each with the runs that it may have come with; runs before which the
/// machine changed; runs that a mark names.
pub fn lines(history: &CaseHistory) -> Vec<String> {
    let Some(plot) = Plot::of(history) else {
        return Vec::new();
    };
    let count = history.series.points.len();
    let changed = history
        .series
        .points
        .iter()
        .enumerate()
        .filter(|(_, point)| !point.changes.is_empty());
    let marked = history
        .marks
        .iter()
        .filter_map(|mark| mark.place(&history.series.points));
    let mut lines: Vec<String> = (0..ROWS).map(|row| plot.row(row)).collect();
    lines.push(plot.line("", '└', &"─".repeat(COLUMNS)));
    lines.extend(plot.below("change", changes(&history.changes, count)));
    lines.extend(plot.below("machine", at('*', changed.map(|(at, _)| at), count)));
    lines.extend(plot.below("mark", at('#', marked, count)));
    lines.push(plot.line("", ' ', &days(history)));
    lines
}

/// Where the points lie, and what the axis says.
struct Plot {
    cells: Vec<Vec<bool>>,
    labels: Vec<String>,
    width: usize,
}

impl Plot {
    fn of(history: &CaseHistory) -> Option<Self> {
        let series = &history.series;
        let values: Vec<f64> = series
            .points
            .iter()
            .map(|point| point.estimate.estimate)
            .collect();
        let (low, high) = span(&values)?;
        let step = (high - low) / (ROWS - 1) as f64;
        let mut cells = vec![vec![false; COLUMNS]; ROWS];
        for (at, value) in values.iter().enumerate() {
            let row = ((high - value) / step).round() as usize;
            cells[row.min(ROWS - 1)][column(at, values.len())] = true;
        }
        let (factor, unit) = format::axis_scale(low.abs().max(high.abs()), &series.metric.unit);
        let decimals = format::axis_decimals(step * LABEL_EVERY as f64 / factor);
        let label = |row: usize| {
            let value = (high - step * row as f64) / factor;
            if row.is_multiple_of(LABEL_EVERY) {
                format!("{value:.decimals$} {unit}")
            } else {
                String::new()
            }
        };
        let labels: Vec<String> = (0..ROWS).map(label).collect();
        let width = labels
            .iter()
            .map(|label| label.chars().count())
            .max()?
            .max("machine".len());
        Some(Self {
            cells,
            labels,
            width,
        })
    }

    fn row(&self, row: usize) -> String {
        let axis = if self.labels[row].is_empty() {
            '│'
        } else {
            '┤'
        };
        let dots: String = self.cells[row]
            .iter()
            .map(|is_set| if *is_set { '•' } else { ' ' })
            .collect();
        self.line(&self.labels[row], axis, &dots)
    }

    fn line(&self, label: &str, axis: char, content: &str) -> String {
        let line = format!("{label:>width$} {axis}{content}", width = self.width);
        line.trim_end().to_owned()
    }

    /// A row of signs under the plot, unless it is empty.
    fn below(&self, label: &str, signs: [char; COLUMNS]) -> Option<String> {
        let text: String = signs.iter().collect();
        (!text.trim().is_empty()).then(|| self.line(label, ' ', &text))
    }
}

/// The days of the first and the last run; their minutes, where it is one day.
fn days(history: &CaseHistory) -> String {
    let points = &history.series.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return String::new();
    };
    let (from, to) = (first.started, last.started);
    let word = |time: Timestamp| {
        if from.day() == to.day() {
            time.minute()
        } else {
            time.day().to_string()
        }
    };
    let (from, to) = (word(from), word(to));
    if points.len() == 1 {
        return format!("{from:^COLUMNS$}");
    }
    format!("{from}{to:>rest$}", rest = COLUMNS - from.len())
}

/// The lowest and highest value of the axis.
fn span(values: &[f64]) -> Option<(f64, f64)> {
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    let middle = f64::midpoint(low, high);
    let length = (high - low).max(middle.abs() * LEAST_SPAN);
    let reach = if length > 0.0 { length / 2.0 } else { 0.5 };
    Some((middle - reach, middle + reach))
}

/// The column of a point; a single one stands in the middle.
fn column(at: usize, count: usize) -> usize {
    if count < 2 {
        return COLUMNS / 2;
    }
    at * (COLUMNS - 1) / (count - 1)
}

fn at(sign: char, points: impl Iterator<Item = usize>, count: usize) -> [char; COLUMNS] {
    let mut signs = [' '; COLUMNS];
    for point in points {
        signs[column(point, count)] = sign;
    }
    signs
}

/// Each change as its sign, on the runs with which it may have come.
fn changes(changes: &[LocatedChange], count: usize) -> [char; COLUMNS] {
    let mut signs = [' '; COLUMNS];
    for change in changes {
        let (from, to) = (change.last_before.index + 1, change.first_after.index);
        signs[column(from, count)..=column(to, count)].fill('─');
    }
    for change in changes {
        signs[column(change.index, count)] = sign(change);
    }
    signs
}

/// `▼` worse, `▲` better, `◆` neither.
pub fn sign(change: &LocatedChange) -> char {
    match change.verdict {
        Some(Verdict::Regressed) => '▼',
        Some(Verdict::Improved) => '▲',
        _ => '◆',
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{Digest, Metric, TimingMode, Work};
    use assay_record::{RunId, Timestamp};
    use assay_stats::Interval;
    use assay_store::SeriesKey;
    use assay_verdicts::{CaseHistory, LocatedChange, Marks, Point, Series, Spot, Verdict};

    use super::{COLUMNS, ROWS, lines};

    fn interval(estimate: f64) -> Interval {
        Interval {
            estimate,
            low: estimate,
            high: estimate,
            confidence: 0.95,
        }
    }

    fn history(values: &[f64]) -> CaseHistory {
        let point = |(at, value): (i64, &f64)| {
            let started =
                Timestamp::from_unix_ns(1_788_000_000_000_000_000 + at * 86_400_000_000_000)
                    .unwrap();
            Point {
                run: RunId::new(started, b"chart"),
                started,
                commit: None,
                dirty: false,
                estimate: interval(*value),
                rounds: 6,
                changes: Vec::new(),
            }
        };
        let series = Series {
            key: SeriesKey {
                suite: "s".into(),
                case: "c".into(),
                metric: Metric::TIME.into(),
                timing: TimingMode::Hot,
                definition: Digest::of("d"),
                machine: "m".into(),
                arm: "main".into(),
            },
            metric: Metric::time(),
            work: Work::default(),
            points: (0..).zip(values).map(point).collect(),
            impossible: Vec::new(),
        };
        CaseHistory::of(series, &Marks::default(), Timestamp::now().day())
    }

    /// Rows and columns of the dots, and the labels.
    fn drawn(values: &[f64]) -> (Vec<(usize, usize)>, Vec<String>) {
        let lines = lines(&history(values));
        let plot = &lines[..ROWS];
        let mut dots = Vec::new();
        for (row, line) in plot.iter().enumerate() {
            let (_, cells) = line.split_once(['│', '┤']).unwrap();
            assert!(cells.chars().count() <= COLUMNS);
            let marked = cells.chars().enumerate().filter(|(_, cell)| *cell == '•');
            dots.extend(marked.map(|(column, _)| (row, column)));
        }
        let labels = plot.iter().filter_map(|line| line.split_once('┤'));
        (
            dots,
            labels.map(|(label, _)| label.trim().to_owned()).collect(),
        )
    }

    #[test]
    fn points_lie_at_their_place_and_height() {
        assert!(lines(&history(&[])).is_empty());
        assert_eq!(drawn(&[7.0]).0, [(5, COLUMNS / 2)]);
        assert_eq!(
            drawn(&[1000.0, 2000.0]).0,
            [(0, COLUMNS - 1), (ROWS - 1, 0)]
        );
        assert_eq!(
            drawn(&[1000.0, 2000.0]).1,
            ["2.0 µs", "1.7 µs", "1.3 µs", "1.0 µs"]
        );
        // Half a percent up and down is drawn as what it is: nothing much.
        let quiet: Vec<usize> = drawn(&[100.0, 100.5, 100.0])
            .0
            .iter()
            .map(|dot| dot.0)
            .collect();
        assert!(quiet.iter().all(|row| (3..=6).contains(row)), "{quiet:?}");
    }

    #[test]
    fn a_change_lies_on_the_runs_that_it_may_have_come_with() {
        let mut history = history(&[1.0; COLUMNS]);
        let spot = |index: usize| {
            let point = &history.series.points[index];
            Spot {
                index,
                run: point.run.clone(),
                started: point.started,
                commit: None,
                dirty: false,
            }
        };
        history.changes = vec![LocatedChange {
            index: 10,
            last_before: spot(7),
            first_after: spot(12),
            before: interval(1.0),
            after: interval(1.1),
            ratio: Some(interval(1.1)),
            verdict: Some(Verdict::Regressed),
            p_value: 1e-6,
            gradual: false,
            machine: Vec::new(),
            mark: None,
        }];
        let lines = lines(&history);
        let change = lines.iter().find(|line| line.contains("change")).unwrap();
        let (_, signs) = change.split_once("change ").unwrap();
        // After the axis: seven runs before it, then the five that it may have come with.
        assert_eq!(signs, format!("{}──▼──", " ".repeat(9)));
    }

    #[test]
    fn long_histories_and_odd_values_fit() {
        let long: Vec<f64> = (0..1000).map(|at| f64::from(at % 7)).collect();
        assert_eq!(drawn(&long).0.len(), 7 * (COLUMNS - 1) + 1);
        assert_eq!(drawn(&[0.0, 0.0]).0.len(), 2);
        assert_eq!(drawn(&[-5.0, 5.0, 0.0]).0.len(), 3);
        assert_eq!(drawn(&[1e-300, 1e300]).0.len(), 2);
    }
}
