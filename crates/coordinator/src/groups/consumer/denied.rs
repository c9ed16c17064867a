//! Why a member does not get what it asks for.

use dohle_types::ErrorCode;

/// An error for a client, with the words that Kafka has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub code: ErrorCode,
    pub message: String,
}

impl Denied {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn no_group(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::GroupIdNotFound, message)
    }

    pub fn not_a_member(member_id: &str, group_id: &str) -> Self {
        Self::new(
            ErrorCode::UnknownMemberId,
            format!("Member {member_id} is not a member of group {group_id}."),
        )
    }
}
