//! The durable log of a p2p-chat node.
