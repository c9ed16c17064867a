//! What a producer is told when its batch is not taken.

use std::fmt;

use dohle_types::ErrorCode;

/// How many records a rejection names at most. The message still counts them all.
pub const MAX_RECORD_ERRORS: usize = 4096;

/// Why a produce request's records for one partition are not taken, as Kafka answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRejection {
    pub code: ErrorCode,
    /// Kafka's sentence about it, for the log.
    pub message: String,
    /// The records at fault, by index in the batch, with a sentence about each.
    pub record_errors: Vec<(i32, Option<String>)>,
    /// Whether Kafka's log had a part in it: its response then carries the log's start offset, and -1 otherwise.
    pub tells_log_start: bool,
}

impl ProduceRejection {
    /// The log's answer.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let without_offset =
            [ErrorCode::CorruptMessage, ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge];
        let tells_log_start = !without_offset.contains(&code);
        Self { code, message: message.into(), record_errors: Vec::new(), tells_log_start }
    }

    /// The answer to a request that does not get as far as the log.
    pub(crate) fn of_request(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { tells_log_start: false, ..Self::new(code, message) }
    }

    /// What goes into the response's error message: Kafka sends one only beside errors of single records.
    pub fn response_message(&self) -> Option<&str> {
        (!self.record_errors.is_empty()).then_some(self.message.as_str())
    }
}

impl fmt::Display for ProduceRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ProduceRejection {}

/// The errors of single records, as they are found.
#[derive(Debug, Default)]
pub(crate) struct RecordErrors {
    named: Vec<(i32, Option<String>)>,
    count: usize,
    any_timestamp: bool,
}

impl RecordErrors {
    /// `describe` is asked only for records that will be named.
    pub(crate) fn add(&mut self, code: ErrorCode, index: i32, describe: impl FnOnce() -> String) {
        self.any_timestamp |= code == ErrorCode::InvalidTimestamp;
        self.count += 1;
        if self.named.len() < MAX_RECORD_ERRORS {
            self.named.push((index, Some(describe())));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rejection, if there was any error.
    pub(crate) fn into_result(self) -> Result<(), ProduceRejection> {
        if self.is_empty() {
            return Ok(());
        }
        let (code, message) = if self.any_timestamp {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            (ErrorCode::InvalidTimestamp, message)
        } else {
            (ErrorCode::InvalidRecord, self.sentence())
        };
        Err(ProduceRejection { record_errors: self.named, ..ProduceRejection::new(code, message) })
    }

    fn sentence(&self) -> String {
        const SHOWN: usize = 3;
        let shown: Vec<String> = self
            .named
            .iter()
            .take(SHOWN)
            .map(|(index, message)| match message {
                Some(message) => format!("RecordError(batchIndex={index}, message='{message}')"),
                None => format!("RecordError(batchIndex={index}, message=null)"),
            })
            .collect();
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three \
             errors at most: [{}]",
            self.count,
            shown.join(", ")
        )
    }
}
