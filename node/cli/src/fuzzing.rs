//! Doors for the fuzz targets in `tests/fuzz`: what reads files and input of the user, as functions of bytes. For
//! nothing else.

use std::{net::SocketAddr, path::Path};

use p2p_chat_model::{Name, view::Address};

use crate::{
    args::Preset,
    chat::words::{self, Mode},
    config::FileConfig,
    failure::Failure,
    input::{Line, next_line},
    values::{self, ServiceUrl},
};

/// What a configuration file sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// See the command line.
    pub name: Option<Name>,
    /// See the command line.
    pub nds: Option<Vec<ServiceUrl>>,
    /// See the command line.
    pub listen: Option<SocketAddr>,
    /// See the command line.
    pub advertise: Option<Address>,
    /// See the command line.
    pub preset: Option<Preset>,
    /// See the command line.
    pub metrics: Option<String>,
    /// See the command line.
    pub nds_metrics: Option<String>,
    /// See the command line.
    pub otlp: Option<ServiceUrl>,
}

/// Reads a configuration file.
///
/// # Errors
/// As the program says it.
pub fn config(text: &str) -> Result<Config, Failure> {
    let file = FileConfig::parse(text, Path::new("config.toml"))?;
    let FileConfig { name, nds, listen, advertise, preset, metrics, nds_metrics, otlp, .. } = file;
    Ok(Config { name, nds, listen, advertise, preset, metrics, nds_metrics, otlp })
}

/// Reads lines of input: texts, or why they are none.
pub fn lines(mut input: &[u8]) -> Vec<Result<String, &'static str>> {
    let mut lines = Vec::new();
    while let Ok(Some(line)) = next_line(&mut input) {
        lines.push(match line {
            Line::Text(text) => Ok(text),
            Line::TooLong => Err("too long"),
            Line::NotText => Err("not text"),
        });
    }
    lines
}

/// What a line of a chat means, in the words of this program.
pub fn meaning(line: &str) -> String {
    format!("{:?}", words::meaning(line.to_owned(), Mode::Lines))
}

/// Reads the values of options: which of them accept the text.
pub fn values(text: &str) -> [bool; 4] {
    [
        values::network(text).is_ok(),
        values::seconds(text).is_ok(),
        values::listen_address(text).is_ok(),
        values::message_text(text.to_owned()).is_ok(),
    ]
}
