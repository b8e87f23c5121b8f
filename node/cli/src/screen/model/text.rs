//! What others wrote, made harmless before it gets into the model.

use p2p_chat_model::name::printable;

/// How wide a tab is shown.
const TAB: &str = "    ";

/// `text` without anything that acts on a terminal; line breaks stay.
pub(crate) fn harmless(text: &str) -> String {
    printable(&text.replace("\r\n", "\n")).replace('\t', TAB)
}

/// The same in one line.
pub(crate) fn harmless_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(harmless("a\r\nb\tc\u{1b}[2J\u{202e}"), "a\nb    c\\u{1b}[2J\\u{202e}");
        assert_eq!(harmless_line("a\nb"), "a b");
    }
}
