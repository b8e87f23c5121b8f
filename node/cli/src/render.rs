//! What the node says, as people and programs read it.

pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod table;
pub(crate) mod text;
