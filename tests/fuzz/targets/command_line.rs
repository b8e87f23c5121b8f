//! What users write: configuration files, lines of input, options. Nobody else's, but a mistake must not end in a
//! panic either.

use p2p_chat_cli::{
    Preset,
    fuzzing::{Config, config, lines, meaning, values},
    parse_from,
};
use p2p_chat_model::limits::MAX_TEXT_BYTES;

use super::limits;

pub(crate) const WORDS: &[&str] = &[
    "name",
    "nds",
    "listen",
    "advertise",
    "preset",
    "metrics",
    "nds_metrics",
    "otlp",
    "=",
    "\"",
    "[",
    "]",
    "\n",
    "\r\n",
    "#",
    "'''",
    "\\u0000",
    "wan",
    "lan",
    "http://",
    ":7500",
    "{",
    "}",
    "1e999",
    "0x",
    "/inspect ",
    "//",
    "/quit",
    "|--json",
    "|--data-dir|",
    "|send|",
    "|--timeout|",
    "\u{1b}[2J",
];

pub(crate) fn check(input: &[u8]) {
    let (which, rest) = input.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(rest);
    match which % 4 {
        0 => file(&text),
        1 => input_lines(rest),
        2 => arguments(&text),
        _ => {
            let [network, seconds, listen, message] = values(&text);
            assert!(!network || text.len() <= 64 * 4);
            assert!(!seconds || text.trim_start_matches(['+', '0']).len() <= 5);
            assert!(!listen || text.parse::<std::net::SocketAddr>().is_ok());
            assert_eq!(message, text.len() <= MAX_TEXT_BYTES && !text.trim().is_empty());
        }
    }
}

fn file(text: &str) {
    match config(text) {
        Ok(found) => {
            found.name.iter().for_each(limits::name);
            found.advertise.iter().for_each(limits::address);
            found.nds.iter().flatten().for_each(|url| limits::address(url.address()));
            assert_eq!(config(&written(&found)), Ok(found), "it is not read back as it was written");
        }
        Err(failure) => {
            assert_eq!(failure.exit_code(), 2);
            let sentence = failure.to_string();
            assert!(sentence.starts_with("config.toml, line ") && !sentence.contains('\n'), "{sentence}");
        }
    }
}

/// The settings as a file.
fn written(config: &Config) -> String {
    let mut text = String::new();
    let quoted = |value: String| serde_json::to_string(&value).expect("text");
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            text += &format!("{key} = {value}\n");
        }
    };
    set("name", config.name.as_ref().map(|name| quoted(name.to_string())));
    let urls = |urls: &Vec<p2p_chat_cli::ServiceUrl>| {
        let urls: Vec<String> = urls.iter().map(|url| quoted(url.to_string())).collect();
        format!("[{}]", urls.join(", "))
    };
    set("nds", config.nds.as_ref().map(urls));
    set("listen", config.listen.map(|listen| quoted(listen.to_string())));
    set("advertise", config.advertise.as_ref().map(|advertise| quoted(advertise.to_string())));
    let preset = |preset| match preset {
        Preset::Lan => "\"lan\"".to_owned(),
        Preset::Wan => "\"wan\"".to_owned(),
    };
    set("preset", config.preset.map(preset));
    set("metrics", config.metrics.clone().map(quoted));
    set("nds_metrics", config.nds_metrics.clone().map(quoted));
    set("otlp", config.otlp.as_ref().map(|url| quoted(url.to_string())));
    text
}

/// Against a second reader that has all of the input in memory.
fn input_lines(input: &[u8]) {
    let read = lines(input);
    let mut expected: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    if expected.last().is_some_and(|last| last.is_empty()) {
        expected.pop();
    }
    assert_eq!(read.len(), expected.len());
    for (line, bytes) in read.iter().zip(expected) {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match line {
            Ok(text) => {
                assert_eq!(text.as_bytes(), bytes);
                assert!(text.len() <= MAX_TEXT_BYTES);
                let _ = meaning(text);
            }
            Err("too long") => assert!(bytes.len() > MAX_TEXT_BYTES),
            Err(_) => assert!(std::str::from_utf8(bytes).is_err()),
        }
    }
}

fn arguments(text: &str) {
    let words = text.split('|').map(str::to_owned);
    match parse_from(std::iter::once("p2p-chat".to_owned()).chain(words)) {
        Ok(cli) => cli.global.nds.iter().for_each(|url| limits::address(url.address())),
        Err(error) => assert!(matches!(error.exit_code(), 0 | 2) && !error.render().to_string().is_empty()),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let full = "name = \"alice\"\nnds = [\"http://nds:7400\", \"[::1]:7\"]\nlisten = \"0.0.0.0:1\"\n\
                advertise = \"alice:7500\"\npreset = \"wan\"\n\
                metrics = \"localhost:0\"\nnds_metrics = \"[::1]:9\"\notlp = \"collector:4317\"\n";
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let seeds: [(u8, &str); 14] = [
        (0, full),
        (0, "# nothing\n"),
        (0, "name = '''é'''\n[nds]\n"),
        (1, "hello\r\n/inspect abcd\n//etc\n\n/quit"),
        (1, &long),
        (1, "/members\n/status \n/help\n/dance"),
        (2, "send|lab|hello|--wait|all|--timeout|5"),
        (2, "serve|--listen|127.0.0.1:0|--nds|http://nds:1|--name|bob|--create|lab"),
        (2, "--json|history|lab|--limit|3"),
        (2, "health|[::1]:7500"),
        (3, "lab"),
        (3, "86400"),
        (3, "0.0.0.0:7500"),
        (3, "0f0e0d0c0b0a090807060504030201000f0e0d0c0b0a09080706050403020100"),
    ];
    seeds.iter().map(|(which, text)| [&[*which], text.as_bytes()].concat()).collect()
}
