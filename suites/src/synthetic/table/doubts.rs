//! What the owner of a table should hear before it is learned: texts that would be given out, and columns that may have been meant
//! for others than they are taken for.
//!
//! The words name rows and values: they are for who holds the table, and never for a model or a card.

use super::cells::{BlankLines, CellType, Seen, Source, written};
use super::schema::{Types, Words};
use super::{Column, Table, Values, schema};

/// Values from which on a column of text may have been meant for one of numbers.
const LEAST_NUMBERS: usize = 10;
/// How many of a hundred must be numbers: most of them.
const NUMBER_PERCENT: usize = 50;
/// How many of a hundred texts differ where they may well name someone.
const NAME_PERCENT: usize = 80;
/// The same where so many differ that they are hardly kinds of something.
const MANY_TEXTS: usize = 50;
const MANY_PERCENT: usize = 25;
/// Characters of a text that are shown.
const SHOWN: usize = 40;

/// A sentence for each, in the order of columns, what was [left out](left_out) first. Of what is declared it is not asked what else it may be.
pub fn doubts(source: &Source, declared: &Types) -> Vec<String> {
    let of_column = |(column, seen): (&Column, &Seen)| {
        let is_declared = declared.contains_key(&column.name);
        let taken = taken_for_text(column, seen).filter(|_| !is_declared);
        [
            unnamed(column),
            empty(column),
            mixed(column, seen),
            taken,
            given_out(column),
        ]
    };
    let columns = source.table.columns.iter().zip(&source.seen);
    let of_columns = columns.flat_map(of_column).flatten();
    left_out(source)
        .into_iter()
        .chain(single(&source.table))
        .chain(of_columns)
        .collect()
}

/// What a file has and its table has not: lines that are no rows, texts that stand for missing values, rows that say nothing of a
/// column, and blanks around texts. A sentence for each.
pub fn left_out(source: &Source) -> Vec<String> {
    let columns = source.table.columns.iter().zip(&source.words);
    let of_columns = columns
        .zip(&source.seen)
        .flat_map(|((column, words), seen)| {
            let name = &column.name;
            [
                taken_for_missing(name, words, seen),
                absent(name, seen),
                trimmed(column, words),
            ]
        });
    blank(source.blank_lines)
        .into_iter()
        .chain(of_columns.flatten())
        .collect()
}

/// That texts lost the blanks around them; numbers lose nothing by that.
fn trimmed(column: &Column, words: &Words) -> Option<String> {
    let first = words.first_blank?;
    let is_text = !matches!(column.values, Values::Number { .. });
    is_text.then(|| {
        format!(
            "column `{}` has {} cells with blanks around their text, the first in row {}: the blanks are left out, and texts that differ by nothing else are one",
            column.name,
            words.blank,
            first + 1
        )
    })
}

/// That rows of a file say nothing of a column.
fn absent(name: &str, seen: &Seen) -> Option<String> {
    let first = seen.first_absent?;
    Some(format!(
        "column `{name}` is left out of {} rows of the file, row {} being the first: it is missing there",
        seen.absent,
        first + 1
    ))
}

/// That a file has lines without anything.
fn blank(lines: BlankLines) -> Option<String> {
    let first = lines.first?;
    Some(match lines.count {
        1 => format!("line {first} of the file is blank: it is no row"),
        count => format!(
            "{count} lines of the file, line {first} being the first, are blank: they are no rows"
        ),
    })
}

/// That texts of a column stand for missing values.
fn taken_for_missing(name: &str, words: &Words, seen: &Seen) -> Option<String> {
    let first = [words.first, seen.first_empty]
        .into_iter()
        .flatten()
        .min()?;
    let counts = words.counts.iter();
    let mut counts: Vec<String> = counts
        .map(|(word, count)| format!("{count} cells with {word:?}"))
        .collect();
    if seen.empty_texts > 0 {
        counts.push(format!("{} empty texts", seen.empty_texts));
    }
    let remedy = match words.counts.keys().next() {
        Some(word) => format!(
            "; if {word:?} is a value, declare a category that has it among its labels, with --schema"
        ),
        None => String::new(),
    };
    Some(format!(
        "column `{name}` has {}, the first in row {}, which are taken for missing values{remedy}",
        counts.join(" and "),
        first + 1
    ))
}

