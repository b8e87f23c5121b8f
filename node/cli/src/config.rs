//! Configuration files: TOML, every key checked, an unknown one refused.

use std::{collections::BTreeMap, fs, io, net::SocketAddr, path::Path};

use p2p_chat_model::{Name, view::Address};
use ratatui::style::Color;
use serde::{Deserialize, Deserializer, de::Error};

use crate::{
    args::Preset,
    failure::Failure,
    screen::{self, Keys, Role, ScreenConfig},
    values::{self, ServiceUrl},
};

/// What a file may set. A key that is absent is left to the next source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileConfig {
    /// How the node calls itself.
    #[serde(deserialize_with = "name")]
    pub(crate) name: Option<Name>,
    /// The discovery services, in the order in which they are asked.
    #[serde(deserialize_with = "nds")]
    pub(crate) nds: Option<Vec<ServiceUrl>>,
    /// Where to listen.
    #[serde(deserialize_with = "listen")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where others reach the node.
    #[serde(deserialize_with = "advertise")]
    pub(crate) advertise: Option<Address>,
    /// How patient the node is.
    pub(crate) preset: Option<Preset>,
    /// Where a node serves metrics.
    #[serde(deserialize_with = "metrics")]
    pub(crate) metrics: Option<String>,
    /// Where a discovery service serves metrics: both may run on one machine, with one file.
    #[serde(deserialize_with = "metrics")]
    pub(crate) nds_metrics: Option<String>,
    /// Which collector traces go to.
    #[serde(deserialize_with = "otlp")]
    pub(crate) otlp: Option<ServiceUrl>,
    /// How the screen behaves.
    pub(crate) screen: Option<ScreenConfig>,
    /// Which keys do what on the screen.
    #[serde(deserialize_with = "screen::keys")]
    pub(crate) keys: Option<Keys>,
    /// The colours of the screen.
    #[serde(deserialize_with = "screen::colours")]
    pub(crate) colours: Option<BTreeMap<Role, Color>>,
}

impl FileConfig {
    /// Reads a file that has to be there.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Reads a file that may be absent.
    pub(crate) fn read_if_present(path: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    /// Takes what `self` does not set from `other`.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            nds: self.nds.or(other.nds),
            listen: self.listen.or(other.listen),
            advertise: self.advertise.or(other.advertise),
            preset: self.preset.or(other.preset),
            metrics: self.metrics.or(other.metrics),
            nds_metrics: self.nds_metrics.or(other.nds_metrics),
            otlp: self.otlp.or(other.otlp),
            screen: self.screen.or(other.screen),
            keys: self.keys.or(other.keys),
            colours: self.colours.or(other.colours),
        }
    }

    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
            let message = error.message().trim_end().replace('\n', "; ");
            Failure::Usage(format!("{}, line {line}: {message}; correct the file", path.display()))
        })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot read the configuration file {}: {error}; check its path and rights", path.display()))
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|error| Error::custom(format!("name: {error}")))
}

/// A list, which may be written as its only item.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn nds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ServiceUrl>>, D::Error> {
    let texts = match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let urls = texts.iter().map(|text| text.parse().map_err(|error| Error::custom(format!("nds: {error}"))));
    urls.collect::<Result<_, _>>().map(Some)
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    values::listen_address(&text).map(Some).map_err(|error| Error::custom(format!("listen: {error}")))
}

fn advertise<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Address>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|error| Error::custom(format!("advertise: {error}")))
}

fn metrics<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    values::bind_address(&text).map(Some).map_err(|error| Error::custom(format!("metrics: {error}")))
}

fn otlp<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ServiceUrl>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(|error| Error::custom(format!("otlp: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileConfig, Failure> {
        FileConfig::parse(text, Path::new("/etc/chat.toml"))
    }

    #[test]
    fn a_full_file_is_understood() {
        let file = parse(
            "name = \"alice\"\nnds = [\"http://nds:7400\"]\nlisten = \"0.0.0.0:1\"\n\
             advertise = \"alice:7500\"\npreset = \"wan\"\nmetrics = \"localhost:0\"\n\
             otlp = \"collector:4317\"\n",
        );
        let file = file.expect("understood");
        assert_eq!(file.name.map(|name| name.to_string()), Some("alice".to_owned()));
        assert_eq!(file.nds.map(|urls| urls.len()), Some(1));
        assert_eq!(file.preset, Some(Preset::Wan));
        assert_eq!(file.metrics.as_deref(), Some("localhost:0"));
        assert_eq!(file.otlp.map(|url| url.to_string()).as_deref(), Some("http://collector:4317"));
        let alone = parse("nds = \"http://nds:7400\"\n").expect("understood");
        assert_eq!(alone.nds, parse("nds = [\"nds:7400\"]").expect("understood").nds);
        assert_eq!(parse(""), Ok(FileConfig::default()));
    }

    #[test]
    fn the_screen_is_configured_in_tables_of_its_own() {
        let file = parse(
            "[screen]\nbell = false\nbackground = \"light\"\n[keys]\nquit = \"ctrl-x\"\n\
             next_network = [\"f2\", \"alt-x\"]\n[colours]\nborder = \"#7aa2f7\"\n",
        );
        let file = file.expect("understood");
        assert!(file.screen.is_some_and(|screen| !screen.bell && screen.mouse));
        assert_ne!(file.keys, Some(Keys::default()));
        assert_eq!(file.colours.map(|colours| colours.len()), Some(1));
        for (text, line, why) in [
            ("name = \"a\"\n[screen]\nbel = true\n", 3, "unknown field `bel`"),
            ("[keys]\nsend = 7\n", 2, "expected a key"),
            ("[keys]\nquit = \"hyper-x\"\n", 2, "\"hyper-x\" is no key"),
            ("[keys]\nsend = \"f3\"\ndance = \"x\"\n", 3, "nothing called \"dance\""),
            ("[colours]\nborder = \"reddish\"\n", 2, "\"reddish\" is no colour"),
        ] {
            let sentence = parse(text).expect_err("refused").to_string();
            assert!(sentence.starts_with(&format!("/etc/chat.toml, line {line}: ")), "{sentence}");
            assert!(sentence.contains(why), "{sentence}");
        }
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        let sentence = |text: &str| parse(text).expect_err("refused").to_string();
        let unknown = sentence("name = \"a\"\ncolour = \"red\"\n");
        assert!(unknown.starts_with("/etc/chat.toml, line 2: unknown field `colour`, expected one of"), "{unknown}");
        assert!(!unknown.contains('\n'));
        let bad = sentence("\nname = \"\"\n");
        assert_eq!(bad, "/etc/chat.toml, line 2: name: a name must not be empty; correct the file");
        assert!(sentence("name = \"a\"\nnds = 7400").contains("line 2: expected a text or a list of texts"));
        assert!(sentence("nds = \"nds\"").contains("line 1: nds: expected http://HOST:PORT"));
        assert!(sentence("listen = 7500").contains("line 1: invalid type: integer"));
        assert!(sentence("listen = \"7500\"").contains("listen: expected IP:PORT"));
        assert!(sentence("name = ").contains("/etc/chat.toml, line 1"));
    }
}
