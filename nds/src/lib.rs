//! The Node Discovery Service.