/// That rows that are made have no other to be like.
fn single(table: &Table) -> Option<String> {
    const WORDS: &str = "there is one row alone: rows that are made have no other to be like, and tell what it holds";
    (table.rows() == 1).then(|| WORDS.into())
}

/// That a column has no name, as some programs write the numbers of rows.
fn unnamed(column: &Column) -> Option<String> {
    const WORDS: &str = "there is a column without a name, which is learned as any other: leave it out if it numbers rows";
    column.name.is_empty().then(|| WORDS.into())
}

/// That a column has no value at all.
fn empty(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    (values.missing() == values.len()).then(|| {
        format!("column `{name}` has no value in any row: there is nothing to learn of it")
    })
}

/// That a file has numbers, texts and truth values in one column.
fn mixed(column: &Column, seen: &Seen) -> Option<String> {
    let Column { name, values } = column;
    let first = seen.first_other.filter(|_| seen.is_mixed())?;
    let counts = seen.counts();
    let present = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = present
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let taken = match values {
        Values::Number { .. } => "taken for numbers, as declared",
        _ => "taken for text, and made as text",
    };
    Some(format!(
        "column `{name}` mixes {}, row {} being the first that differs from those before it: all are {taken}; write all as one type if that is not meant",
        counts.join(" and "),
        first + 1
    ))
}

/// That a column that is no column of numbers looks like one, or nearly.
fn taken_for_text(column: &Column, seen: &Seen) -> Option<String> {
    if matches!(column.values, Values::Number { .. }) || seen.is_mixed() {
        return None;
    }
    match seen.cell_type() {
        Some(CellType::Text) => quoted(column),
        Some(CellType::Truth) => None,
        Some(CellType::Integer | CellType::Float) => unfit(column, seen),
        None => bad_cells(column),
    }
}

/// The rows of a column that have a value, with it.
fn present(values: &Values) -> impl Iterator<Item = (usize, std::borrow::Cow<'_, str>)> {
    let texts = (0..values.len()).map(|row| (row, values.text(row)));
    texts.filter(|(_, text)| !text.is_empty())
}

/// That so many of as many values are numbers that the column may have been meant for one of such.
fn are_most(numbers: usize, of: usize) -> bool {
    of >= LEAST_NUMBERS && numbers * 100 >= of * NUMBER_PERCENT
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN).collect::<String>())
}

/// That the texts of a file with types are mostly numbers.
fn quoted(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    let is_number = |text: &str| schema::is_number(text) || schema::not_a_number(text).is_some();
    let count = present(values).filter(|(_, text)| is_number(text)).count();
    let of = present(values).count();
    let (row, first) = present(values).find(|(_, text)| is_number(text))?;
    (count == of || are_most(count, of)).then(|| {
        format!(
            "column `{name}` holds texts in the file, {count} of {of} of which look like numbers, such as {} in row {}: they stay text, taken for {}; make them numbers in the file, or declare numbers with --schema, if they are meant to be",
            shown(&first),
            row + 1,
            values.kind()
        )
    })
}

/// Why the numbers of a file with types are taken for text.
fn unfit(column: &Column, seen: &Seen) -> Option<String> {
    let Column { name, values } = column;
    let (row, text) = present(values).find(|(_, text)| !schema::is_number(text))?;
    let why = schema::not_a_number(&text).unwrap_or("it is no finite number");
    Some(format!(
        "column `{name}` holds numbers in the file and is taken for {}, for row {} has {}: {why}{}",
        values.kind(),
        row + 1,
        text,
        match (values, written(values, seen.cell_type())) {
            (Values::Key { .. }, _) => "; keys that are made are texts",
            (_, CellType::Text) => "; values that are made are texts",
            _ => "",
        }
    ))
}

