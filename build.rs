//! Compiles the wire contract in `proto/` with a protobuf compiler written in Rust, so that nothing has to be
//! installed. Writes the generated code, the descriptor set that gRPC reflection serves, and a list of all methods.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

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
    fs::write(out.join("descriptors.bin"), served(descriptors.clone()).encode_to_vec())?;
    fs::write(out.join("methods.rs"), methods(&descriptors))?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

/// What reflection serves: of where things stand in the sources only what carries a comment, for each server keeps all of
/// it in memory.
fn served(mut descriptors: FileDescriptorSet) -> FileDescriptorSet {
    for info in descriptors.file.iter_mut().filter_map(|file| file.source_code_info.as_mut()) {
        info.location.retain(|place| place.leading_comments.is_some() || place.trailing_comments.is_some());
    }
    descriptors
}

/// The paths of all methods, sorted, as a Rust expression.
fn methods(descriptors: &FileDescriptorSet) -> String {
    let mut paths = Vec::new();
    for file in &descriptors.file {
        for service in &file.service {
            let prefix = format!("/{}.{}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| format!("{prefix}/{}", method.name())));
        }
    }
    paths.sort_unstable();
    format!("&{paths:?}")
}
