//! What a record says of how its rounds came about and to their end, in words.

use assay_record::Manifest;

use super::order::BLOCK;
use super::progression::{Ending, Progression};

/// Most cases that one line names.
const NAMED: usize = 20;

/// That a block is added, for so many cases whose intervals miss the target, and so many that were disturbed.
pub fn added(imprecise: usize, disturbed: usize) -> Option<String> {
    let get = |count: usize, why: &str| {
        let get = verb(count, "case gets", "cases get");
        (count > 0).then(|| format!("{count} {get} {BLOCK} more rounds {why}"))
    };
    let ways = [
        get(imprecise, "to meet the target"),
        get(disturbed, "beside disturbed ones"),
    ];
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    (!ways.is_empty()).then(|| ways.join("; "))
}

/// How the rounds of all cases ended, once the last one has: one line for each way, with names where it is no good one.
pub fn notes(manifest: &Manifest, cases: &[Progression]) -> Vec<String> {
    let named = |is: &dyn Fn(&Progression) -> bool| {
        let all = manifest.cases.iter().zip(cases);
        let ids: Vec<&str> = all
            .filter(|(_, progression)| is(progression))
            .map(|(case, _)| case.id.as_str())
            .collect();
        (ids.len(), list(&ids))
    };
    let ended = |how: Ending| named(&|case| case.ending() == how);
    let ((met, _), (spent, spenders)) = (ended(Ending::Met), ended(Ending::Spent));
    let (given_up, lost) = ended(Ending::GivenUp);
    let met = format!("{met} {} the target", verb(met, "case met", "cases met"));
    let spent = (spent > 0).then(|| {
        format!(
            "{spent} {} rounds: {spenders}",
            verb(spent, "spent its", "spent their")
        )
    });
    let given_up = (given_up > 0).then(|| {
        let were = verb(given_up, "was", "were");
        format!("{given_up} {were} given up: {lost}")
    });
    let ways = [Some(met), spent, given_up].into_iter().flatten();
    let mut notes = vec![ways.collect::<Vec<_>>().join("; ")];
    let (never_quiet, disturbed) = named(&Progression::is_always_disturbed);
    if never_quiet > 0 {
        let were = verb(never_quiet, "case was", "cases were");
        notes.push(format!(
            "{never_quiet} {were} disturbed in every round, up to the last that the policy allows: {disturbed}"
        ));
    }
    notes
}

fn verb(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

fn list(names: &[&str]) -> String {
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names[..names.len().min(NAMED)].join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::{added, list};

    #[test]
    fn added_rounds_say_why() {
        assert_eq!(added(0, 0), None);
        for (of, expected) in [
            ((1, 0), "1 case gets 2 more rounds to meet the target"),
            ((0, 3), "3 cases get 2 more rounds beside disturbed ones"),
            (
                (2, 1),
                "2 cases get 2 more rounds to meet the target; 1 case gets 2 more rounds beside disturbed ones",
            ),
        ] {
            assert_eq!(added(of.0, of.1).unwrap(), expected);
        }
    }

    #[test]
    fn lists_have_an_end() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert!(list(&["x"; 25]).ends_with("x and 5 more"));
    }
}
