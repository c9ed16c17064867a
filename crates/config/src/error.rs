//! The two ways a configuration is refused.

use std::fmt;

use dohle_types::ErrorCode;

/// A change of configuration that is refused, in Kafka's words: clients show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// `INVALID_CONFIG`, or `INVALID_REQUEST` where Kafka answers that.
    pub code: ErrorCode,
    pub message: String,
}

impl InvalidConfig {
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidConfig, message: message.into() }
    }

    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidRequest, message: message.into() }
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidConfig {}

/// Why a node does not start on this configuration: one sentence that names the key, the value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key at fault; the first one where several contradict each other, none where the file cannot be read.
    pub key: Option<String>,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}
