//! Comma-separated values with the place of every field (RFC 4180).
//!
//! Our own, because the inventories that people export put blanks between the comma and the
//! opening quote (`…>", "Sam <sam@…>, Jamie <…>"`): RFC 4180 readers take that quote for text and
//! shift every later column.

use crate::error::{Collector, more, verbatim};
use crate::text::Text;

/// Most records in one file.
const RECORDS_MAX: usize = 200_000;

/// One field and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub text: String,
    /// From 1.
    pub line: u32,
}

/// One record; fields may span lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Line on which it begins, from 1.
    pub line: u32,
    pub fields: Vec<Field>,
}

/// Where the reader is inside a field.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before the first character that is not blank.
    Before,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// After the closing quote.
    After,
}

/// Reads every record; blank lines are skipped. Quotes that do not close, and text after a closing
/// quote, go into `errors`.
pub(crate) fn records(text: &str, errors: &mut Collector) -> Vec<Record> {
    let mut records = Vec::new();
    let mut record = Record {
        line: 1,
        fields: Vec::new(),
    };
    let mut field = Field {
        text: String::new(),
        line: 1,
    };
    let mut state = State::Before;
    let mut line: u32 = 1;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (state, character) {
            (State::Quoted, '"') if characters.peek() == Some(&'"') => {
                characters.next();
                field.text.push('"');
            }
            (State::Quoted, '"') => state = State::After,
            (State::Quoted, other) => {
                line = line.saturating_add(u32::from(other == '\n'));
                field.text.push(other);
            }
            (_, ',') => {
                end_field(&mut field, &mut record, state, line);
                state = State::Before;
            }
            (_, '\n') => {
                end_field(&mut field, &mut record, state, line);
                state = State::Before;
                line = line.saturating_add(1);
                field.line = line;
                end_record(&mut record, &mut records, line);
                if records.len() > RECORDS_MAX {
                    let expected = Text::new(
                        format!("最多 {RECORDS_MAX} 行"),
                        format!("at most {RECORDS_MAX} records"),
                    );
                    errors.push(line, 0, expected, more());
                    return records;
                }
            }
            (State::Before, '"') => {
                state = State::Quoted;
                field.line = line;
            }
            (State::Before | State::After, blank) if blank.is_whitespace() => {}
            (State::After, other) => {
                let expected = Text::new(
                    "引号之后的逗号或换行",
                    "a comma or the end of the line after a quoted field",
                );
                errors.push(
                    line,
                    0,
                    expected,
                    verbatim(format!("`{}`", other.escape_debug())),
                );
                state = State::Plain;
            }
            (_, other) => {
                if state == State::Before {
                    field.line = line;
                }
                state = State::Plain;
                field.text.push(other);
            }
        }
    }
    if state == State::Quoted {
        let expected = Text::new("字段末尾的引号", "a closing quote");
        errors.push(
            field.line,
            0,
            expected,
            Text::new("文件结尾", "the end of the file"),
        );
    }
    end_field(&mut field, &mut record, state, line);
    end_record(&mut record, &mut records, line);
    records
}

fn end_field(field: &mut Field, record: &mut Record, state: State, line: u32) {
    let text = std::mem::take(&mut field.text);
    let text = if state == State::Plain {
        text.trim().to_owned()
    } else {
        text
    };
    record.fields.push(Field {
        text,
        line: field.line,
    });
    field.line = line;
}

fn end_record(record: &mut Record, records: &mut Vec<Record>, next_line: u32) {
    let done = std::mem::replace(
        record,
        Record {
            line: next_line,
            fields: Vec::new(),
        },
    );
    if done.fields.iter().any(|field| !field.text.is_empty()) {
        records.push(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        let mut errors = Collector::new("t.csv");
        let records = records(text, &mut errors);
        assert!(errors.is_empty());
        records
            .into_iter()
            .map(|it| it.fields.into_iter().map(|field| field.text).collect())
            .collect()
    }

    #[test]
    fn blanks_before_a_quote_do_not_shift_columns() {
        assert_eq!(fields("a, \"b, c\",d\r\n"), [["a", "b, c", "d"]]);
    }

    #[test]
    fn quotes_and_line_ends_may_stand_in_a_field() {
        assert_eq!(
            fields("\"a \"\"b\"\"\nc\",d\n\n,\ne,\"\""),
            [["a \"b\"\nc", "d"], ["e", ""]]
        );
    }

    #[test]
    fn an_open_quote_is_named_with_its_line() {
        let mut errors = Collector::new("t.csv");
        records("a\nb,\"c\nd", &mut errors);
        assert_eq!(errors.into_errors().errors[0].line, 2);
    }
}
