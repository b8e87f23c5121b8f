//! Names of networks and members, and the harmless printing of what others wrote.

use std::{fmt, str::FromStr};

use crate::limits::MAX_NAME_CHARS;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but white space, or nothing at all.
    #[error("a name must not be empty")]
    Empty,
    /// More than [`MAX_NAME_CHARS`] characters.
    #[error("a name has at most {MAX_NAME_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// Control characters, line breaks or text-direction overrides.
    #[error("a name must not contain control characters")]
    Control,
    /// Characters that show nothing: with them, two names can look alike, or one like none.
    #[error("a name must not contain invisible characters (U+{0:04X})")]
    Invisible(u32),
    /// 64 hexadecimal digits: what ids look like.
    #[error("a name must not look like an id (64 hexadecimal digits)")]
    LikeAnId,
    /// White space at an end.
    #[error("a name must not begin or end with white space")]
    Untrimmed,
}

/// A label of 1 to 64 characters, without control characters, without what can't be seen, and without white space at
/// its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let chars = text.chars().count();
        if text.trim().is_empty() {
            Err(NameError::Empty)
        } else if chars > MAX_NAME_CHARS {
            Err(NameError::TooLong(chars))
        } else if text.chars().any(is_unprintable) {
            Err(NameError::Control)
        } else if text.trim() != text {
            Err(NameError::Untrimmed)
        } else if let Some(c) = first_invisible(text) {
            Err(NameError::Invisible(c.into()))
        } else if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Err(NameError::LikeAnId)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// `text` with every character that could act on a terminal replaced by its visible escape, line breaks and tabs kept.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) && c != '\n' && c != '\t' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and the marks that reorder the text around them (Unicode TR 36, bidirectional spoofing).
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The first character that shows nothing (most of Unicode's `Default_Ignorable_Code_Point`, and the empty Braille cell).
/// What shapes the character before it, in emoji and in Persian, Indic, Mongolian or Japanese words, passes after one.
fn first_invisible(text: &str) -> Option<char> {
    let mut may_be_shaped = false;
    text.chars().find(|&c| {
        let (is_selector, is_joiner) = (is_selector(c), matches!(c, '\u{200c}' | '\u{200d}'));
        let is_fine = if is_selector || is_joiner { may_be_shaped } else { !is_never_seen(c) };
        may_be_shaped = !c.is_whitespace() && !is_joiner;
        !is_fine
    })
}

/// Variation selectors: they choose a form of the character before them.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_never_seen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}' | '\u{200b}'
        | '\u{200e}' | '\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("lab".parse::<Name>().map(|name| name.to_string()), Ok("lab".to_owned()));
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!(" \u{2003}".parse::<Name>(), Err(NameError::Empty));
        assert_eq!(" lab".parse::<Name>(), Err(NameError::Untrimmed));
        assert_eq!("0F".repeat(32).parse::<Name>(), Err(NameError::LikeAnId));
        assert_eq!("é".repeat(64).parse::<Name>().map(|_| ()), Ok(()));
        assert_eq!("é".repeat(65).parse::<Name>(), Err(NameError::TooLong(65)));
        for bad in ["a\u{7}", "a\nb", "a\u{1b}[2J", "a\u{202e}b"] {
            assert_eq!(bad.parse::<Name>(), Err(NameError::Control));
        }
    }

    #[test]
    fn what_can_not_be_seen_is_no_part_of_a_name() {
        let good = [
            "a b",
            "\u{2764}\u{fe0f}",
            "\u{1f468}\u{200d}\u{1f469}",
            "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
            "\u{845b}\u{e0100}",
        ];
        for good in good {
            assert!(good.parse::<Name>().is_ok(), "{good:?}");
        }
        let bad = [
            "lab\u{200b}",
            "l\u{ad}ab",
            "\u{200e}lab",
            "\u{200d}",
            "\u{200d}a",
            "a \u{fe0f}b",
            "\u{2800}",
            "a\u{200d}\u{200d}",
        ];
        for bad in bad {
            assert!(matches!(bad.parse::<Name>(), Err(NameError::Invisible(_))), "{bad:?}");
        }
        let error = "lab\u{feff}".parse::<Name>().map_err(|error| error.to_string());
        assert_eq!(error, Err("a name must not contain invisible characters (U+FEFF)".to_owned()));
    }

    #[test]
    fn printable_shows_what_would_act() {
        assert_eq!(printable("a\u{1b}[31mb\nc\td"), "a\\u{1b}[31mb\nc\td");
    }
}
