//! The command line of p2p-chat: a client of the local API.
