//! The classic protocol: members that join, a leader among them that assigns.

/// A group of the classic protocol.
#[derive(Debug)]
pub struct ClassicGroup {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {}
