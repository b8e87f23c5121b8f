//! Input from the user. It is read in a thread of its own, because a read from a terminal can't be cancelled;
//! the thread ends at the end of the input, or with the process.

use std::{
    io::{self, BufRead, BufReader, Read},
    thread,
};

use p2p_chat_model::limits::MAX_TEXT_BYTES;
use tokio::sync::mpsc;

use crate::{failure::Failure, values};

/// Lines that may wait between the thread and the chat.
const LINES: usize = 16;

/// One line of input, without its line break.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A text of at most 64 KiB.
    Text(String),
    /// A longer one; the rest of it was skipped.
    TooLong,
    /// Not UTF-8.
    NotText,
}

/// Reads lines. The channel closes at the end of the input, or after an error.
pub(crate) fn lines(input: Box<dyn Read + Send>) -> Result<mpsc::Receiver<io::Result<Line>>, Failure> {
    let (sender, receiver) = mpsc::channel(LINES);
    let mut input = BufReader::new(input);
    in_thread(move || {
        loop {
            let item = next_line(&mut input).transpose();
            let is_last = item.as_ref().is_none_or(io::Result::is_err);
            if item.is_some_and(|item| sender.blocking_send(item).is_err()) || is_last {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Reads one message: everything there is, without its last line break.
pub(crate) async fn message(input: Box<dyn Read + Send>) -> Result<String, Failure> {
    let (sender, mut receiver) = mpsc::channel(1);
    in_thread(move || {
        let mut bytes = Vec::new();
        // Two bytes more than may be, for the line break, and one more to notice that it is too much.
        let result = input.take(MAX_TEXT_BYTES as u64 + 3).read_to_end(&mut bytes);
        let _ = sender.blocking_send(result.map(|_| bytes));
    })?;
    let bytes = receiver.recv().await.unwrap_or_else(|| Ok(Vec::new())).map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_TEXT_BYTES + 2 {
        // Cut, perhaps in the middle of a character: nothing else can be said of it.
        let sentence = format!("a message has at most {MAX_TEXT_BYTES} bytes, this one has more; send it in parts");
        return Err(Failure::Usage(sentence));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage("the message on stdin is not UTF-8; convert it first".to_owned()))?;
    let text = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text);
    values::message_text(text.to_owned()).map_err(Failure::Usage)
}

/// What to say when the input breaks.
pub(crate) fn unreadable(error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot read stdin: {error}; check where the input comes from"))
}

fn in_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name("input".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| Failure::Failed(format!("cannot start a thread: {error}; free some memory")))
}

pub(crate) fn next_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    // A line of the full size, and its break.
    input.by_ref().take(MAX_TEXT_BYTES as u64 + 2).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let is_whole = bytes.last() == Some(&b'\n');
    if is_whole {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    if bytes.len() > MAX_TEXT_BYTES {
        if !is_whole {
            input.skip_until(b'\n')?;
        }
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(String::from_utf8(bytes).map_or(Line::NotText, Line::Text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> Vec<Line> {
        std::iter::from_fn(|| next_line(&mut input).expect("readable")).collect()
    }

    #[test]
    fn lines_are_bounded_and_must_be_text() {
        let full = "x".repeat(MAX_TEXT_BYTES);
        let input = format!("a\r\n\n{full}\n{full}y\n{full}yyyy\nb");
        let text = |text: &str| Line::Text(text.to_owned());
        assert_eq!(all(input.as_bytes()), [text("a"), text(""), text(&full), Line::TooLong, Line::TooLong, text("b")]);
        assert_eq!(all(b"\xff\nb\n"), [Line::NotText, text("b")]);
        assert_eq!(all(b""), []);
    }

    #[tokio::test]
    async fn a_message_from_stdin_loses_one_line_break_and_is_bounded() {
        let read = async |bytes: Vec<u8>| message(Box::new(io::Cursor::new(bytes))).await;
        assert_eq!(read(b"a\nb\n\n".to_vec()).await, Ok("a\nb\n".to_owned()));
        assert_eq!(read(vec![b'x'; MAX_TEXT_BYTES]).await.map(|text| text.len()), Ok(MAX_TEXT_BYTES));
        let full = |end: &str| format!("{}{end}", "x".repeat(MAX_TEXT_BYTES)).into_bytes();
        assert_eq!(read(full("\r\n")).await.map(|text| text.len()), Ok(MAX_TEXT_BYTES));
        let more = "a message has at most 65536 bytes, this one has more; send it in parts";
        for long in [full("\r\n!"), full("\r\nand more"), "é".repeat(MAX_TEXT_BYTES).into_bytes(), full("xx€")] {
            assert_eq!(read(long).await, Err(Failure::Usage(more.to_owned())));
        }
        for bad in [vec![], b"\n".to_vec(), vec![b'x'; MAX_TEXT_BYTES + 1], vec![b'x'; 200_000], b"\xff".to_vec()] {
            assert_eq!(read(bad).await.map_err(|failure| failure.exit_code()), Err(2));
        }
    }
}
