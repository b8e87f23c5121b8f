//! One function a command.

pub(crate) mod answers;
pub(crate) mod health;
pub(crate) mod messages;
pub(crate) mod networks;
pub(crate) mod serve;
