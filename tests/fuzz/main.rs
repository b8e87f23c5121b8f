//! Fuzzing: arbitrary and mutated input for everything that parses what others send, or what a broken disk holds.
//!
//! The [`targets`] are plain functions of bytes that assert more than "no panic". Here each is run for a moment
//! with inputs from a seeded generator; `libfuzzer/` beside this file runs the same functions guided by coverage.
//!
//! ```sh
//! FUZZ_SECONDS=600 cargo test --release --test fuzz runs         # one target, for ten minutes
//! FUZZ_SEED=7 cargo test --test fuzz                             # other inputs
//! FUZZ_INPUT=00ff.. cargo test --test fuzz runs                  # that input, and nothing else
//! ```
//!
//! What once did harm is kept in `regressions/TARGET/*.hex` and comes first at every run.

mod campaign;
mod mutate;
mod protobuf;
mod targets;

#[allow(dead_code, reason = "the simulator uses more of it")]
#[path = "../sim/rng.rs"]
mod rng;

use crate::campaign::Campaign;

/// One test a target, so that they run beside each other and a failure names its target.
macro_rules! fuzz {
    ($($test:ident: $target:ident;)*) => {
        $(
            #[test]
            fn $test() {
                Campaign::of(&targets::$target).run();
            }
        )*

        #[test]
        fn every_target_is_run() {
            let run = [$(targets::$target.name),*];
            assert_eq!(run.to_vec(), targets::ALL.map(|target| target.name).to_vec());
        }
    };
}

fuzz! {
    runs_of_anybody_are_kept_to_the_byte_or_refused: RUNS;
    values_are_read_back_as_they_were_written_or_refused: VALUES;
    states_of_a_broken_disk_are_refused_or_resumed_from: STATES;
    messages_of_the_contract_survive_their_encoding: BODIES;
    calls_of_peers_are_within_limits_or_refused_by_field: CALLS;
    answers_are_within_limits_or_refused_by_field: ANSWERS;
    statements_to_a_discovery_service_never_lower_an_epoch: STATEMENTS;
    members_that_talk_nonsense_bring_no_engine_down: ENGINE;
    a_damaged_log_shows_nothing_that_was_not_written: LOG_FILE;
    a_damaged_record_shows_nothing_that_was_not_written: RECORD_FILE;
    what_users_write_is_understood_or_refused: COMMAND_LINE;
}

/// Writes the examples that inputs are made from as files, for a fuzzer that wants a corpus.
#[test]
#[ignore = "writes files: FUZZ_CORPUS=DIR cargo test --test fuzz corpus -- --ignored"]
fn corpus() {
    let directory = std::env::var_os("FUZZ_CORPUS").expect("FUZZ_CORPUS names a directory");
    for target in targets::ALL {
        let directory = std::path::Path::new(&directory).join(target.name);
        std::fs::create_dir_all(&directory).expect("the directory can be made");
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number:03}")), seed).expect("the directory is writable");
        }
    }
}
