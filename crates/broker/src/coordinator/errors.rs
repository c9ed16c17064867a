//! What clients are told of a shard that could not do what they asked (`CoordinatorOperationExceptionHelper`).

use dohle_types::ErrorCode;

/// The code for all APIs but OffsetFetch.
pub fn told(code: ErrorCode) -> ErrorCode {
    use ErrorCode as E;
    match code {
        E::NetworkException => E::CoordinatorLoadInProgress,
        E::UnknownTopicOrPartition | E::NotEnoughReplicas | E::RequestTimedOut => E::CoordinatorNotAvailable,
        E::NotLeaderOrFollower | E::FencedLeaderEpoch | E::KafkaStorageError => E::NotCoordinator,
        E::MessageTooLarge | E::RecordListTooLarge | E::InvalidFetchSize => E::UnknownServerError,
        other => other,
    }
}

/// The code for OffsetFetch: consumers before 3.9 do not ask again on the codes that [`told`] has here.
pub fn told_of_fetch(code: ErrorCode) -> ErrorCode {
    use ErrorCode as E;
    match code {
        E::UnknownTopicOrPartition | E::NotEnoughReplicas | E::RequestTimedOut => E::NotCoordinator,
        other => told(other),
    }
}

/// Kafka's sentence for a code that a coordinator may answer with.
pub fn sentence(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::None => Some("NONE"),
        ErrorCode::CoordinatorLoadInProgress => {
            Some("The coordinator is loading and hence can't process requests.")
        }
        ErrorCode::CoordinatorNotAvailable => Some("The coordinator is not available."),
        ErrorCode::NotCoordinator => Some("This is not the correct coordinator."),
        ErrorCode::InvalidRequest => Some(
            "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.",
        ),
        _ => None,
    }
}