/// That values of a column of text are numbers: where most are, which is the first that is none; or that its digits would lose something
/// as numbers.
fn bad_cells(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    let of = present(values).count();
    let bad = || present(values).filter(|(_, text)| !schema::is_number(text));
    let (row, first) = bad().next()?;
    let (count, text) = (bad().count(), shown(&first));
    let why = schema::not_a_number(&first);
    if let Some(why) = why
        && bad().all(|(_, text)| schema::not_a_number(&text).is_some())
    {
        return Some(format!(
            "column `{name}` is of digits, but {count} of its {of} values, row {} with {text} being the first, are none as numbers ({why}): it is taken for {}",
            row + 1,
            match values {
                Values::Key { .. } => "keys, which are made anew",
                _ => "categories, which are made as they are written",
            }
        ));
    }
    if are_most(of - count, of) {
        return Some(format!(
            "column `{name}` is taken for {}, though all but {count} of its {of} values are numbers: row {} has {text}, the first that is none; mend it, or leave it empty, if the column is one of numbers",
            values.kind(),
            row + 1
        ));
    }
    let decorated = present(values)
        .filter(|(_, text)| is_decorated(text))
        .count();
    if are_most(decorated, of) {
        return Some(format!(
            "column `{name}` is taken for {}, though {decorated} of its {of} values would be numbers without the signs around or between their digits, as row {} with {text}: write them with a decimal point, and without other signs, if the column is one of numbers",
            values.kind(),
            row + 1
        ));
    }
    let (row, first) = present(values).find(|(_, text)| schema::is_number(text))?;
    Some(format!(
        "column `{name}` is taken for {}: {} of its {of} values are numbers, row {} with {} being the first, and the others are texts; if the column is one of numbers, leave empty what is none",
        values.kind(),
        of - count,
        row + 1,
        shown(&first)
    ))
}

/// A column that is none of numbers, though most of its values are such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearlyNumbers {
    /// Its values,
    pub of: usize,
    /// those that are no numbers,
    pub others: usize,
    /// and the row of the first of these, from 0 on.
    pub first: usize,
}

/// Whether a column would be one of numbers but for some of its values; not if digits alone would lose something as numbers, as codes do.
pub fn nearly_numbers(column: &Column) -> Option<NearlyNumbers> {
    let Column { values, .. } = column;
    if matches!(values, Values::Number { .. }) {
        return None;
    }
    let of = present(values).count();
    let others = || present(values).filter(|(_, text)| !schema::is_number(text));
    let (first, _) = others().find(|(_, text)| schema::not_a_number(text).is_none())?;
    let others = others().count();
    are_most(of - others, of).then_some(NearlyNumbers { of, others, first })
}

/// Whether a text is a number but for a currency, a percent sign, or marks between thousands.
fn is_decorated(text: &str) -> bool {
    let is_plain =
        |letter: &char| !matches!(letter, '$' | '€' | '£' | '¥' | '%' | ',' | '\'' | '_' | ' ');
    let plain: String = text.chars().filter(is_plain).collect();
    schema::is_number(&plain)
}

