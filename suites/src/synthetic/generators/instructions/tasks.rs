//! The tasks: how each is asked, how it is made, and how it is solved from its input.

use std::fmt::Write as _;

use crate::synthetic::random::{Bits as _, Draws};

/// A kind of record.
pub struct Task {
    pub name: &'static str,
    /// Ways to ask for it; no two tasks share one.
    pub phrasings: &'static [&'static str],
    /// Writes an input and its output.
    pub make: fn(&mut Draws, &mut String, &mut String),
    /// The output of an input; `None` where it is none of the task.
    pub solve: fn(&str) -> Option<String>,
}

pub const TASKS: [Task; 10] = [
    Task {
        name: "add",
        phrasings: &[
            "Add the numbers.",
            "What is the sum of these numbers?",
            "Compute the total.",
        ],
        make: |draws, input, output| {
            let numbers = numbers(draws, input);
            write(output, &numbers.iter().sum::<u64>());
        },
        solve: |input| Some(read_numbers(input)?.iter().sum::<u64>().to_string()),
    },
    Task {
        name: "largest",
        phrasings: &[
            "Which of the numbers is the largest?",
            "Give the greatest number of the list.",
        ],
        make: |draws, input, output| {
            let largest = numbers(draws, input).into_iter().fold(0, u64::max);
            write(output, &largest);
        },
        solve: |input| Some(read_numbers(input)?.iter().max()?.to_string()),
    },
    Task {
        name: "parity",
        phrasings: &[
            "Is the number even or odd?",
            "Say whether this number is even or odd.",
        ],
        make: |draws, input, output| {
            let half = draws.below(50_000);
            let rest = draws.below(2);
            write(input, &(2 * half + rest));
            output.push_str(["even", "odd"][rest as usize]);
        },
        solve: |input| {
            let last = input.chars().last()?.to_digit(10)?;
            Some(
                if "02468".contains(char::from_digit(last, 10)?) {
                    "even"
                } else {
                    "odd"
                }
                .into(),
            )
        },
    },
    Task {
        name: "sort",
        phrasings: &[
            "Sort the words alphabetically.",
            "Put these words into alphabetical order.",
        ],
        make: |draws, input, output| {
            // Places in a sorted list: in their order they are the output.
            let mut places = places(draws);
            list(input, &places);
            places.sort_unstable();
            list(output, &places);
        },
        solve: |input| {
            let mut words: Vec<&str> = input.split(", ").collect();
            words.sort_unstable();
            Some(words.join(", "))
        },
    },
    Task {
        name: "reverse",
        phrasings: &[
            "Reverse the order of the words.",
            "Write the list from its end to its beginning.",
        ],
        make: |draws, input, output| {
            let mut places = places(draws);
            list(input, &places);
            places.reverse();
            list(output, &places);
        },
        solve: |input| Some(input.rsplit(", ").collect::<Vec<_>>().join(", ")),
    },
    Task {
        name: "count",
        phrasings: &["How many words are in the list?", "Count the words."],
        make: |draws, input, output| {
            let places = places(draws);
            list(input, &places);
            write(output, &places.len());
        },
        solve: |input| Some((input.matches(',').count() + 1).to_string()),
    },
    Task {
        name: "convert",
        phrasings: &["Convert the length to metres.", "How many metres is that?"],
        make: |draws, input, output| {
            let thousands = 1 + draws.below(999);
            let hundreds = draws.below(10);
            _ = write!(input, "{thousands}.{hundreds} km");
            _ = write!(output, "{} m", 1000 * thousands + 100 * hundreds);
        },
        solve: |input| {
            let kilometres: f64 = input.strip_suffix(" km")?.parse().ok()?;
            Some(format!("{:.0} m", kilometres * 1000.0))
        },
    },
    Task {
        name: "date",
        phrasings: &[
            "Extract the date.",
            "When did it happen? Answer with the date alone.",
        ],
        make: |draws, input, output| {
            let (year, month, day) = (
                1990 + draws.below(40),
                1 + draws.below(12),
                1 + draws.below(28),
            );
            _ = write!(output, "{year}-{month:02}-{day:02}");
            _ = write!(
                input,
                "The {} was replaced on {output} by {}.",
                word(draws),
                name(draws)
            );
        },
        solve: |input| {
            input
                .split(' ')
                .find(|word| word.matches('-').count() == 2)
                .map(str::to_owned)
        },
    },
    Task {
        name: "json",
        phrasings: &[
            "Answer as JSON with the keys name, count and thing.",
            "Put the facts into a JSON object: name, count, thing.",
        ],
        make: |draws, input, output| {
            let (name, count, thing) = (name(draws), 2 + draws.below(98), word(draws));
            _ = write!(input, "{name} has {count} {thing}s.");
            _ = write!(
                output,
                "{{\"name\": \"{name}\", \"count\": {count}, \"thing\": \"{thing}\"}}"
            );
        },
        solve: |input| {
            let mut words = input.split(' ');
            let name = words.next()?;
            let count: u64 = words.nth(1)?.parse().ok()?;
            let thing = words.next()?.strip_suffix("s.")?;
            Some(format!(
                "{{\"name\": \"{name}\", \"count\": {count}, \"thing\": \"{thing}\"}}"
            ))
        },
    },
    Task {
        name: "spell",
        phrasings: &["Write the number in words.", "Spell out this number."],
        make: |draws, input, output| {
            let (tens, ones) = (2 + draws.below(8), draws.below(10));
            write(input, &(10 * tens + ones));
            output.push_str(TENS[tens as usize - 2]);
            if ones > 0 {
                output.push('-');
                output.push_str(ONES[ones as usize - 1]);
            }
        },
        solve: |input| {
            let number: usize = input.parse().ok()?;
            let tens = TENS.get((number / 10).checked_sub(2)?)?;
            Some(match number % 10 {
                0 => (*tens).to_owned(),
                ones => format!("{tens}-{}", ONES[ones - 1]),
            })
        },
    },
];

