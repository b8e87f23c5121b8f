//! p2p-chat.
fn main() {}
