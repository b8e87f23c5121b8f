//! Breaking text into rows, by the columns that it takes on a terminal.

use std::ops::Range;

use ratatui::text::Line;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

pub(crate) use crate::render::table::columns;

/// How many columns a line takes.
pub(crate) fn line_columns(line: &Line<'_>) -> usize {
    line.spans.iter().map(|span| columns(&span.content)).sum()
}

/// Breaks `text` into rows of at most `width` columns: at line breaks, else at white space or beside a wide character,
/// else anywhere between two graphemes. White space at a break belongs to neither row. At least one row; of the first
/// one `lead` columns are taken already.
pub(crate) fn wrap(text: &str, lead: usize, width: usize) -> Vec<Range<usize>> {
    // A wide character has to fit.
    let width = width.max(2);
    let mut rows = Vec::new();
    let mut row = Row { start: 0, used: lead.min(width - 2), chance: None };
    for (at, grapheme) in text.grapheme_indices(true) {
        let next = at + grapheme.len();
        if grapheme == "\n" {
            rows.push(row.start..at);
            row = Row { start: next, used: 0, chance: None };
            continue;
        }
        let taken = grapheme.width();
        if grapheme.chars().all(char::is_whitespace) {
            let end = match row.chance {
                Some(chance) if chance.next == at && chance.is_space => chance.end,
                _ => at,
            };
            row.used += taken;
            row.chance = Some(Chance { end, next, used: row.used, is_space: true });
            continue;
        }
        if taken == 2 && at > row.start && row.chance.is_none_or(|chance| chance.next != at) {
            row.chance = Some(Chance { end: at, next: at, used: row.used, is_space: false });
        }
        while row.used + taken > width && row.start < at {
            let chance = row.chance.take().unwrap_or(Chance { end: at, next: at, used: row.used, is_space: false });
            rows.push(row.start..chance.end.max(row.start));
            row.start = chance.next;
            row.used -= chance.used;
        }
        row.used += taken;
        if taken == 2 {
            row.chance = Some(Chance { end: next, next, used: row.used, is_space: false });
        }
    }
    rows.push(row.start..text.len());
    rows
}

/// A row that grows.
struct Row {
    start: usize,
    used: usize,
    /// The last place where it may end.
    chance: Option<Chance>,
}

#[derive(Clone, Copy)]
struct Chance {
    /// Where the row would end, and the next begin.
    end: usize,
    next: usize,
    /// Columns up to `next`.
    used: usize,
    is_space: bool,
}

/// `text` in at most `width` columns, with an ellipsis where something is cut off.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = fitting(text.graphemes(true), width.saturating_sub(1)).concat();
    if width > 0 {
        short.push('…');
    }
    short
}

/// The same, cut in the middle: names that begin alike are told apart by their ends.
pub(crate) fn squeezed(text: &str, width: usize) -> String {
    if columns(text) <= width || width < 3 {
        return shortened(text, width);
    }
    let mut end = fitting(text.graphemes(true).rev(), (width - 1) / 2);
    end.reverse();
    let end = end.concat();
    format!("{}{end}", shortened(text, width - columns(&end)))
}

/// The first of these that fit into so many columns.
fn fitting<'a>(graphemes: impl Iterator<Item = &'a str>, width: usize) -> Vec<&'a str> {
    let mut used = 0;
    let fits = |grapheme: &&str| {
        used += grapheme.width();
        used <= width
    };
    graphemes.take_while(fits).collect()
}

/// `text` shortened or filled up to exactly `width` columns.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let mut text = shortened(text, width);
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(columns(&text))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, width: usize) -> Vec<&str> {
        wrap(text, 0, width).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(rows("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(rows("the quick  brown", 9), ["the quick", "brown"]);
        assert_eq!(rows("a https://example.org/x", 8), ["a", "https://", "example.", "org/x"]);
        assert_eq!(rows("", 8), [""]);
        assert_eq!(rows("a\n\nb\n", 8), ["a", "", "b", ""]);
        assert_eq!(rows("ab ", 2), ["ab "]);
        assert_eq!(rows("  indented text", 12), ["  indented", "text"]);
        assert_eq!(wrap("abc def", 4, 8), [0..3, 4..7]);
    }

    #[test]
    fn wide_and_combined_characters_are_never_torn() {
        assert_eq!(rows("你好世界", 5), ["你好", "世界"]);
        assert_eq!(rows("ab你好", 5), ["ab你", "好"]);
        assert_eq!(rows("你", 1), ["你"]);
        let family = "👨‍👩‍👧";
        assert_eq!(rows(&format!("{family}{family}{family}"), 4), [format!("{family}{family}"), family.to_owned()]);
        let accents = "e\u{301}".repeat(5);
        assert_eq!(rows(&accents, 3), ["e\u{301}".repeat(3), "e\u{301}".repeat(2)]);
    }

    #[test]
    fn no_row_is_wider_than_it_may_be_and_nothing_but_white_space_is_lost() {
        let text = "Ein längerer Satz, 世界 with 👩‍🚀 and supercalifragilistic words\nשלום עולם and so on";
        for width in 2..40 {
            let rows = rows(text, width);
            assert!(rows.iter().all(|row| columns(row.trim_end()) <= width), "{width}: {rows:?}");
            let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(squeezed(&rows.concat()), squeezed(text), "{width}");
        }
    }

    #[test]
    fn texts_are_cut_and_filled_by_columns() {
        assert_eq!(shortened("hello", 5), "hello");
        assert_eq!(shortened("hello!", 5), "hell…");
        assert_eq!(shortened("你好世界", 5), "你好…");
        assert_eq!(shortened("x", 0), "");
        assert_eq!(squeezed("christopher", 10), "chris…pher");
        assert_eq!(squeezed("christopher-2", 10), "chris…er-2");
        assert_eq!(squeezed("christopher", 11), "christopher");
        assert_eq!(squeezed("你好世界", 6), "你…界");
        assert_eq!((squeezed("abc", 2).as_str(), squeezed("abc", 0).as_str()), ("a…", ""));
        assert_eq!(fitted("你好世界", 6), "你好… ");
        assert_eq!(fitted("ab", 4), "ab  ");
        assert_eq!(fitted("سلام", 6), "سلام  ");
    }
}
