//! The only place that writes to the user. What others wrote passes [`one_line`] or [`several_lines`] first.

use std::{
    fmt,
    io::{self, Write},
};

use jiff::{civil::Date, tz::TimeZone};
use p2p_chat_model::name::printable;
use serde::Serialize;
use unicode_width::UnicodeWidthChar;

use crate::{
    args::LogFormat,
    failure::Failure,
    settings::Env,
    surroundings::{Surroundings, Waits, now},
};

/// Most marks on one character that are shown: terminals have room for few, and put the others anywhere.
pub(crate) const MAX_MARKS: usize = 4;

/// Where a run prints: results to stdout, everything else to stderr.
pub(crate) struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether results are printed as JSON.
    pub(crate) json: bool,
    /// How what goes to stderr is written: the log is there, too.
    log_format: LogFormat,
    /// Whether results are coloured.
    pub(crate) colour: bool,
    /// In which zone times are shown.
    pub(crate) zone: TimeZone,
    /// The date that was printed last.
    pub(crate) date: Date,
    /// How long the run waits before it says something more.
    pub(crate) waits: Waits,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("json", &self.json).field("colour", &self.colour).finish_non_exhaustive()
    }
}

impl Console {
    /// Takes the streams of `from`, leaving nothing there. Colours: on a terminal that has them, unless `NO_COLOR` is set.
    pub(crate) fn new(from: &mut Surroundings, json: bool, log_format: LogFormat) -> Self {
        Self {
            out: std::mem::replace(&mut from.out, Box::new(io::sink())),
            err: std::mem::replace(&mut from.err, Box::new(io::sink())),
            json,
            log_format,
            colour: from.out_is_terminal && !json && colours_are_wanted(&from.env),
            zone: from.zone.clone(),
            date: from.today,
            waits: from.waits,
        }
    }

    /// Prints one line, or several, on stdout.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|error| output_failure(&error))
    }

    /// Prints one JSON object on stdout.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::Failed(format!("bug: the result can't be written as JSON: {error}")))?;
        self.line(escaped_json(&text))
    }

    /// Prints bytes as they are on stdout.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| output_failure(&error))
    }

    /// Makes sure that everything printed is out.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| output_failure(&error))
    }

    /// Tells something on stderr. Nobody there to read it is no failure.
    pub(crate) fn note(&mut self, text: impl fmt::Display) {
        self.tell("WARN", "p2p-chat: ", &text);
    }

    /// Tells on stderr why the run fails.
    pub(crate) fn fail(&mut self, text: impl fmt::Display) {
        self.tell("ERROR", "p2p-chat: ", &text);
    }

    fn tell(&mut self, level: &str, prefix: &str, text: &dyn fmt::Display) {
        let line = match self.log_format {
            LogFormat::Text => format!("{prefix}{text}"),
            LogFormat::Json => event(level, &text.to_string()),
        };
        // What was printed before belongs before it.
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{line}");
        let _ = self.err.flush();
    }

    /// Prints a part of a longer story that comes with results: as it is, on stdout for people, on stderr beside JSON.
    pub(crate) fn progress(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        if !self.json {
            return self.line(text);
        }
        self.tell("INFO", "", &text);
        Ok(())
    }

    /// Prints what accompanies results: on stdout for people, on stderr beside JSON.
    pub(crate) fn aside(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json {
            self.note(text);
            return Ok(());
        }
        self.line(text)
    }
}

/// A line of the log in JSON, as `tracing_subscriber` writes it. Not by way of the log: no filter may hide it.
pub(crate) fn event(level: &str, message: &str) -> String {
    let timestamp = format!("{:.6}", now());
    let event = serde_json::json!({
        "timestamp": timestamp, "level": level, "message": message, "target": module_path!(),
    });
    escaped_json(&event.to_string())
}

/// `text` harmless and in one line, whatever it holds.
pub(crate) fn one_line(text: &str) -> String {
    few_marks(printable(text)).replace('\n', "\\n").replace('\t', "\\t")
}

/// `text` harmless, with every line after the first behind `indent`, so that none can pass for something else.
pub(crate) fn several_lines(text: &str, indent: &str) -> String {
    few_marks(printable(&text.replace("\r\n", "\n"))).replace('\n', &format!("\n{indent}"))
}

/// `text` with no more marks in a row than belong to writing: with thousands a letter covers what is around it.
fn few_marks(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    let mut marks = 0;
    let is_shown = |c: &char| {
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        marks <= MAX_MARKS
    };
    text.chars().filter(is_shown).collect()
}

fn colours_are_wanted(env: &Env) -> bool {
    env.value("NO_COLOR").is_none() && env.value("TERM").is_none_or(|term| term != "dumb")
}

/// JSON in which every character that could act on a terminal is written as an escape: same value, no effect.
fn escaped_json(text: &str) -> String {
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let mut bytes = [0; 4];
        if printable(c.encode_utf8(&mut bytes)).chars().eq([c]) {
            escaped.push(c);
        } else {
            escaped.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    escaped
}

fn output_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("cannot write to stdout: {error}; check where the output goes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(one_line("a\u{1b}[2J\nb\tc"), "a\\u{1b}[2J\\nb\\tc");
        assert_eq!(several_lines("a\r\nb\n\u{9b}1m", "  "), "a\n  b\n  \\u{9b}1m");
    }

    #[test]
    fn a_letter_carries_few_marks_and_writing_stays_as_it_is() {
        let flood = format!("Z{}algo", "\u{337}".repeat(3_000));
        assert_eq!(one_line(&flood), format!("Z{}algo", "\u{337}".repeat(MAX_MARKS)));
        for text in ["Tiếng Việt", "e\u{301}\u{323}", "👩🏽‍🚀 ❤️", "हिन्दी"] {
            assert_eq!(several_lines(text, ""), text);
        }
    }

    #[test]
    fn json_keeps_the_value_and_loses_the_effect() {
        let hostile = "é\u{1b}[2J\u{9b}1m\u{202e}\u{7f}🙂";
        let text = escaped_json(&serde_json::to_string(hostile).expect("a string"));
        assert_eq!(text, "\"é\\u001b[2J\\u009b1m\\u202e\\u007f🙂\"");
        assert_eq!(serde_json::from_str::<String>(&text).expect("valid"), hostile);
    }
}
