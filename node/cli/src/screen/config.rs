//! What a configuration file says of the screen: `[screen]`, `[keys]` and `[colours]`.

use std::collections::BTreeMap;

use ratatui::style::Color;
use serde::{Deserialize, Deserializer, de::Error};

use super::{
    keys::{Action, Chord, Keys},
    theme::{Background, Role},
};

/// `[screen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScreenConfig {
    /// Which colours can be read: "dark", "light", or "auto".
    pub(crate) background: Background,
    /// Whether a message that names this node rings the bell.
    pub(crate) bell: bool,
    /// Whether the mouse scrolls and selects here, and no longer in the terminal itself.
    pub(crate) mouse: bool,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self { background: Background::Auto, bell: true, mouse: true }
    }
}

/// One key, or several.
struct Chords(Vec<Chord>);

impl<'de> Deserialize<'de> for Chords {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let refused = || D::Error::custom("expected a key, or a list of keys, as \"ctrl-n\"");
        let read = |value: toml::Value| match value {
            toml::Value::String(text) => text.parse().map_err(D::Error::custom),
            _ => Err(refused()),
        };
        match toml::Value::deserialize(from)? {
            toml::Value::Array(values) => values.into_iter().map(read).collect::<Result<_, _>>().map(Self),
            value => read(value).map(|chord| Self(vec![chord])),
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A colour by its name or its number.
struct Named(Color);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let refused = |_| D::Error::custom(format!("{text:?} is no colour; write it as light-blue or #7aa2f7"));
        text.parse().map(Self).map_err(refused)
    }
}

/// Reads `[keys]`: an action to a key, or to a list of keys; an empty list takes it from the keyboard.
pub(crate) fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Keys>, D::Error> {
    let given = BTreeMap::<Action, Chords>::deserialize(from)?;
    Ok(Some(Keys::with(given.into_iter().map(|(action, chords)| (action, chords.0)))))
}

/// Reads `[colours]`: what a piece of the screen is, to a colour.
pub(crate) fn colours<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<Role, Color>>, D::Error> {
    let given = BTreeMap::<Role, Named>::deserialize(from)?;
    Ok(Some(given.into_iter().map(|(role, colour)| (role, colour.0)).collect()))
}
