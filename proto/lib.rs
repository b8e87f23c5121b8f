//! The wire contract of p2p-chat: package `p2pchat.v1`, generated from the `.proto` files beside this one, and
//! the conversion of what several services share to and from the model.

pub mod convert;

/// The generated messages, clients and servers. Their documentation is in the `.proto` files.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod v1 {
    tonic::include_proto!("p2pchat.v1");
}

/// The encoded `FileDescriptorSet` of `p2pchat.v1`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The paths of all methods of `p2pchat.v1` (`/p2pchat.v1.Chat/Deliver`), in ascending order.
pub const METHODS: &[&str] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));
