//! Tables for a terminal, where a Chinese character takes two columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Widest cell; longer text is cut and ends with `…`.
pub const CELL_WIDTH_MAX: usize = 60;

/// Rows under a header, aligned by display width.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

// === impl Table ===

impl Table {
    /// A table with these column titles.
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self {
            rows: vec![header.into_iter().map(Into::into).collect()],
            right: Vec::new(),
        }
    }

    /// Aligns these columns, counted from 0, to the right: numbers.
    #[must_use]
    pub fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right.extend(columns);
        self
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows
            .push(cells.into_iter().map(|cell| cut(&cell.into())).collect());
    }

    /// There is nothing under the header.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The lines of the table, without a line break at the end.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.width())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut lines: Vec<String> = self
            .rows
            .iter()
            .map(|row| self.line(row, &widths))
            .collect();
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        lines.insert(1.min(lines.len()), rule.join("  "));
        lines.join("\n")
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                let space = " ".repeat(width.saturating_sub(cell.width()));
                if self.right.contains(&column) {
                    format!("{space}{cell}")
                } else {
                    format!("{cell}{space}")
                }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    }
}

fn cut(text: &str) -> String {
    let one_line = text.replace(['\n', '\r', '\t'], " ");
    if one_line.width() <= CELL_WIDTH_MAX {
        return one_line;
    }
    let mut shown = String::new();
    let mut width = 0;
    for character in one_line.chars() {
        width += character.width().unwrap_or(0);
        if width >= CELL_WIDTH_MAX {
            break;
        }
        shown.push(character);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_when_characters_are_two_columns_wide() {
        let mut table = Table::new(["名称", "TPS"]).right([1]);
        table.row(["核心账务", "12"]);
        table.row(["mail", "3"]);
        assert_eq!(
            table.render(),
            "名称      TPS\n────────  ───\n核心账务   12\nmail        3"
        );
    }

    #[test]
    fn long_text_is_cut_within_its_width() {
        let mut table = Table::new(["a"]);
        table.row(["账".repeat(100)]);
        assert!(
            table
                .render()
                .lines()
                .all(|line| line.width() <= CELL_WIDTH_MAX)
        );
    }
}
