//! What a generator of items was told: in suites, commands and cards.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Items;
use crate::synthetic::generators::grammar::Grammar;
use crate::synthetic::generators::instructions::Instructions;
use crate::synthetic::generators::language::Language;
use crate::synthetic::generators::markov::Markov;
use crate::synthetic::generators::pictures::Pictures;
use crate::synthetic::generators::series::Series;
use crate::synthetic::generators::spectra::Spectra;

/// Names of the generators of items, the first being the default.
pub const NAMES: [&str; 7] = [
    "spectra",
    "series",
    "grammar",
    "markov",
    "language",
    "instructions",
    "pictures",
];
/// Texts of the built-in grammar that a chain learns where nobody gives it others, and their seed.
const CORPUS_TEXTS: usize = 20_000;
const CORPUS_SEED: u64 = 0;

/// A generator of items with its parameters; those that are not given have usual values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// Spectra of galaxies.
    Spectra(Spectra),
    /// Time series.
    Series(Series),
    /// Texts of a template grammar.
    Grammar(Grammar),
    /// Texts of a Markov chain.
    Markov(Markov),
    /// Texts of a language model.
    Language(Language),
    /// Instruction records.
    Instructions(Instructions),
    /// Pictures with captions.
    Pictures(Pictures),
}

impl Recipe {
    /// The generator of a name with some parameters.
    ///
    /// # Errors
    /// The name, or the parameter, that is not known or of another type.
    pub fn of(name: &str, parameters: Map<String, Value>) -> Result<Self, String> {
        if !NAMES.contains(&name) {
            return Err(format!(
                "no generator of items is called `{name}`: there are {}",
                NAMES.join(", ")
            ));
        }
        let parameters = match name {
            "grammar" => Grammar::named(parameters)?,
            _ => parameters,
        };
        let says_masks = parameters.contains_key("masks");
        let object: Map<String, Value> = [(name.to_owned(), Value::Object(parameters))]
            .into_iter()
            .collect();
        let recipe = serde_json::from_value(Value::Object(object));
        Ok(match recipe.map_err(|error| format!("{name}: {error}"))? {
            Self::Spectra(recipe) if !says_masks => Self::Spectra(recipe.with_room_for_masks()),
            recipe => recipe,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Spectra(_) => "spectra",
            Self::Series(_) => "series",
            Self::Grammar(_) => "grammar",
            Self::Markov(_) => "markov",
            Self::Language(_) => "language",
            Self::Instructions(_) => "instructions",
            Self::Pictures(_) => "pictures",
        }
    }

    /// Its parameters, with the usual values of those that were not given.
    ///
    /// # Panics
    /// Never: a recipe is a name and an object.
    pub fn parameters(&self) -> Value {
        let named = serde_json::to_value(self).expect("names and numbers");
        named[self.name()].clone()
    }

    /// What makes its items. `corpus` is what a chain learns, a text in each line; without it, the built-in grammar.
    ///
    /// # Errors
    /// The parameter that is out of its range, or what is wrong with the corpus.
    pub fn build(&self, corpus: Option<&str>) -> Result<Box<dyn Items>, String> {
        let built: Result<Box<dyn Items>, String> = match self {
            Self::Spectra(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
            Self::Series(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
            Self::Grammar(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
            Self::Markov(recipe) => {
                let learned = match corpus {
                    Some(corpus) => recipe.learn(corpus),
                    None => recipe.learn(&built_in_corpus()?),
                };
                learned.map(|maker| Box::new(maker) as _)
            }
            Self::Language(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
            Self::Instructions(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
            Self::Pictures(recipe) => recipe.build().map(|maker| Box::new(maker) as _),
        };
        built.map_err(|what| format!("{}: {what}", self.name()))
    }
}

fn built_in_corpus() -> Result<String, String> {
    let maker = Grammar::default().build()?;
    Ok(maker.texts(CORPUS_SEED, 0, CORPUS_TEXTS).join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::{NAMES, Recipe};
    use crate::synthetic::items::{Form, bytes};

    #[test]
    fn every_generator_makes_the_same_bytes_for_any_threads_and_shards() {
        for name in NAMES {
            let recipe = Recipe::of(name, Map::new()).unwrap();
            assert_eq!(recipe.name(), name);
            let parameters = recipe.parameters().as_object().unwrap().clone();
            assert_eq!(Recipe::of(name, parameters).unwrap(), recipe, "{name}");
            let maker = recipe.build(None).unwrap();
            let of_threads = |threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| bytes(&*maker, 11, 3, 50))
            };
            let all = of_threads(1);
            assert_eq!(all, of_threads(3), "{name}");
            let parts = [bytes(&*maker, 11, 3, 20), bytes(&*maker, 11, 23, 30)];
            assert_eq!(all, parts.concat(), "{name}");
            assert_ne!(all, bytes(&*maker, 12, 3, 50), "{name}");
            assert_eq!(maker.table(11, 3, 50).rows(), 50, "{name}");
            if let Form::Array { bytes, shape, .. } = maker.form() {
                assert_eq!(
                    all.len(),
                    50 * bytes * shape.iter().product::<usize>(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn parameters_are_checked_by_name_type_and_range() {
        let of = |name: &str, parameters: serde_json::Value| {
            let recipe = Recipe::of(name, parameters.as_object().unwrap().clone());
            recipe
                .and_then(|recipe| recipe.build(None))
                .err()
                .unwrap_or_default()
        };
        assert!(of("novels", json!({})).contains("there are spectra, "));
        assert!(of("spectra", json!({"pixels": 5})).contains("unknown field `pixels`"));
        assert!(of("series", json!({"points": "many"})).contains("invalid type"));
        assert!(of("series", json!({"points": 4})).starts_with("series: `points` is 4"));
        assert_eq!(of("pictures", json!({"size": 72})), "");
        // As many masks as there is room for, unless more are asked for.
        for points in [64, 128, 4096] {
            assert_eq!(of("spectra", json!({"points": points})), "", "{points}");
        }
        let masks = of("spectra", json!({"points": 128, "masks": 4}));
        assert!(masks.contains("`masks` is 4: expected 0 to 2"), "{masks}");
        let back: Recipe = serde_json::from_str("{\"markov\":{\"order\":2}}").unwrap();
        assert_eq!(
            back,
            Recipe::of("markov", json!({"order": 2}).as_object().unwrap().clone()).unwrap()
        );
    }
}
