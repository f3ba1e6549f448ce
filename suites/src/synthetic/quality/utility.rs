//! Utility: train on synthetic rows, test on real ones.

use super::features::{Encoder, auc, logistic, probabilities};
use crate::synthetic::table::{MISSING, Table, Values};

/// How well one column can be foretold from the others.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Utility {
    /// The column.
    pub target: String,
    /// What is foretold of it.
    pub question: String,
    /// Area under the curve on real rows held out, trained on synthetic rows.
    pub synthetic: f64,
    /// The same, trained on real rows.
    pub real: f64,
}

impl Utility {
    /// What is kept of the gain over chance; 1 where synthetic rows teach as much as real ones, and where there is nothing to
    /// learn.
    pub fn kept(&self) -> f64 {
        let gain = (self.real - 0.5).max(0.0);
        if gain < 0.01 {
            return 1.0;
        }
        ((self.synthetic - 0.5) / gain).clamp(0.0, 1.0)
    }
}

/// Foretells whether a column lies above its median, or has its most frequent label, by logistic regression; C. Esteban, S.
/// Hyland, G. Rätsch, "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs", 2017, section 4.2 (train on
/// synthetic, test on real). `None` where the column does not vary, or tables are too small.
pub fn utility(train: &Table, synthetic: &Table, test: &Table, column: usize) -> Option<Utility> {
    const LEAST: usize = 30;
    if [train, synthetic, test]
        .iter()
        .any(|table| table.rows() < LEAST)
    {
        return None;
    }
    let (question, asks) = question(&train.columns[column].values)?;
    let encoder = Encoder::of(train, &[column]);
    let width = encoder.width();
    let answers = |table: &Table| {
        let values = &table.columns[column].values;
        (0..table.rows())
            .map(|row| f64::from(u8::from(asks(values, row))))
            .collect::<Vec<_>>()
    };
    let (tests, wanted) = (encoder.rows(test), answers(test));
    let area = |table: &Table| {
        let weights = logistic(&encoder.rows(table), width, &answers(table));
        auc(&probabilities(&tests, width, &weights), &wanted)
    };
    Some(Utility {
        target: train.columns[column].name.clone(),
        question,
        synthetic: area(synthetic),
        real: area(train),
    })
}

type Asks = Box<dyn Fn(&Values, usize) -> bool>;

fn question(values: &Values) -> Option<(String, Asks)> {
    match values {
        Values::Number { values, decimals } => {
            let mut sorted: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let median = *sorted.get(sorted.len() / 2)?;
            (sorted[0] < median || sorted[sorted.len() - 1] > median).then_some(())?;
            let text = crate::synthetic::table::number_text(median, *decimals);
            let asks = move |values: &Values, row: usize| matches!(values, Values::Number { values, .. } if values[row] > median);
            Some((format!("above {text}"), Box::new(asks)))
        }
        Values::Category { codes, labels } => {
            let mut counts = vec![0_usize; labels.len()];
            for code in codes.iter().filter(|c| **c != MISSING) {
                counts[*code as usize] += 1;
            }
            let (code, count) = counts.iter().enumerate().max_by_key(|(_, count)| **count)?;
            (*count < codes.len()).then_some(())?;
            let asks = move |values: &Values, row: usize| matches!(values, Values::Category { codes, .. } if codes[row] as usize == code);
            Some((format!("is `{}`", labels[code]), Box::new(asks)))
        }
        Values::Key { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::utility;
    use crate::synthetic::generators::independent::Independent;
    use crate::synthetic::table::census;

    #[test]
    fn real_rows_teach_and_independent_columns_do_not() {
        let (train, test) = (census::rows(1, 0, 2000), census::rows(1, 2000, 1000));
        let place = train
            .columns
            .iter()
            .position(|c| c.name == "income")
            .unwrap();
        let other = census::rows(9, 0, 2000);
        let good = utility(&train, &other, &test, place).unwrap();
        assert!(good.kept() > 0.95 && good.real > 0.7, "{good:?}");
        let alone = Independent::fit(&train).unwrap().rows(1, 0, 2000);
        let bad = utility(&train, &alone, &test, place).unwrap();
        assert!(bad.kept() < 0.6, "{bad:?}");
    }
}
