//! What the owner of a table should hear before it is learned: texts that would be given out, and columns of numbers that
//! bad cells make text.
//!
//! The words name rows and values: they are for who holds the table, and never for a model or a card.

use super::{Column, Table, Values, schema};

/// Values from which on a column of text may have been meant for one of numbers.
const LEAST_NUMBERS: usize = 10;
/// How many of a hundred must be numbers: most of them.
const NUMBER_PERCENT: usize = 50;
/// How many of a hundred texts differ where they may well name someone.
const NAME_PERCENT: usize = 80;
/// Characters of a text that are shown.
const SHOWN: usize = 40;

/// A sentence for each, in the order of columns.
pub fn doubts(table: &Table) -> Vec<String> {
    let of_column = |column| [bad_cells(column), given_out(column)];
    table.columns.iter().flat_map(of_column).flatten().collect()
}

/// That most values of a column of text are numbers, and where the first is that is none.
fn bad_cells(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    if matches!(values, Values::Number { .. }) {
        return None;
    }
    let is_there = |row: &usize| !values.text(*row).is_empty();
    let is_bad = |row: &usize| !schema::is_number(&values.text(*row));
    let present = (0..values.len()).filter(is_there).count();
    let mut bad = (0..values.len()).filter(is_there).filter(is_bad);
    let first = bad.next()?;
    let count = 1 + bad.count();
    let is_meant_for_numbers =
        present >= LEAST_NUMBERS && (present - count) * 100 >= present * NUMBER_PERCENT;
    is_meant_for_numbers.then(|| {
        let text: String = values.text(first).chars().take(SHOWN).collect();
        format!(
            "column `{name}` is taken for {}, though all but {count} of its {present} values are numbers: row {} has {text:?}, the first that is none; mend it, or leave it empty, if the column is one of numbers",
            values.kind(),
            first + 1
        )
    })
}

/// That the texts of a column of categories mostly differ, as keys do, and are learned all the same.
fn given_out(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    let different = values.different_categories()?;
    let present = values.len() - values.missing();
    (present > 0 && different * 100 >= present * NAME_PERCENT).then(|| {
        format!(
            "column `{name}` has {different} different texts in {present} values, but is not taken for keys: its texts are learned and given out as they are; leave the column out if they name anyone"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Column, Table, schema};
    use super::doubts;

    fn of(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        let column = Column {
            name: "c".into(),
            values: schema::learn(texts.into_iter().collect()),
        };
        doubts(&Table::new(vec![column]).unwrap())
    }

    /// Numbers of a few kinds or all different, and a word in place of some.
    fn with_words(rows: usize, kinds: usize, words: &[usize]) -> Vec<String> {
        let text = |row: usize| {
            if words.contains(&row) {
                format!("word {row}")
            } else {
                format!("{}.5", row % kinds)
            }
        };
        of((0..rows).map(text))
    }

    #[test]
    fn a_bad_cell_among_numbers_is_named() {
        for (kinds, kind) in [(4, "categories"), (1000, "keys")] {
            let found = with_words(60, kinds, &[16, 40]);
            let [words] = found.as_slice() else {
                panic!("{found:?}")
            };
            for part in [
                "column `c`",
                kind,
                "all but 2 of its 60",
                "row 17 has \"word 16\"",
            ] {
                assert!(words.contains(part), "{words}");
            }
        }
        assert_eq!(with_words(10, 4, &[3]).len(), 1);
        assert!(with_words(9, 4, &[3]).is_empty(), "too few");
        let half: Vec<usize> = (0..30).collect();
        assert_eq!(with_words(60, 4, &half).len(), 1);
        let most: Vec<usize> = (0..31).collect();
        assert!(with_words(60, 4, &most).is_empty(), "too many");
        assert!(with_words(60, 4, &[]).is_empty(), "numbers");
    }

    #[test]
    fn texts_that_differ_and_are_given_out_are_named() {
        let names =
            |rows: usize, of_names: usize| of((0..rows).map(|row| format!("n{}", row % of_names)));
        for (rows, of_names) in [(1, 1), (9, 9), (40, 39), (1000, 900)] {
            let found = names(rows, of_names);
            assert!(
                found.len() == 1 && found[0].contains("`c`") && found[0].contains("given out"),
                "{rows}: {found:?}"
            );
        }
        // Keys are made anew; few kinds are no names.
        for (rows, of_names) in [(10, 10), (60, 60), (40, 8)] {
            assert!(names(rows, of_names).is_empty(), "{rows}");
        }
    }
}
