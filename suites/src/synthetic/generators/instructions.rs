//! Instruction records, `{"instruction", "input", "output"}`, whose outputs are right: small tasks with an answer that follows.
//!
//! A task draws values and writes both the input and, from the same values, the output. The check solves it from the text of the
//! input alone ([`tasks::Task::solve`]), as whoever is taught by the records would have to.

mod tasks;

use super::super::items::{Form, Items};
use super::super::random::{Bits as _, Draws};
use super::super::table::{Column, Table, Values};
use serde::{Deserialize, Serialize};
use tasks::TASKS;

/// Random stream of its items.
const STREAM: u64 = 25;

/// What records are to be like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instructions {
    /// The names of the tasks; all of them, if none is named.
    pub tasks: Vec<String>,
}

/// The tasks that are drawn from.
pub struct Maker {
    tasks: Vec<usize>,
}

/// A record, before it is JSON.
#[derive(Debug, Default)]
struct Record {
    instruction: &'static str,
    input: String,
    output: String,
}

impl Instructions {
    /// What makes them.
    ///
    /// # Errors
    /// The task that is not known.
    pub fn build(&self) -> Result<Maker, String> {
        let place = |name: &String| {
            let place = TASKS.iter().position(|task| task.name == name);
            place.ok_or_else(|| {
                let names: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
                format!("no task is called `{name}`: there are {}", names.join(", "))
            })
        };
        let named: Vec<usize> = self.tasks.iter().map(place).collect::<Result<_, _>>()?;
        let tasks = if named.is_empty() {
            (0..TASKS.len()).collect()
        } else {
            named
        };
        Ok(Maker { tasks })
    }
}

impl Maker {
    fn draw(&self, seed: u64, item: u64, record: &mut Record) {
        let mut draws = Draws::of_row(seed, STREAM, item);
        let mut one_of = |count: usize| draws.below(count as u64) as usize;
        let task = &TASKS[self.tasks[one_of(self.tasks.len())]];
        record.instruction = task.phrasings[one_of(task.phrasings.len())];
        record.input.clear();
        record.output.clear();
        (task.make)(&mut draws, &mut record.input, &mut record.output);
    }
}

/// Appends a text as a JSON string. There are no control characters in what tasks write.
fn append_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(place) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..place]);
        out.extend_from_slice(&[b'\\', rest[place]]);
        rest = &rest[place + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

impl Items for Maker {
    fn form(&self) -> Form {
        Form::Line { is_json: true }
    }

    fn append(&self, seed: u64, item: u64, out: &mut Vec<u8>) {
        let mut record = Record::default();
        self.draw(seed, item, &mut record);
        out.extend_from_slice(b"{\"instruction\":");
        append_quoted(record.instruction, out);
        out.extend_from_slice(b",\"input\":");
        append_quoted(&record.input, out);
        out.extend_from_slice(b",\"output\":");
        append_quoted(&record.output, out);
        out.extend_from_slice(b"}\n");
    }

    fn table(&self, seed: u64, first: u64, items: usize) -> Table {
        let (mut instructions, mut inputs, mut outputs) = (vec![], vec![], vec![]);
        for item in first..first + items as u64 {
            let mut record = Record::default();
            self.draw(seed, item, &mut record);
            instructions.push(Some(record.instruction.to_owned()));
            inputs.push(Some(record.input));
            outputs.push(Some(record.output));
        }
        let column = |(name, values): (&str, Vec<Option<String>>)| Column {
            name: name.into(),
            values: Values::Key { values },
        };
        let columns = [
            ("instruction", instructions),
            ("input", inputs),
            ("output", outputs),
        ];
        Table {
            columns: columns.map(column).into(),
        }
    }

    /// That the output is what the instruction asks of the input.
    fn check(&self, _: u64, _: u64, bytes: &[u8]) -> Result<(), String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Read {
            instruction: String,
            input: String,
            output: String,
        }
        let read: Read = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let asks = |task: &&tasks::Task| task.phrasings.contains(&read.instruction.as_str());
        let task = TASKS.iter().find(asks);
        let task = task.ok_or_else(|| format!("nobody asks `{}`", read.instruction))?;
        let solved =
            (task.solve)(&read.input).ok_or_else(|| format!("`{}` is no input", read.input))?;
        if solved == read.output {
            return Ok(());
        }
        Err(format!(
            "of `{}` the output is `{}`, not `{}`",
            read.input, solved, read.output
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{Instructions, Items as _, TASKS};
    use crate::synthetic::items::bytes;

    #[test]
    fn every_task_is_solved_from_its_input_as_it_was_written() {
        for task in &TASKS {
            let maker = Instructions {
                tasks: vec![task.name.into()],
            }
            .build()
            .unwrap();
            for item in 0..300 {
                let line = bytes(&maker, 8, item, 1);
                maker
                    .check(8, item, &line)
                    .unwrap_or_else(|what| panic!("{}: {what}", task.name));
            }
        }
    }

    #[test]
    fn a_wrong_output_is_noticed() {
        let maker = Instructions::default().build().unwrap();
        for item in 0..100 {
            let text = String::from_utf8(bytes(&maker, 8, item, 1)).unwrap();
            let wrong = text.replace("\"}\n", "x\"}\n");
            assert!(maker.check(8, item, wrong.as_bytes()).is_err(), "{wrong}");
            assert!(maker.check(8, item, &text.as_bytes()[1..]).is_err());
        }
    }

    #[test]
    fn the_table_holds_what_the_lines_do() {
        let maker = Instructions::default().build().unwrap();
        let table = maker.table(2, 10, 50);
        let lines = String::from_utf8(bytes(&maker, 2, 10, 50)).unwrap();
        for (row, line) in lines.lines().enumerate() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            for column in &table.columns {
                assert_eq!(line[&column.name], column.values.text(row).as_ref());
            }
        }
        let unknown = Instructions {
            tasks: vec!["dance".into()],
        };
        assert!(unknown.build().err().unwrap().contains("there are add, "));
    }
}
