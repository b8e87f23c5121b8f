//! The group engine of p2p-chat: membership, liveness, election and delivery as a pure state machine.
