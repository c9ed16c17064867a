//! Committed offsets: by group, topic and partition; pending in transactions; expiry.

/// The offsets of a shard's groups.
#[derive(Debug, Default)]
pub struct Offsets {}
