//! What can be required of figures: of `assay synth score`, and by suites.

use super::figures::{CONSTRAINTS, FIGURES, Figure, OVERFIT};
use super::report::Report;

/// What a figure must reach.
#[derive(Clone, Copy)]
pub struct Requirement {
    figure: &'static Figure,
    sense: Sense,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    AtLeast,
    AtMost,
    Below,
}

impl Requirement {
    /// Reads `quality=0.9` or `quality>=0.9` (at least), `three_way<=0.1` (at most), `auc<0.6` (below).
    ///
    /// # Errors
    /// What is wrong with it, and what is expected; of what no value could meet the score's range.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "expected SCORE=VALUE or SCORE>=VALUE for at least, SCORE<=VALUE for at most, SCORE<VALUE for below";
        let text = text.trim();
        let place = text.find(['=', '<', '>']);
        let (name, rest) = text.split_at(place.ok_or_else(|| format!("{text}: {FORMS}"))?);
        let forms = [
            (">=", Sense::AtLeast),
            ("<=", Sense::AtMost),
            ("=", Sense::AtLeast),
            ("<", Sense::Below),
        ];
        let form = forms
            .into_iter()
            .find_map(|(sign, sense)| Some((sign, sense, rest.strip_prefix(sign)?)));
        let (sign, sense, bound) = form.ok_or_else(|| format!("{text}: {FORMS}"))?;
        let (name, bound) = (name.trim(), bound.trim());
        let figure = FIGURES.iter().find(|known| known.name == name);
        let figure = figure.ok_or_else(|| {
            let names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
            format!(
                "{text}: no score is called `{name}`: there are {}",
                names.join(", ")
            )
        })?;
        if sign == "=" && !figure.is_better_high {
            return Err(format!(
                "{text}: `=` asks for at least that, and more of `{name}` is not better: expected {name}<=VALUE, or >= if that is meant"
            ));
        }
        let number = bound.parse().ok().filter(|bound: &f64| bound.is_finite());
        let demand = Self {
            figure,
            sense,
            bound: number.ok_or_else(|| format!("{text}: `{bound}` is no number to be reached"))?,
        };
        if demand.can_be_met() {
            return Ok(demand);
        }
        Err(match figure.range {
            [low, f64::INFINITY] => {
                format!("{text}: it can never be met: `{name}` is {low} or more")
            }
            [low, high] => {
                format!("{text}: it can never be met: `{name}` lies between {low} and {high}")
            }
        })
    }

    /// Whether there is a value that meets it.
    fn can_be_met(&self) -> bool {
        let [low, high] = self.figure.range;
        match self.sense {
            Sense::AtLeast => self.bound <= high,
            Sense::AtMost => self.bound >= low,
            Sense::Below => self.bound > low,
        }
    }

    /// Reads several, between commas; none where there is nothing but blanks.
    ///
    /// # Errors
    /// As [`Requirement::parse`].
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let demands: Vec<Self> = parts.map(Self::parse).collect::<Result<_, _>>()?;
        if demands.is_empty() && !text.trim().is_empty() {
            return Err(format!("{text:?} demands nothing"));
        }
        Ok(demands)
    }

    /// At least so much of the score of that name in [`FIGURES`].
    ///
    /// # Panics
    /// If there is none.
    pub fn at_least(name: &str, bound: f64) -> Self {
        let figure = FIGURES.iter().find(|figure| figure.name == name);
        Self {
            figure: figure.expect("a figure of that name"),
            sense: Sense::AtLeast,
            bound,
        }
    }

    /// What it is about.
    pub fn figure(&self) -> &'static Figure {
        self.figure
    }

    /// Whether it needs rows that were not learned from.
    pub fn needs_held_out(&self) -> bool {
        self.figure.name == OVERFIT
    }

    /// Whether it needs a declared table.
    pub fn needs_schema(&self) -> bool {
        self.figure.name == CONSTRAINTS
    }

    /// In words, if it is not met.
    pub fn missed(&self, report: &Report) -> Option<String> {
        self.missed_by(self.figure.values(report)[0])
    }

    /// In words, if a value does not meet it; one that is not there meets nothing.
    pub fn missed_by(&self, found: Option<f64>) -> Option<String> {
        let is_met = found.is_some_and(|found| match self.sense {
            Sense::AtLeast => found >= self.bound,
            Sense::AtMost => found <= self.bound,
            Sense::Below => found < self.bound,
        });
        let word = match self.sense {
            Sense::AtLeast => "at least",
            Sense::AtMost => "at most",
            Sense::Below => "below",
        };
        // All digits, so that a near miss is seen to be one.
        let found = found.map_or_else(|| "none".into(), |found| found.to_string());
        (!is_met).then(|| {
            format!(
                "{}: {found}, required {word} {}",
                self.figure.name, self.bound
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{FIGURES, Requirement};
    use crate::synthetic::quality::report::report;
    use crate::synthetic::table::census;

    fn refused(text: &str) -> String {
        Requirement::parse(text).err().unwrap()
    }

    #[test]
    fn every_figure_can_be_required_and_says_when_it_is_missed() {
        let real = census::rows(1, 0, 60);
        let report = report(&real, Some(&census::rows(2, 0, 60)), &real, 1).unwrap();
        for figure in &FIGURES {
            let value = figure.values(&report)[0];
            let missed = |form: String| {
                let text = format!("{}{form}", figure.name);
                Requirement::parse(&text).unwrap().missed(&report)
            };
            let Some(value) = value else {
                assert!(missed(">=0".into()).unwrap().contains("none"));
                continue;
            };
            assert_eq!(missed(format!(">={value}")), None);
            assert_eq!(missed(format!("<={value}")), None);
            let [low, high] = figure.range;
            let (less, more) = ((value - 0.5).max(low), (value + 0.5).min(high));
            assert_eq!(missed(format!(">={more}")).is_some(), more > value);
            assert_eq!(missed(format!("<={less}")).is_some(), less < value);
            if value > low {
                let words = missed(format!("<{value}")).unwrap();
                assert!(words.contains("required below"), "{words}");
            }
        }
    }

    #[test]
    fn requirements_that_say_nothing_are_refused() {
        assert!(Requirement::parse("quality=0.9").is_ok());
        // Every share of copies is at least 0.
        assert!(refused("exact_copies=0").contains("exact_copies<=VALUE"));
        assert!(refused("quality=nan").contains("`nan` is no number"));
        assert!(refused("quality>=inf").contains("no number"));
        assert!(refused("quality=").contains("no number"));
        assert!(refused("quality>0.9").contains("SCORE>=VALUE"));
        assert!(refused("quality").contains("SCORE>=VALUE"));
        assert!(refused("fame=1").contains("pmse_ratio"));
        for (text, range) in [
            ("quality>=2", "`quality` lies between 0 and 1"),
            ("quality=1.01", "between 0 and 1"),
            ("constraints<=-1", "`constraints` lies between 0 and 1"),
            ("exact_copies<0", "between 0 and 1"),
            ("pmse_ratio<=-0.5", "`pmse_ratio` is 0 or more"),
        ] {
            let words = refused(text);
            assert!(words.contains("never be met"), "{words}");
            assert!(words.contains(range), "{words}");
        }
        for text in ["quality>=1", "exact_copies<=0", "auc<0.01", "pmse_ratio>=7"] {
            assert!(Requirement::parse(text).is_ok(), "{text}");
        }
        let several = |text: &str| Requirement::parse_all(text).map(|all| all.len());
        assert_eq!(several(" quality >= 0.9, three_way<=0.1,"), Ok(2));
        assert_eq!(several(" "), Ok(0));
        assert!(several(" , ").is_err());
        assert!(several("quality>=0.9 three_way<=0.1").is_err());
    }
}
