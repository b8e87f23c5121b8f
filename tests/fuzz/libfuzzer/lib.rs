//! The fuzz targets, compiled once for all binaries.

#[path = "../targets/mod.rs"]
mod targets;

/// Looks at one input.
///
/// # Panics
/// When something is wrong with what the target looks at.
pub fn check(name: &str, input: &[u8]) {
    let target = targets::ALL.iter().find(|target| target.name == name);
    (target.expect("a binary for each target").check)(input);
}
