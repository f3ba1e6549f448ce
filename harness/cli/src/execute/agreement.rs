//! Whether what is declared deterministic is: rounds are visits by fresh processes, and their outputs have to have the same bits.

use std::collections::BTreeMap;

use assay_protocol::Digest;
use assay_record::BlockStatus;

use super::order;
use super::visit::Visit;

/// What an output may depend on: case and arm, by their places; the inputs; and the iterations since these were last put back, which are
/// those of the last sample.
type Given = (usize, usize, BTreeMap<String, Digest>, u64);

/// The first output of whatever was given, and its round.
#[derive(Debug, Default)]
pub struct Outputs(BTreeMap<Given, (u32, Digest)>);

impl Outputs {
    /// What another round of the same says against the output of a visit, in words.
    pub fn contradiction(&mut self, place: order::Visit, visit: &Visit) -> Option<String> {
        let is_ok = visit.status == BlockStatus::Ok;
        let prepared = visit.prepared.as_ref();
        let prepared = prepared.filter(|prepared| is_ok && prepared.deterministic)?;
        let output = visit.verification.as_ref()?.output?;
        let iterations = visit.samples.iterations.last().copied().unwrap_or(0);
        let given = (place.case, place.arm, prepared.inputs.clone(), iterations);
        let (round, first) = *self.0.entry(given).or_insert((place.round, output));
        (first != output).then(|| {
            format!(
                "declared deterministic, yet its output has other bits than in round {}, of the same inputs: {output}, not {first}",
                round + 1
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{Digest, Prepared, Verification};
    use assay_record::BlockStatus;

    use super::Outputs;
    use crate::execute::order;
    use crate::execute::visit::Visit;

    /// A visit that took one sample of so many iterations.
    fn visit(output: &str, iterations: u64, deterministic: bool) -> Visit {
        let mut visit = Visit::failed(String::new());
        visit.status = BlockStatus::Ok;
        visit.samples.iterations = vec![iterations];
        visit.prepared = Some(Prepared {
            deterministic,
            ..Prepared::default()
        });
        visit.verification = Some(Verification {
            passed: true,
            error: None,
            tolerance: None,
            output: Some(Digest::of(output)),
            detail: String::new(),
        });
        visit
    }

    #[test]
    fn other_bits_of_the_same_are_found() {
        let mut outputs = Outputs::default();
        let mut found = |round: u32, visit: &Visit| {
            let place = order::Visit {
                case: 0,
                arm: 0,
                round,
            };
            outputs.contradiction(place, visit)
        };
        assert_eq!(found(0, &visit("a", 1, true)), None);
        assert_eq!(found(1, &visit("a", 1, true)), None);
        // What iterations change may depend on how many there were.
        assert_eq!(found(2, &visit("b", 2, true)), None);
        assert_eq!(found(3, &visit("b", 1, false)), None);
        let words = found(4, &visit("b", 1, true)).unwrap();
        assert!(
            words.contains("has other bits than in round 1, of the same inputs"),
            "{words}"
        );
    }
}
