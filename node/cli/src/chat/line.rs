//! What a line of input does: it is said, or it is a command.

use std::time::Duration;

use p2p_chat_model::limits::MAX_TEXT_BYTES;
use p2p_chat_proto::v1;

use super::{
    Chat, MAX_UNSEEN,
    words::{self, Meaning, Mode},
};
use crate::{
    client::Client,
    commands::answers::inspection,
    console::{Console, one_line},
    failure::Failure,
    host::Running,
    input::Line,
    render::text,
};

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
        let answer = match words::meaning(line, Mode::Lines) {
            Meaning::Nothing => return Ok(()),
            Meaning::Say(text) => {
                self.say(&client, text, console).await;
                return Ok(());
            }
            Meaning::Quit => {
                self.close();
                return Ok(());
            }
            Meaning::Help => Ok(help()),
            Meaning::Members => client.members(&self.network).await.map(|members| text::members(&members)),
            Meaning::Status => client.status().await.map(|status| text::status(&status)),
            Meaning::Inspect(Some(id)) => inspection(&client, &self.network, &id, &console.zone).await,
            Meaning::Misused(usage) => {
                console.note(format!("write it as {usage}"));
                return Ok(());
            }
            Meaning::Unknown(word) => {
                let word = one_line(&word);
                console.note(format!("there is no command {word}; /help lists them, //text says /text"));
                return Ok(());
            }
            other => {
                console.note(format!("bug: {other:?} means nothing in line mode"));
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

    /// Says that a line was not sent, as far as that is known. A script also gets the exit code of the first such failure,
    /// at the end.
    fn refuse(&mut self, failure: Failure, console: &mut Console) {
        let what = if failure.leaves_open() { "may not have been sent" } else { "not sent" };
        console.note(format!("{what}: {}", one_line(&failure.to_string())));
        if !self.somebody_types {
            self.unsent.get_or_insert(failure);
        }
    }
}

fn help() -> String {
    let lines: Vec<String> = words::help(Mode::Lines).map(|(usage, help)| format!("{usage:<13} {help}")).collect();
    lines.join("\n")
}
