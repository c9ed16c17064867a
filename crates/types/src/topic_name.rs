//! Which topic names are legal (`org.apache.kafka.common.internals.Topic`).

use std::fmt;

/// The longest legal topic name, in bytes: a folder is called `name-partition` and has to fit into 255.
pub const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// Why a topic name is not legal. The text is Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicNameError {
    Empty,
    Dots,
    TooLong,
    Character,
}

impl TopicNameError {
    /// Kafka's sentence about `name`.
    pub fn describe(self, name: &str) -> String {
        match self {
            Self::Empty => "the empty string is not allowed".to_owned(),
            Self::Dots => format!("'{name}' is not allowed"),
            Self::TooLong => format!(
                "the length of '{name}' is longer than the max allowed length {MAX_TOPIC_NAME_LENGTH}"
            ),
            Self::Character => format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            ),
        }
    }
}

impl fmt::Display for TopicNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty topic name",
            Self::Dots => "topic name is '.' or '..'",
            Self::TooLong => "topic name is too long",
            Self::Character => "topic name has an illegal character",
        })
    }
}

/// Checks a topic name as Kafka does.
pub fn validate_topic_name(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        Err(TopicNameError::Empty)
    } else if name == "." || name == ".." {
        Err(TopicNameError::Dots)
    } else if name.len() > MAX_TOPIC_NAME_LENGTH {
        Err(TopicNameError::TooLong)
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        Err(TopicNameError::Character)
    } else {
        Ok(())
    }
}

/// Whether a topic is one of those that the coordinators keep their state in: clients do not write there.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(validate_topic_name(name), Ok(()), "{name}");
        }
        for (name, error) in [
            ("", TopicNameError::Empty),
            ("..", TopicNameError::Dots),
            (&"x".repeat(250), TopicNameError::TooLong),
            ("a b", TopicNameError::Character),
            ("ä", TopicNameError::Character),
        ] {
            assert_eq!(validate_topic_name(name), Err(error), "{name}");
        }
    }
}
