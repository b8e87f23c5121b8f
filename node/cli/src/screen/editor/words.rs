//! What a word is (Unicode TR 29), and emoji by their names.

use unicode_segmentation::UnicodeSegmentation;

/// Where the word begins that ends at `at`, or the last one before.
pub(super) fn start_before(text: &str, at: usize) -> usize {
    let mut parts = text[..at].split_word_bound_indices().rev();
    parts.find(|(_, part)| is_word(part)).map_or(0, |(start, _)| start)
}

/// Where the word ends that begins at `at`, or the next one.
pub(super) fn end_after(text: &str, at: usize) -> usize {
    let mut parts = text[at..].split_word_bound_indices();
    parts.find(|(_, part)| is_word(part)).map_or(text.len(), |(start, part)| at + start + part.len())
}

fn is_word(part: &str) -> bool {
    part.contains(char::is_alphanumeric)
}

/// The emoji whose name ends the text as `:name:`, and where that begins. What stands right behind a letter or a
/// digit is none: `12:100:` is no score.
pub(super) fn emoji_before(text: &str) -> Option<(usize, &'static str)> {
    let named = text.strip_suffix(':')?;
    let start = named.rfind(':')?;
    if named[..start].ends_with(char::is_alphanumeric) {
        return None;
    }
    let emoji = emojis::get_by_shortcode(&named[start + 1..])?;
    Some((start, emoji.as_str()))
}

/// The emoji with a name that begins like that, by name.
pub(super) fn emoji_called(beginning: &str) -> Vec<&'static str> {
    let names = emojis::iter().flat_map(|emoji| emoji.shortcodes().map(move |name| (name, emoji.as_str())));
    let mut found: Vec<_> = names.filter(|(name, _)| name.starts_with(beginning)).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, emoji)| emoji).collect()
}
