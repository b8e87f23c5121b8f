//! The target that this binary is named after.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| p2p_chat_libfuzzer::check(env!("CARGO_BIN_NAME"), input));
