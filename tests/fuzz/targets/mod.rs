//! The fuzz targets: functions of bytes that panic when something is wrong. Nothing here knows who calls them; the
//! test program beside this directory does, and so does libFuzzer.

// Each of the two programs uses its part.
#![allow(dead_code, unused_imports)]

mod answers;
mod bodies;
mod calls;
mod choices;
mod command_line;
mod damage;
mod engine;
mod limits;
mod log_file;
mod record_file;
mod runs;
mod statements;
mod states;
mod valid;
mod values;

pub(crate) use self::choices::number;

/// One target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its name; also that of its directories.
    pub(crate) name: &'static str,
    /// The test that runs it.
    pub(crate) test: &'static str,
    /// Looks at one input.
    pub(crate) check: fn(&[u8]),
    /// Valid inputs, to begin with.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// What the bytes are.
    pub(crate) shape: Shape,
}

/// What the bytes of an input are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Anything.
    Bytes,
    /// A message of protocol buffers, after so many bytes that say which.
    Protobuf {
        /// The bytes before it.
        prefix: usize,
    },
    /// Text, in which these words mean something.
    Text {
        /// The words.
        words: &'static [&'static str],
    },
}

/// All of them.
pub(crate) const ALL: [Target; 11] =
    [RUNS, VALUES, STATES, BODIES, CALLS, ANSWERS, STATEMENTS, ENGINE, LOG_FILE, RECORD_FILE, COMMAND_LINE];

pub(crate) const RUNS: Target = Target {
    name: "runs",
    test: "runs_of_anybody_are_kept_to_the_byte_or_refused",
    check: runs::check,
    seeds: runs::seeds,
    shape: Shape::Bytes,
};

pub(crate) const VALUES: Target = Target {
    name: "values",
    test: "values_are_read_back_as_they_were_written_or_refused",
    check: values::check,
    seeds: values::seeds,
    shape: Shape::Text { words: values::WORDS },
};

pub(crate) const STATES: Target = Target {
    name: "states",
    test: "states_of_a_broken_disk_are_refused_or_resumed_from",
    check: states::check,
    seeds: states::seeds,
    shape: Shape::Bytes,
};

pub(crate) const BODIES: Target = Target {
    name: "bodies",
    test: "messages_of_the_contract_survive_their_encoding",
    check: bodies::check,
    seeds: bodies::seeds,
    shape: Shape::Protobuf { prefix: 1 },
};

pub(crate) const CALLS: Target = Target {
    name: "calls",
    test: "calls_of_peers_are_within_limits_or_refused_by_field",
    check: calls::check,
    seeds: calls::seeds,
    shape: Shape::Protobuf { prefix: 1 },
};

pub(crate) const ANSWERS: Target = Target {
    name: "answers",
    test: "answers_are_within_limits_or_refused_by_field",
    check: answers::check,
    seeds: answers::seeds,
    shape: Shape::Protobuf { prefix: 1 },
};

pub(crate) const STATEMENTS: Target = Target {
    name: "statements",
    test: "statements_to_a_discovery_service_never_lower_an_epoch",
    check: statements::check,
    seeds: statements::seeds,
    shape: Shape::Protobuf { prefix: 2 },
};

pub(crate) const ENGINE: Target = Target {
    name: "engine",
    test: "members_that_talk_nonsense_bring_no_engine_down",
    check: engine::check,
    seeds: engine::seeds,
    shape: Shape::Bytes,
};

pub(crate) const LOG_FILE: Target = Target {
    name: "log_file",
    test: "a_damaged_log_shows_nothing_that_was_not_written",
    check: log_file::check,
    seeds: log_file::seeds,
    shape: Shape::Bytes,
};

pub(crate) const RECORD_FILE: Target = Target {
    name: "record_file",
    test: "a_damaged_record_shows_nothing_that_was_not_written",
    check: record_file::check,
    seeds: record_file::seeds,
    shape: Shape::Bytes,
};

pub(crate) const COMMAND_LINE: Target = Target {
    name: "command_line",
    test: "what_users_write_is_understood_or_refused",
    check: command_line::check,
    seeds: command_line::seeds,
    shape: Shape::Text { words: command_line::WORDS },
};
