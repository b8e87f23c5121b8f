//! Colours: by role, for terminals without colours, with sixteen, and with all of them.

use std::collections::BTreeMap;

use p2p_chat_model::PeerId;
use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;

use crate::settings::Env;

/// What the background of the terminal is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Background {
    /// Looked up in `COLORFGBG`; if that is silent, colours are used that can be read on both.
    #[default]
    Auto,
    Dark,
    Light,
}

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    None,
    Sixteen,
    True,
}

/// What a piece of the screen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Text,
    /// Times, hints, what matters less.
    Dim,
    Border,
    Title,
    Status,
    Notice,
    /// The line above what is unread.
    Marker,
    Mention,
    Match,
    Selected,
    /// The current network.
    Current,
    Unread,
    Leader,
    /// Everybody has it; all is well.
    Good,
    /// On its way.
    Pending,
    Error,
}

const NAMES: [(&str, Role); 16] = [
    ("text", Role::Text),
    ("dim", Role::Dim),
    ("border", Role::Border),
    ("title", Role::Title),
    ("status", Role::Status),
    ("notice", Role::Notice),
    ("marker", Role::Marker),
    ("mention", Role::Mention),
    ("match", Role::Match),
    ("selected", Role::Selected),
    ("current", Role::Current),
    ("unread", Role::Unread),
    ("leader", Role::Leader),
    ("good", Role::Good),
    ("pending", Role::Pending),
    ("error", Role::Error),
];

impl Role {
    /// The piece that a configuration file calls so.
    ///
    /// # Errors
    /// One sentence if there is none.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, role)| *role);
        found.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("nothing is called {name:?}; there are {}", names.join(", "))
        })
    }
}

/// The colours that hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Theme {
    depth: Depth,
    background: Background,
    given: BTreeMap<Role, Color>,
}

impl Theme {
    /// The colours that suit the terminal, and what the configuration file says of them.
    pub(crate) fn new(env: &Env, background: Background, given: BTreeMap<Role, Color>) -> Self {
        let all = env.text("COLORTERM").is_some_and(|depth| matches!(depth, "truecolor" | "24bit"))
            || env.text("TERM").is_some_and(|term| term.ends_with("-direct"));
        let depth = match (env.value("NO_COLOR").is_some(), all) {
            (true, _) => Depth::None,
            (false, true) => Depth::True,
            (false, false) => Depth::Sixteen,
        };
        let background = match background {
            Background::Auto => env.text("COLORFGBG").map_or(Background::Auto, background_of),
            known => known,
        };
        Self { depth, background, given }
    }

    /// How a piece of the screen looks.
    pub(crate) fn style(&self, role: Role) -> Style {
        let style = match self.depth {
            Depth::None => plain(role),
            Depth::Sixteen => plain(role).patch(self.sixteen(role)),
            Depth::True => plain(role).patch(self.full(role)),
        };
        match self.given.get(&role) {
            Some(colour) if self.depth != Depth::None => style.fg(*colour),
            _ => style,
        }
    }

    /// How it looks in a bar. Where bars are nothing but reversed, a colour is a block: kept for what needs attention.
    pub(crate) fn in_bar(&self, role: Role) -> Style {
        match (self.depth, role) {
            (Depth::True, _) => self.style(role),
            (_, Role::Title) => Style::new().add_modifier(Modifier::BOLD),
            (_, Role::Text | Role::Leader | Role::Good) => Style::new(),
            (_, role) => self.style(role),
        }
    }

    /// The colour of a member: the same everywhere and for ever.
    pub(crate) fn author(&self, peer: &PeerId) -> Style {
        let sum = peer.as_bytes().iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        match self.depth {
            Depth::None => Style::new().add_modifier(Modifier::BOLD),
            Depth::Sixteen => Style::new().fg(AUTHORS[sum as usize % AUTHORS.len()]),
            Depth::True => Style::new().fg(self.hue(sum % 360)),
        }
    }

    fn sixteen(&self, role: Role) -> Style {
        let style = Style::new();
        match role {
            Role::Text | Role::Selected | Role::Status => style,
            Role::Dim | Role::Border | Role::Notice => style.fg(Color::DarkGray).remove_modifier(Modifier::DIM),
            Role::Title | Role::Current => style.fg(Color::Cyan),
            Role::Marker | Role::Mention | Role::Error => style.fg(Color::Red),
            Role::Match | Role::Unread | Role::Pending => style.fg(Color::Yellow).remove_modifier(Modifier::DIM),
            Role::Leader | Role::Good => style.fg(Color::Green),
        }
    }

    fn full(&self, role: Role) -> Style {
        let palette = match self.background {
            Background::Auto => &ANYWHERE,
            Background::Dark => &DARK,
            Background::Light => &LIGHT,
        };
        let style = Style::new();
        match role {
            Role::Text => style,
            Role::Status | Role::Selected => {
                style.bg(palette.bar).fg(palette.bar_text).remove_modifier(Modifier::REVERSED)
            }
            Role::Dim | Role::Notice => style.fg(palette.dim).remove_modifier(Modifier::DIM),
            Role::Border => style.fg(palette.border),
            Role::Title | Role::Current => style.fg(palette.accent),
            Role::Marker | Role::Mention | Role::Error => style.fg(palette.alarm),
            Role::Match | Role::Unread | Role::Pending => style.fg(palette.pending).remove_modifier(Modifier::DIM),
            Role::Leader | Role::Good => style.fg(palette.good),
        }
    }

