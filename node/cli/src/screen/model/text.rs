//! What others wrote, made harmless before it gets into the model.

use p2p_chat_model::name::printable;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::console::MAX_MARKS;

/// How wide a tab is shown.
const TAB: &str = "    ";

/// `text` without anything that acts on a terminal, and as wide on each terminal as it is taken for here; line breaks
/// stay.
pub(crate) fn harmless(text: &str) -> String {
    let text = printable(&text.replace("\r\n", "\n")).replace('\t', TAB);
    if text.is_ascii() {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    text.graphemes(true).for_each(|grapheme| shown.extend(agreed(grapheme)));
    shown
}

/// What is shown of a grapheme. Terminals add its characters' widths up, or know what some of them are together: where
/// that makes a difference (emoji that are joined or varied), what joins and varies them is left out, and flags become
/// the letters of their countries. Else all that follows in the row would be elsewhere than it is believed to be, and
/// remain there when the row is drawn over.
fn agreed(grapheme: &str) -> impl Iterator<Item = char> {
    let width = |c: char| c.width().unwrap_or(0);
    let is_disputed = grapheme.width() != grapheme.chars().map(width).sum::<usize>();
    let mut marks = 0;
    let shown = grapheme.chars().enumerate().filter(move |(at, c)| {
        let is_mark = width(*c) == 0 && *c != '\n';
        marks += usize::from(is_mark);
        let is_left_out = is_mark && (marks > MAX_MARKS || is_invisible(*c)) || is_disputed && *at > 0 && varies(*c);
        !is_left_out
    });
    shown.map(|(_, c)| letter(c))
}

/// The letter that half a flag stands for; anything else as it is.
fn letter(c: char) -> char {
    match u32::from(c).checked_sub(0x1f1e6) {
        Some(number @ 0..26) => char::from_u32(u32::from('A') + number).unwrap_or(c),
        _ => c,
    }
}

/// Characters that show nothing and have a width on some terminals, or give one to others: soft hyphens, spaces without
/// width, fillers, tags, variation selectors.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e007f}')
}

/// Joiners and skin tones.
fn varies(c: char) -> bool {
    matches!(c, '\u{200d}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// The same in one line.
pub(crate) fn harmless_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_as_wide_by_character_as_by_grapheme() {
        let zalgo = format!("Z{}algo", "\u{337}".repeat(60));
        for text in
            ["👨‍👩‍👧‍👦|", "👩🏽‍🚀|", "🏳️‍🌈|", "❤️ ☁️ 1️⃣", "🏴\u{e0067}\u{e007f}", "a\u{ad}b\u{200b}\u{feff}c\u{3164}", &zalgo]
        {
            let shown = harmless(text);
            let by_character: usize = shown.chars().map(|c| c.width().unwrap_or(0)).sum();
            assert_eq!(shown.width(), by_character, "{shown:?}");
            let most = shown.graphemes(true).map(|it| it.chars().filter(|c| c.width() == Some(0)).count()).max();
            assert!(most <= Some(MAX_MARKS) && !shown.contains(is_invisible), "{shown:?}");
        }
        assert_eq!(harmless("👨‍👩‍👧 👍🏽 ❤️! 🇩🇪🇿"), "👨👩👧 👍 ❤! DEZ");
        for plain in ["e\u{301} 日本語 한글 🙂🎉", "שָׁלוֹם مرحبا", "می\u{200c}خواهم", "क\u{94d}\u{200d}ष नि", "🏻"]
        {
            assert_eq!(harmless(plain), plain);
        }
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(harmless("a\r\nb\tc\u{1b}[2J\u{202e}"), "a\nb    c\\u{1b}[2J\\u{202e}");
        assert_eq!(harmless_line("a\nb"), "a b");
    }
}
