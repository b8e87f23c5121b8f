//! Named stories.
