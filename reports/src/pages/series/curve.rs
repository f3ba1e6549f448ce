//! How a metric went in the last round, from sample to sample: the loss of a training, of which a median says little.

use assay_protocol::{Direction, Metric, MetricKind};
use serde::Serialize;

use crate::chart::{self, Words};
use crate::format::{self, Quantity};

/// A metric's way through a round.
#[derive(Serialize)]
pub struct Curve {
    chart: String,
    /// From 1.
    round: u32,
    samples: String,
    first: Quantity,
    least: Quantity,
    last: Quantity,
    floor: Option<Quantity>,
}

/// Of a metric that is watched and not judged, so that its samples need not be of one kind; `None` of others, and of less than two samples.
///
/// # Errors
/// If it cannot be drawn.
pub fn of(metric: &Metric, round: u32, values: &[f64]) -> Result<Option<Curve>, String> {
    let is_watched = metric.direction == Direction::Neutral && metric.kind == MetricKind::Sample;
    let [first, .., last] = values else {
        return Ok(None);
    };
    if !is_watched {
        return Ok(None);
    }
    let quantity = |value: f64| format::value(value, &metric.unit);
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let samples = format::count(values.len() as u64);
    let words = Words {
        id: "curve",
        title: "From sample to sample",
        description: &format!(
            "{samples} samples of round {}, from {} to {}.",
            round + 1,
            quantity(*first),
            quantity(*last)
        ),
    };
    Ok(Some(Curve {
        chart: chart::curve(values, metric.floor, &metric.unit, words)?,
        round: round + 1,
        samples,
        first: quantity(*first),
        least: quantity(lowest),
        last: quantity(*last),
        floor: metric.floor.map(quantity),
    }))
}

#[cfg(test)]
mod tests {
    use assay_protocol::{Direction, Metric, MetricKind, Unit};

    use super::of;

    fn loss(direction: Direction) -> Metric {
        Metric {
            floor: Some(0.5),
            ..Metric::new("loss", Unit::from("nats"), direction, MetricKind::Sample)
        }
    }

    #[test]
    fn a_loss_is_drawn_above_its_floor() {
        let falling: Vec<f64> = (0..500)
            .map(|step| 0.6 + 5.0 / f64::from(step + 1))
            .collect();
        let curve = of(&loss(Direction::Neutral), 2, &falling).unwrap().unwrap();
        let words = [&curve.first, &curve.least, &curve.last].map(ToString::to_string);
        assert_eq!(words, ["5.600 nats", "0.6100 nats", "0.6100 nats"]);
        assert_eq!((curve.round, curve.samples.as_str()), (3, "500"));
        assert_eq!(curve.floor.unwrap().to_string(), "0.5000 nats");
        assert!(curve.chart.contains("class=\"limit\"") && curve.chart.contains("class=\"line\""));
        // As many points as a chart of any length has.
        assert!(curve.chart.len() < 6000, "{}", curve.chart.len());
    }

    #[test]
    fn what_is_judged_and_what_is_one_number_is_not_drawn() {
        assert!(
            of(&loss(Direction::Lower), 0, &[2.0, 1.0])
                .unwrap()
                .is_none()
        );
        assert!(of(&loss(Direction::Neutral), 0, &[2.0]).unwrap().is_none());
        assert!(of(&loss(Direction::Neutral), 0, &[]).unwrap().is_none());
    }
}
