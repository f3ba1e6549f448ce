//! GPUs that only one of two fingerprints has: each is told once, and not by each of its fields.

use std::collections::BTreeSet;

use assay_record::{Field, Fingerprint};

use super::Explanation;
use super::words::Phrase;

/// A GPU that one side has and the other one not.
pub(super) struct Lone {
    number: String,
    /// Its model, where that was read.
    model: Option<String>,
    is_new: bool,
}

impl Lone {
    /// Whether a field is of it.
    pub(super) fn has(&self, name: &str) -> bool {
        number_in(name) == Some(self.number.as_str())
    }

    /// That it came, or is gone.
    pub(super) fn explanation(&self) -> Explanation {
        let name = format!("gpu.{}.name", self.number);
        let model = self.model.as_ref();
        let named = model.map_or(String::new(), |model| format!(" ({model})"));
        let gpu = format!("GPU {}{named}", self.number);
        let (text, before, after) = if self.is_new {
            let text = format!("{gpu} was absent before and is there now.");
            (text, None, self.model.clone())
        } else {
            let text = format!("{gpu} was there before and is absent now.");
            (text, self.model.clone(), None)
        };
        Explanation {
            part: "hardware".into(),
            rank: Phrase::of(&name).rank,
            name,
            text,
            before,
            after,
            is_volatile: false,
        }
    }
}

/// GPUs whose model one side has and the other one not.
pub(super) fn on_one_side(before: &Fingerprint, after: &Fingerprint) -> Vec<Lone> {
    let (was, is) = (numbers(before), numbers(after));
    let lone = |number: &&str, of: &Fingerprint, is_new| Lone {
        model: model(of, number),
        number: (*number).into(),
        is_new,
    };
    let gone = was
        .difference(&is)
        .map(|number| lone(number, before, false));
    let new = is.difference(&was).map(|number| lone(number, after, true));
    gone.chain(new).collect()
}

/// Numbers of the GPUs that are there: each has a model.
fn numbers(of: &Fingerprint) -> BTreeSet<&str> {
    let names = of.hardware.keys();
    let models = names.filter(|name| {
        name.rsplit_once('.')
            .is_some_and(|(_, field)| field == "name")
    });
    models.filter_map(|name| number_in(name)).collect()
}

/// `0` in `gpu.0.name`; nothing in `gpu.count`.
fn number_in(name: &str) -> Option<&str> {
    let (number, _) = name.strip_prefix("gpu.")?.split_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(number)
}

fn model(of: &Fingerprint, number: &str) -> Option<String> {
    let field = of.hardware.get(&format!("gpu.{number}.name"));
    field.and_then(Field::value).map(ToString::to_string)
}
