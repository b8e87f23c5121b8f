//! One port for mutually authenticated TLS and plaintext HTTP/2, and dialling with pinned keys.