const TENS: [&str; 8] = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const ONES: [&str; 9] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];
const NAMES: [&str; 12] = [
    "Ada",
    "Alan",
    "Barbara",
    "Claude",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Katherine",
    "Radia",
    "Tim",
];

/// Nouns in alphabetical order, which the task `sort` relies on.
const WORDS: [&str; 32] = [
    "antenna",
    "battery",
    "buffer",
    "cable",
    "camera",
    "clock",
    "detector",
    "engine",
    "fan",
    "filter",
    "generator",
    "hammer",
    "inverter",
    "kernel",
    "lamp",
    "lens",
    "magnet",
    "motor",
    "needle",
    "oscillator",
    "panel",
    "pump",
    "reactor",
    "relay",
    "sensor",
    "switch",
    "telescope",
    "turbine",
    "valve",
    "wheel",
    "window",
    "wire",
];

fn write(out: &mut String, value: &impl std::fmt::Display) {
    // Memory takes everything.
    _ = write!(out, "{value}");
}

fn word(draws: &mut Draws) -> &'static str {
    WORDS[draws.below(WORDS.len() as u64) as usize]
}

fn name(draws: &mut Draws) -> &'static str {
    NAMES[draws.below(NAMES.len() as u64) as usize]
}

/// Three to seven words, by their places: none twice.
fn places(draws: &mut Draws) -> Vec<usize> {
    let mut left: [u8; WORDS.len()] = std::array::from_fn(|place| place as u8);
    let count = 3 + draws.below(5) as usize;
    let draw = |taken: usize| {
        let chosen = taken + draws.below((WORDS.len() - taken) as u64) as usize;
        left.swap(taken, chosen);
        usize::from(left[taken])
    };
    (0..count).map(draw).collect()
}

fn list(out: &mut String, places: &[usize]) {
    for (index, place) in places.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        out.push_str(WORDS[*place]);
    }
}

/// Two to six numbers, listed.
fn numbers(draws: &mut Draws, out: &mut String) -> Vec<u64> {
    let count = 2 + draws.below(5);
    let number = |index| {
        let number = draws.below(1000);
        out.push_str(if index == 0 { "" } else { ", " });
        write(out, &number);
        number
    };
    (0..count).map(number).collect()
}

fn read_numbers(text: &str) -> Option<Vec<u64>> {
    text.split(", ").map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{TASKS, WORDS};

    #[test]
    fn words_are_sorted_and_no_two_tasks_are_asked_alike() {
        assert!(WORDS.is_sorted());
        let mut all: Vec<&str> = TASKS
            .iter()
            .flat_map(|task| task.phrasings)
            .copied()
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