/// That many texts of a column of categories differ, as those of keys do, and are learned all the same.
fn given_out(column: &Column) -> Option<String> {
    let Column { name, values } = column;
    let different = values.different_categories()?;
    let present = values.len() - values.missing();
    let least = if different >= MANY_TEXTS {
        MANY_PERCENT
    } else {
        NAME_PERCENT
    };
    (present > 0 && different * 100 >= present * least).then(|| {
        format!(
            "column `{name}` has {different} different texts in {present} values, but is not taken for keys: its texts are learned and given out as they are; leave the column out if they name anyone"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::cells::Cells;
    use super::super::schema::Type;
    use super::{BlankLines, CellType, Seen, Source, Types, doubts};

    fn source(texts: impl IntoIterator<Item = String>, seen: Seen, types: &Types) -> Source {
        let cells = Cells {
            name: "c".into(),
            texts: texts.into_iter().collect(),
            seen,
        };
        Source::of(vec![cells], types).unwrap()
    }

    /// Of a file that has no types.
    fn of(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        doubts(
            &source(texts, Seen::default(), &Types::new()),
            &Types::new(),
        )
    }

    /// Of a file that has them.
    fn of_typed<const N: usize>(cells: [(CellType, &str); N], types: &Types) -> Vec<String> {
        let mut seen = Seen::default();
        for (row, (cell_type, text)) in cells.iter().enumerate() {
            seen.add(*cell_type, text, row);
        }
        let texts = cells.map(|(_, text)| text.to_owned());
        doubts(&source(texts, seen, types), types)
    }

    #[test]
    fn digits_that_numbers_would_lose_are_text_and_that_is_said() {
        let words = |texts: &[&str]| of(texts.iter().map(|text| (*text).to_owned())).join("\n");
        let padded = words(&["12", "007", "007", "12", "12"]);
        for part in [
            "column `c` is of digits",
            "2 of its 5",
            "row 2 with \"007\"",
            "leading zeros",
            "categories",
        ] {
            assert!(padded.contains(part), "{padded}");
        }
        let large = words(&["9007199254740993", "1", "1", "1", "1"]);
        assert!(large.contains("2^53"), "{large}");
        let few = words(&["x", "12", "7", "x", "12", "y"]);
        for part in ["categories: 3 of its 6", "row 2 with \"12\"", "leave empty"] {
            assert!(few.contains(part), "{few}");
        }
        assert_eq!(words(&["x", "y", "x", "x", "y"]), "");
        let unnamed = Cells {
            texts: ["1", "1"].map(str::to_owned).to_vec(),
            ..Cells::default()
        };
        let source = Source::of(vec![unnamed], &Types::new()).unwrap();
        let found = doubts(&source, &Types::new()).join("\n");
        assert!(found.contains("without a name"), "{found}");
        assert_eq!(
            words(&["", ""]),
            "column `c` has no value in any row: there is nothing to learn of it"
        );
    }

    #[test]
    fn texts_that_are_taken_for_missing_values_are_told_and_so_are_blank_lines() {
        use CellType::Text;
        let found = of(["NA", "x", "?", "NA", ""].map(str::to_owned));
        let [words, ..] = found.as_slice() else {
            panic!("{found:?}")
        };
        for part in [
            "column `c` has 1 cells with \"?\" and 2 cells with \"NA\"",
            "the first in row 1",
            "if \"?\" is a value, declare a category",
        ] {
            assert!(words.contains(part), "{words}");
        }
        let empty = of_typed([(Text, "x"), (Text, ""), (Text, "x")], &Types::new());
        let words =
            "column `c` has 1 empty texts, the first in row 2, which are taken for missing values";
        assert_eq!(empty, [words]);
        let mut seen = Seen::default();
        seen.skip(2..5);
        let cells = ["1", "2", "", "", ""].map(str::to_owned);
        assert_eq!(
            doubts(&source(cells, seen, &Types::new()), &Types::new()),
            [
                "column `c` is left out of 3 rows of the file, row 3 being the first: it is missing there"
            ]
        );
        let labels = ["NA", "?", "x"].map(str::to_owned).to_vec();
        let declared: Types = [("c".to_owned(), Type::Category { labels })].into();
        let kept = of_typed([(Text, "NA"), (Text, "?"), (Text, "NA")], &declared);
        assert!(kept.is_empty(), "{kept:?}");
        for (count, words) in [
            (0, ""),
            (1, "line 3 of the file is blank: it is no row"),
            (
                2,
                "2 lines of the file, line 3 being the first, are blank: they are no rows",
            ),
        ] {
            let mut lines = BlankLines::default();
            (3..3 + count).for_each(|line| lines.add(line));
            let cells = ["1", "2"].map(str::to_owned);
            let source = source(cells, Seen::default(), &Types::new()).with_blank_lines(lines);
            assert_eq!(doubts(&source, &Types::new()).join("\n"), words);
        }
    }

    #[test]
    fn blanks_that_are_left_out_of_texts_are_told_and_those_of_numbers_are_not() {
        let words = of(["x", " x", "x ", "y", " ", " NA"].map(str::to_owned)).join("\n");
        assert!(
            words.contains(
                "column `c` has 3 cells with blanks around their text, the first in row 2"
            ),
            "{words}"
        );
        assert!(of(["1", " 2", "3 "].map(str::to_owned)).is_empty());
    }

    #[test]
    fn numbers_with_signs_are_named() {
        for form in ["$ {}", "{}%", "1,{}", "{} €"] {
            let found = of((0..40).map(|row| form.replace("{}", &(100 + row % 9).to_string())));
            let first = form.replace("{}", "100");
            assert!(
                found.len() == 1
                    && found[0].contains("40 of its 40 values would be numbers")
                    && found[0].contains(&first),
                "{form}: {found:?}"
            );
        }
        assert!(of((0..40).map(|row| format!("{} m", row % 9))).is_empty());
    }

    #[test]
    fn what_a_file_says_is_not_changed_without_a_word() {
        use CellType::{Float, Integer, Text, Truth};
        let none = Types::new();
        let quoted = of_typed([(Text, "12"), (Text, "12"), (Text, "7")], &none).join("\n");
        assert!(
            quoted.contains("3 of 3 of which look like numbers, such as \"12\" in row 1"),
            "{quoted}"
        );
        let mixed = of_typed(
            [(Integer, "1"), (Text, "NA"), (Text, "x"), (Integer, "1")],
            &none,
        )
        .join("\n");
        assert!(
            mixed.contains("mixes 2 numbers and 1 texts, row 3 being the first"),
            "{mixed}"
        );
        let mixed = of_typed(
            [
                (Truth, "true"),
                (Text, "true"),
                (Float, "1.5"),
                (Truth, "true"),
            ],
            &none,
        )
        .join("\n");
        assert!(
            mixed.contains("1 numbers and 1 texts and 2 truth values, row 2"),
            "{mixed}"
        );
        let large = of_typed(
            [
                (Integer, "9007199254740993"),
                (Integer, "1"),
                (Integer, "1"),
            ],
            &none,
        )
        .join("\n");
        assert!(
            large.contains("holds numbers in the file and is taken for categories")
                && large.contains("2^53"),
            "{large}"
        );
        let infinite = of_typed([(Float, "1"), (Float, "1"), (Float, "inf")], &none).join("\n");
        assert!(
            infinite.contains("row 3 has inf: it is no finite number"),
            "{infinite}"
        );
        // A text for what is missing is none.
        let missing = of_typed([(Integer, "1"), (Text, "NA"), (Integer, "2")], &none);
        assert!(
            missing.len() == 1 && missing[0].contains("taken for missing"),
            "{missing:?}"
        );
        // What JSON lines can have, and 64 bits have not.
        let long = [
            (Integer, "18446744073709551616"),
            (Integer, "1"),
            (Integer, "1"),
        ];
        let long = of_typed(long, &none).join("\n");
        assert!(
            long.contains("has 18446744073709551616") && long.contains("that are made are texts"),
            "{long}"
        );
        let labels = vec!["12".to_owned(), "7".to_owned()];
        let declared: Types = [("c".to_owned(), Type::Category { labels })].into();
        assert!(of_typed([(Text, "12"), (Text, "12"), (Text, "7")], &declared).is_empty());
        let numbers: Types = [("c".to_owned(), Type::Number { decimals: 0 })].into();
        let mixed = of_typed([(Integer, "1"), (Text, "2")], &numbers).join("\n");
        assert!(mixed.contains("taken for numbers, as declared"), "{mixed}");
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
        let is_of_few =
            |found: &[String]| matches!(found, [one] if one.contains("values are numbers, row"));
        assert!(is_of_few(&with_words(9, 4, &[3])), "too few to say most");
        let half: Vec<usize> = (0..30).collect();
        assert_eq!(with_words(60, 4, &half).len(), 1);
        let most: Vec<usize> = (0..31).collect();
        let found = with_words(60, 4, &most);
        assert!(
            is_of_few(&found) && found[0].contains("29 of its 60"),
            "{found:?}"
        );
        assert!(with_words(60, 4, &[]).is_empty(), "numbers");
    }

    #[test]
    fn texts_that_differ_and_are_given_out_are_named() {
        let names =
            |rows: usize, of_names: usize| of((0..rows).map(|row| format!("n{}", row % of_names)));
        let one = names(1, 1);
        assert!(
            one.len() == 2 && one[0].contains("one row alone"),
            "{one:?}"
        );
        for (rows, of_names) in [
            (2, 2),
            (9, 9),
            (40, 39),
            (1000, 900),
            (1000, 600),
            (200, 50),
        ] {
            let found = names(rows, of_names);
            assert!(
                found.len() == 1 && found[0].contains("`c`") && found[0].contains("given out"),
                "{rows}: {found:?}"
            );
        }
        // Keys are made anew; few kinds are no names.
        for (rows, of_names) in [(10, 10), (60, 60), (40, 8), (60, 45), (1000, 200)] {
            assert!(names(rows, of_names).is_empty(), "{rows}");
        }
    }
}
