//! Numbers that must not mix: an offset is not a byte position, a leader epoch is not a broker epoch.

use std::fmt;

/// Declares a transparent, ordered newtype over an integer.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number, for the wire and for files.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl From<$inner> for $name {
            #[inline]
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The place of a record in its partition, as clients see it. Never a byte position.
    Offset(i64)
}
number! {
    /// A byte position in a segment file.
    Position(u64)
}
number! {
    /// How often leadership of a partition (or of the metadata quorum) has changed. `NONE` (-1) means unknown.
    LeaderEpoch(i32)
}
number! {
    /// The registration of one incarnation of a broker with the controller; the offset of its registration record.
    BrokerEpoch(i64)
}
number! {
    /// A node of the cluster, `node.id`.
    NodeId(i32)
}
number! {
    /// The number of a partition within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// The identity of an idempotent or transactional producer. `NONE` (-1) for a producer without one.
    ProducerId(i64)
}
number! {
    /// The incarnation of a producer id. `NONE` (-1) for a producer without one.
    ProducerEpoch(i16)
}
number! {
    /// The sequence number of a producer's record within a partition; wraps from `i32::MAX` to 0.
    Sequence(i32)
}
number! {
    /// Milliseconds since the Unix epoch. `NONE` (-1) where a batch carries no timestamp.
    TimestampMs(i64)
}

number! {
    /// Below it, all in-sync replicas have what is in a log: consumers are given nothing at or above it.
    HighWatermark(Offset)
}
number! {
    /// Below it, no transaction is open: readers of committed records are given nothing at or above it. Never above the high watermark.
    LastStableOffset(Offset)
}
number! {
    /// Where a log begins: nothing below it is served any more, though it may still be in files.
    LogStartOffset(Offset)
}

impl Offset {
    pub const ZERO: Self = Self(0);
    /// The value Kafka writes where there is no offset.
    pub const NONE: Self = Self(-1);

    /// The offset `records` records further on. Panics on overflow: no log ever holds that many.
    #[inline]
    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        match self.0.checked_add(records) {
            Some(sum) => Self(sum),
            None => panic!("offset overflow"),
        }
    }

    #[inline]
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

impl LeaderEpoch {
    pub const NONE: Self = Self(-1);
}

impl BrokerEpoch {
    pub const NONE: Self = Self(-1);
}

impl NodeId {
    /// "No node": no leader, no vote, a consumer in a fetch request.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records later, wrapping from `i32::MAX` to 0 as producers do.
    #[inline]
    #[must_use]
    pub const fn plus(self, count: i32) -> Self {
        if self.0 > i32::MAX - count { Self(count - (i32::MAX - self.0) - 1) } else { Self(self.0 + count) }
    }
}

impl TimestampMs {
    pub const NONE: Self = Self(-1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(7).plus(5), Sequence(12));
    }
}
