//! Names, ids, addresses, URLs, and the byte formats of clocks, views and roster changes.

use std::{fmt::Display, str::FromStr};

use p2p_chat_cli::ServiceUrl;
use p2p_chat_model::{
    Address, DecodeError, Entry, EntryHash, EntryKind, Header, MessageId, Name, NetworkId, PeerId, VectorClock, View,
    codec::{Reader, Writer},
    name::printable,
};

use super::{limits, valid};

pub(crate) const WORDS: &[&str] =
    &[":", "://", "http", "[", "]", "::", "0", "65535", "65536", "-", ".", "\u{202e}", "\u{1b}[2J", "\u{0}", "é", " "];

pub(crate) fn check(input: &[u8]) {
    let (which, rest) = input.split_first().unwrap_or((&0, &[]));
    match which % 4 {
        0 => text(&String::from_utf8_lossy(rest)),
        1 => {
            codec(rest, VectorClock::decode, |clock, writer| clock.encode(writer));
            if let Ok(clock) = VectorClock::decode(&mut Reader(rest)) {
                limits::clock(&clock);
                assert!(clock.covers(&clock) && clock.since(&clock).is_empty());
            }
        }
        2 => {
            codec(rest, View::decode, View::encode);
            if let Ok(view) = View::decode(&mut Reader(rest)) {
                limits::view(&view);
            }
        }
        _ => roster(rest),
    }
    let mut reader = Reader(rest);
    while let Ok(value) = reader.varint("value") {
        let mut writer = Writer::default();
        writer.varint(value);
        assert!(rest[..rest.len() - reader.0.len()].ends_with(&writer.0), "two encodings of {value}");
    }
}

fn text(text: &str) {
    if let Ok(name) = text.parse::<Name>() {
        limits::name(&name);
    }
    if let Ok(address) = text.parse::<Address>() {
        limits::address(&address);
        let url: ServiceUrl = text.parse().expect("an address is a URL without its scheme");
        assert_eq!(url.address(), &address);
    }
    read_back::<ServiceUrl>(text);
    read_back::<PeerId>(text);
    read_back::<NetworkId>(text);
    read_back::<EntryHash>(text);
    read_back::<MessageId>(text);
    let shown = printable(text);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
    assert_eq!(printable(&shown), shown);
}

/// What is understood prints as something that is understood alike.
fn read_back<T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert!(value.to_string().parse::<T>().is_ok_and(|again| again == value), "{value}"),
        Err(error) => limits::sentence(&error.to_string()),
    }
}

/// There is one encoding of each value.
fn codec<T>(bytes: &[u8], decode: fn(&mut Reader<'_>) -> Result<T, DecodeError>, encode: fn(&T, &mut Writer)) {
    let mut reader = Reader(bytes);
    match decode(&mut reader) {
        Ok(value) => {
            let mut writer = Writer::default();
            encode(&value, &mut writer);
            assert_eq!(writer.0, bytes[..bytes.len() - reader.0.len()], "there is another encoding");
        }
        Err(error) => limits::sentence(&error.to_string()),
    }
}

fn roster(bytes: &[u8]) {
    let (kind, body) = bytes.split_first().unwrap_or((&0, &[]));
    let kind = EntryKind::from_code(*kind);
    assert_eq!(EntryKind::from_code(kind.code()), kind);
    let header = Header { lamport: 1, wall_ms: 0, clock: VectorClock::new(), kind };
    match (Entry { header, body: body.to_vec().into() }).roster_op() {
        Ok(Some(op)) => assert_eq!((op.kind(), op.encode()), (kind, body.to_vec())),
        Ok(None) => assert!(matches!(kind, EntryKind::Text | EntryKind::Unknown(_))),
        Err(error) => limits::sentence(&error.to_string()),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seed = |which: u8, rest: &[u8]| [&[which], rest].concat();
    let texts = [
        "alice",
        "127.0.0.1:7500",
        "[::1]:7500",
        "http://nds:7400/",
        "alice.example.org:65535",
        "0f0e0d0c0b0a090807060504030201000f0e0d0c0b0a09080706050403020100",
        "07070707-0707-8707-8707-070707070707",
        "line\nbreak\ttab \u{1b}[31m",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| seed(0, text.as_bytes())).collect();
    let mut writer = Writer::default();
    valid::clock(&[(0, 1), (1, 300), (2, u64::MAX)]).encode(&mut writer);
    seeds.push(seed(1, &writer.0));
    let mut writer = Writer::default();
    valid::view(3, 9, 0, &[0, 1, 2]).encode(&mut writer);
    seeds.push(seed(2, &writer.0));
    for (_, entry) in valid::alices_feed().iter().flat_map(|run| &run.entries) {
        seeds.push(seed(3, &[&[entry.header.kind.code()], &entry.body[..]].concat()));
    }
    seeds
}
