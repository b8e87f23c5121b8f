//! Compiles the wire contract in `proto/` with a protobuf compiler written in Rust, so that nothing has to be
//! installed. Writes the generated code, and the descriptor set that gRPC reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 7] = [
    "common.proto",
    "discovery.proto",
    "membership.proto",
    "election.proto",
    "liveness.proto",
    "chat.proto",
    "node.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
