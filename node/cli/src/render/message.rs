//! Messages and notices in lines.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use p2p_chat_proto::v1;

use crate::{
    console::{Console, one_line, several_lines},
    failure::Failure,
    render::json,
};

/// What continues a message on its next line.
const INDENT: &str = "           ";
/// Colours that are readable on black and on white.
const COLOURS: [u8; 10] = [31, 32, 33, 34, 35, 36, 91, 92, 94, 95];

/// Prints a message: an object, or `HH:MM:SS NAME: TEXT`, or for `/me` `HH:MM:SS * NAME TEXT`, with a line for the date where that changes.
pub(crate) fn print(message: &v1::Message, console: &mut Console) -> Result<(), Failure> {
    if console.json {
        return console.object(&json::Message::from(message));
    }
    let time = time_of_day(message.time_ms, console)?;
    let text = several_lines(&message.text, INDENT);
    if message.kind != "text" {
        return console.line(dimmed(&format!("{time} * {text}"), console.colour));
    }
    let name = coloured(&one_line(&message.author_name), &message.author, console.colour);
    let late = if message.late { " (late)" } else { "" };
    match text.strip_prefix("/me ") {
        Some(action) => console.line(format!("{time} * {name}{late} {action}")),
        None => console.line(format!("{time} {name}{late}: {text}")),
    }
}

/// Prints what happened to the group; beside JSON on stderr.
pub(crate) fn print_notice(notice: &v1::Notice, console: &mut Console) -> Result<(), Failure> {
    let text = one_line(&notice.text);
    if console.json {
        console.note(text);
        return Ok(());
    }
    let time = time_of_day(notice.time_ms, console)?;
    console.line(dimmed(&format!("{time} * {text}"), console.colour))
}

/// The local time of day as HH:MM:SS; a time out of all bounds as dashes.
pub(crate) fn local_time(time_ms: u64, zone: &TimeZone) -> String {
    zoned(time_ms, zone).map_or_else(|| "--:--:--".to_owned(), |time| time.strftime("%H:%M:%S").to_string())
}

fn time_of_day(time_ms: u64, console: &mut Console) -> Result<String, Failure> {
    if let Some(time) = zoned(time_ms, &console.zone)
        && time.date() != console.date
    {
        console.date = time.date();
        let date = format!("-- {} --", time.strftime("%a %Y-%m-%d"));
        console.line(dimmed(&date, console.colour))?;
    }
    Ok(local_time(time_ms, &console.zone))
}

/// A time in a zone; nothing if it is out of all bounds.
pub(crate) fn zoned(time_ms: u64, zone: &TimeZone) -> Option<Zoned> {
    let time = Timestamp::from_millisecond(i64::try_from(time_ms).ok()?).ok()?;
    Some(time.to_zoned(zone.clone()))
}

fn dimmed(text: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// `name` in the colour of `peer`: the same everywhere and for ever.
fn coloured(name: &str, peer: &str, colour: bool) -> String {
    if !colour {
        return name.to_owned();
    }
    let sum = peer.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let code = COLOURS.get(sum % COLOURS.len()).copied().unwrap_or(39);
    format!("\u{1b}[{code}m{name}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_of_bounds_is_not_a_panic() {
        assert_eq!(local_time(0, &TimeZone::UTC), "00:00:00");
        assert_eq!(local_time(u64::MAX, &TimeZone::UTC), "--:--:--");
    }

    #[test]
    fn a_peer_keeps_its_colour_and_without_colours_there_are_none() {
        let bob = coloured("bob", "b0b0", true);
        assert_eq!(bob, coloured("bob", "b0b0", true));
        assert!(bob.starts_with("\u{1b}[") && bob.ends_with("mbob\u{1b}[0m"));
        assert_eq!(coloured("bob", "b0b0", false), "bob");
    }
}
