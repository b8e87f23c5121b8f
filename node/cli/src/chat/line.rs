//! What a line of input means: a text to send, or a command.

use std::time::Duration;

use p2p_chat_model::limits::MAX_TEXT_BYTES;
use p2p_chat_proto::v1;

use super::{Chat, MAX_UNSEEN};
use crate::{
    client::Client,
    console::{Console, one_line},
    failure::Failure,
    host::Running,
    input::Line,
    render::text,
};

const HELP: &str = "\
/members      who is in the network
/status       where this node stands, and what is owed to whom
/inspect ID   who has a message (its first characters are enough)
/quit         end; you stay in the network
//text        say /text";

/// A line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Nothing,
    Say(String),
    Members,
    Status,
    Inspect(String),
    Help,
    Quit,
    Unknown(String),
}

impl<N: Running> Chat<N> {
    /// Does what a line says.
    pub(super) async fn take(&mut self, line: Line, console: &mut Console) -> Result<(), Failure> {
        let line = match line {
            Line::Text(line) => line,
            Line::TooLong => {
                let sentence = format!("a line has more than {MAX_TEXT_BYTES} bytes; send it in parts");
                self.refuse(Failure::Usage(sentence), console);
                return Ok(());
            }
            Line::NotText => {
                self.refuse(Failure::Usage("a line is not UTF-8; convert it first".to_owned()), console);
                return Ok(());
            }
        };
        let client = self.follower.session.client.clone();
        let answer = match meaning(line) {
            Meaning::Nothing => return Ok(()),
            Meaning::Say(text) => {
                self.say(&client, text, console).await;
                return Ok(());
            }
            Meaning::Quit => {
                self.close();
                return Ok(());
            }
            Meaning::Help => Ok(HELP.to_owned()),
            Meaning::Members => client.members(&self.network).await.map(|members| text::members(&members)),
            Meaning::Status => client.status().await.map(|status| text::status(&status)),
            Meaning::Inspect(id) => {
                client.inspect(&self.network, &id).await.map(|seen| text::inspection(&seen, &console.zone))
            }
            Meaning::Unknown(word) => {
                let word = one_line(&word);
                console.note(format!("there is no command {word}; /help lists them, //text says /text"));
                return Ok(());
            }
        };
        match answer {
            Ok(answer) => console.aside(answer)?,
            Err(status) => console.note(one_line(&Failure::from(status).to_string())),
        }
        console.flush()
    }

    async fn say(&mut self, client: &Client, text: String, console: &mut Console) {
        match client.send(&self.network, text, v1::Wait::None, Duration::from_secs(10)).await {
            Ok(sent) => {
                if self.unseen.len() >= MAX_UNSEEN {
                    self.unseen.pop_first();
                }
                self.unseen.insert(sent.id);
            }
            Err(status) => self.refuse(status.into(), console),
        }
    }

    /// Says that a line was not sent. A script also gets the exit code of the first such failure, at the end.
    fn refuse(&mut self, failure: Failure, console: &mut Console) {
        console.note(format!("not sent: {}", one_line(&failure.to_string())));
        if !self.somebody_types {
            self.unsent.get_or_insert(failure);
        }
    }
}

pub(crate) fn meaning(line: String) -> Meaning {
    let Some(command) = line.strip_prefix('/') else {
        return if line.is_empty() { Meaning::Nothing } else { Meaning::Say(line) };
    };
    if command.starts_with('/') {
        return Meaning::Say(command.to_owned());
    }
    let mut words = command.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("members"), None, None) => Meaning::Members,
        (Some("status"), None, None) => Meaning::Status,
        (Some("inspect"), Some(id), None) => Meaning::Inspect(id.to_owned()),
        (Some("help"), None, None) => Meaning::Help,
        (Some("quit"), None, None) => Meaning::Quit,
        _ => Meaning::Unknown(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_unless_they_begin_with_a_slash() {
        let understood = |line: &str| meaning(line.to_owned());
        assert_eq!(understood("hello /quit"), Meaning::Say("hello /quit".to_owned()));
        assert_eq!(understood(" "), Meaning::Say(" ".to_owned()));
        assert_eq!(understood(""), Meaning::Nothing);
        assert_eq!(understood("//etc"), Meaning::Say("/etc".to_owned()));
        assert_eq!(understood("/members "), Meaning::Members);
        assert_eq!(understood("/inspect abcd"), Meaning::Inspect("abcd".to_owned()));
        for unknown in ["/", "/inspect", "/inspect a b", "/quit now", "/dance"] {
            assert_eq!(understood(unknown), Meaning::Unknown(unknown.to_owned()));
        }
    }
}
