//! Tables for people: columns aligned by the width that a terminal gives to the characters.

use std::fmt;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::console::one_line;

/// How many columns a text takes: those of its graphemes, as each is drawn by itself. (By Unicode, some letters of Arabic
/// take less together.)
pub(crate) fn columns(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// A table with a header. Whatever is put in is made harmless.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub(crate) fn new(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned)] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(one_line));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = columns(cell).max(*width);
            }
        }
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(cell)) + 2));
            }
            let line_break = if number > 0 { "\n" } else { "" };
            write!(f, "{line_break}{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_display_width_and_cells_are_harmless() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(["日本", "away"]);
        table.row(["سلام", "here"]);
        table.row(["a\u{1b}[2J", "x\ny"]);
        assert_eq!(table.to_string(), "NAME        STATE\n日本        away\nسلام        here\na\\u{1b}[2J  x\\ny");
    }
}
