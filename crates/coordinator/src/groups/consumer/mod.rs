//! The consumer protocol (KIP-848): members say what they want and the coordinator assigns.

/// A group of the consumer protocol.
#[derive(Debug)]
pub struct ConsumerGroup {}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {}

/// Work for another thread: an assignment, or patterns that are matched with the names of topics.
pub enum Work {}

/// What came of it.
pub enum Done {}