    /// A colour of that hue, readable on the background.
    fn hue(&self, degrees: u32) -> Color {
        let (low, high) = match self.background {
            Background::Dark => (120.0, 225.0),
            Background::Light => (20.0, 135.0),
            Background::Auto => (70.0, 180.0),
        };
        let wave = |shift: u32| {
            let turn = f64::from((degrees + shift) % 360) / 60.0;
            let height = (2.0 - (turn - 3.0).abs()).clamp(0.0, 1.0);
            // Between 0 and 255 by the bounds above.
            (low + (high - low) * height) as u8
        };
        Color::Rgb(wave(180), wave(60), wave(300))
    }
}

/// Colours where all can be had.
struct Palette {
    dim: Color,
    border: Color,
    accent: Color,
    alarm: Color,
    pending: Color,
    good: Color,
    bar: Color,
    bar_text: Color,
}

const DARK: Palette = Palette {
    dim: Color::Rgb(112, 118, 138),
    border: Color::Rgb(62, 67, 84),
    accent: Color::Rgb(122, 182, 255),
    alarm: Color::Rgb(247, 118, 142),
    pending: Color::Rgb(224, 175, 104),
    good: Color::Rgb(118, 200, 132),
    bar: Color::Rgb(38, 42, 56),
    bar_text: Color::Rgb(204, 208, 220),
};

const LIGHT: Palette = Palette {
    dim: Color::Rgb(118, 122, 134),
    border: Color::Rgb(200, 204, 214),
    accent: Color::Rgb(0, 95, 150),
    alarm: Color::Rgb(190, 25, 45),
    pending: Color::Rgb(148, 92, 0),
    good: Color::Rgb(10, 120, 55),
    bar: Color::Rgb(226, 229, 238),
    bar_text: Color::Rgb(48, 52, 64),
};

/// Readable on black and on white.
const ANYWHERE: Palette = Palette {
    dim: Color::Rgb(126, 130, 142),
    border: Color::Rgb(112, 116, 128),
    accent: Color::Rgb(64, 146, 210),
    alarm: Color::Rgb(220, 74, 88),
    pending: Color::Rgb(190, 132, 40),
    good: Color::Rgb(58, 152, 84),
    bar: Color::Rgb(44, 48, 62),
    bar_text: Color::Rgb(226, 229, 236),
};

/// Colours of members among the sixteen, readable on black and on white; red is for what is alarming.
const AUTHORS: [Color; 9] = [
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::LightRed,
    Color::LightGreen,
    Color::LightBlue,
    Color::LightMagenta,
];

/// What is told apart without colours.
fn plain(role: Role) -> Style {
    let style = Style::new();
    match role {
        Role::Text | Role::Border | Role::Good | Role::Leader => style,
        Role::Dim | Role::Notice | Role::Pending => style.add_modifier(Modifier::DIM),
        Role::Title | Role::Unread | Role::Marker | Role::Current | Role::Error | Role::Mention => {
            style.add_modifier(Modifier::BOLD)
        }
        Role::Status | Role::Selected => style.add_modifier(Modifier::REVERSED),
        Role::Match => style.add_modifier(Modifier::UNDERLINED),
    }
}

/// rxvt's convention, taken over by others: `FOREGROUND;BACKGROUND` as numbers of the sixteen.
fn background_of(colorfgbg: &str) -> Background {
    match colorfgbg.rsplit(';').next().and_then(|number| number.parse::<u8>().ok()) {
        Some(7 | 9..=15) => Background::Light,
        Some(0..=6 | 8) => Background::Dark,
        _ => Background::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theme(env: &[(&str, &str)]) -> Theme {
        Theme::new(&env.iter().copied().collect(), Background::Auto, BTreeMap::new())
    }

    #[test]
    fn without_colours_there_are_none_and_roles_still_differ() {
        let theme = theme(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]);
        for (_, role) in NAMES {
            let style = theme.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
        assert_eq!(theme.author(&PeerId::new([7; 32])).fg, None);
        assert_ne!(theme.style(Role::Text), theme.style(Role::Unread));
    }

    #[test]
    fn a_member_keeps_its_colour_and_the_depth_is_the_terminals() {
        let (bob, carol) = (PeerId::new([7; 32]), PeerId::new([9; 32]));
        let sixteen = theme(&[("TERM", "xterm")]);
        assert_eq!(sixteen.author(&bob), sixteen.author(&bob));
        assert!(!matches!(sixteen.author(&bob).fg, Some(Color::Rgb(..)) | None));
        let full = theme(&[("COLORTERM", "24bit")]);
        assert!(matches!(full.author(&bob).fg, Some(Color::Rgb(..))));
        assert_ne!(full.author(&bob), full.author(&carol));
    }

    #[test]
    fn the_background_is_taken_from_the_terminal_unless_it_is_given() {
        assert_eq!(theme(&[("COLORFGBG", "15;0")]).background, Background::Dark);
        assert_eq!(theme(&[("COLORFGBG", "0;default;15")]).background, Background::Light);
        assert_eq!(theme(&[("COLORFGBG", "odd")]).background, Background::Auto);
    }

    #[test]
    fn a_given_colour_goes_before_the_usual_one() {
        let given = BTreeMap::from([(Role::named("border").expect("a role"), Color::Rgb(1, 2, 3))]);
        let theme = |env: &[(&str, &str)]| Theme::new(&env.iter().copied().collect(), Background::Auto, given.clone());
        assert_eq!(theme(&[]).style(Role::Border).fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(theme(&[("NO_COLOR", "1")]).style(Role::Border).fg, None);
        assert!(Role::named("bored").expect_err("refused").contains("\"bored\""));
    }
}
