//! Utility: train on synthetic rows, test on real ones; beside both floors, a bootstrap of the real rows and independent columns.

use super::features::{Encoder, auc, logistic, probabilities};
use crate::synthetic::table::{MISSING, Table, Values};

/// Rows of every table that it takes.
pub const LEAST_ROWS: usize = 30;

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
    /// The same, trained on rows drawn from the real ones.
    pub bootstrap: f64,
    /// The same, trained on independent columns.
    pub independent: f64,
}

impl Utility {
    /// What synthetic rows, a bootstrap and independent columns keep of the gain over chance that real rows teach, 0 to 1: 1 where
    /// they teach as much; `None` where there is nothing to learn.
    pub fn kept(&self) -> Option<[f64; 3]> {
        let gain = self.real - 0.5;
        let of = |area: f64| ((area - 0.5) / gain).clamp(0.0, 1.0);
        (gain >= 0.01).then(|| [self.synthetic, self.bootstrap, self.independent].map(of))
    }
}

/// Foretells whether a column lies above its median, or has its most frequent label, by logistic regression; C. Esteban, S.
/// Hyland, G. Rätsch, "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs", 2017, section 4.2 (train on
/// synthetic, test on real). `of` are the synthetic rows, a bootstrap and independent columns. `None` where the column does not vary, or
/// tables are too small.
pub fn utility(train: &Table, of: [&Table; 3], test: &Table, column: usize) -> Option<Utility> {
    let [synthetic, bootstrap, independent] = of;
    if [train, synthetic, test]
        .iter()
        .any(|table| table.rows() < LEAST_ROWS)
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
        bootstrap: area(bootstrap),
        independent: area(independent),
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
        let again = train.select(&(0..2000).map(|row| row * 7 % 2000).collect::<Vec<_>>());
        let alone = Independent::fit(&train).unwrap().rows(1, 0, 2000);
        let alone = train.align(&alone).unwrap();
        let found = utility(&train, [&other, &again, &alone], &test, place).unwrap();
        let [good, bootstrap, independent] = found.kept().unwrap();
        assert!(good > 0.95 && found.real > 0.7, "{found:?}");
        // The same rows in another order.
        assert!((bootstrap - 1.0).abs() < 1e-6, "{found:?}");
        assert!(independent < 0.6, "{found:?}");
    }
}
