//! `quorum-state`: the vote and the epoch, as JSON (version 0 without, version 1 with the directory of who was voted for).

use std::path::Path;

use dohle_env::disk::{Disk, Synced};
use dohle_raft::{ElectionState, Replica};
use dohle_types::{LeaderEpoch, NodeId, Uuid};
use serde_json::{Value, json};

pub(crate) const FILE_NAME: &str = "quorum-state";
/// The file is one line; version 0 also lists the voters.
const MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum QuorumStateError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Damaged(String),
}

/// What was stored, or nothing yet.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<ElectionState, QuorumStateError> {
    match dohle_env::disk::read_file(disk, path, MAX_BYTES)? {
        Some(bytes) => parse(&bytes).map_err(QuorumStateError::Damaged),
        None => Ok(ElectionState::default()),
    }
}

/// Stores it in one durable step. `kraft_version` says which form the other members understand.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    state: ElectionState,
    kraft_version: i16,
) -> std::io::Result<Synced> {
    dohle_env::disk::replace_file(disk, path, format(state, kraft_version).as_bytes())
}

fn format(state: ElectionState, kraft_version: i16) -> String {
    let leader = state.leader.unwrap_or(NodeId::NONE).get();
    let voted = state.voted.unwrap_or(Replica::new(NodeId::NONE, Uuid::ZERO));
    let (epoch, voted_id) = (state.epoch.get(), voted.id.get());
    // The order of the fields is Kafka's.
    if kraft_version > 0 {
        format!(
            r#"{{"leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted_id},"votedDirectoryId":"{}","data_version":1}}"#,
            voted.directory
        )
    } else {
        format!(
            r#"{{"clusterId":"","leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted_id},"appliedOffset":0,"currentVoters":[],"data_version":0}}"#
        )
    }
}

fn parse(bytes: &[u8]) -> Result<ElectionState, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let version = number(&value, "data_version")?;
    if !(0..=1).contains(&version) {
        return Err(format!("version {version} is not known"));
    }
    let id = |key| Ok::<_, String>(Some(NodeId(number(&value, key)?)).filter(|id| *id != NodeId::NONE));
    let directory = match value.get("votedDirectoryId") {
        Some(text) => {
            let text = text.as_str().ok_or("votedDirectoryId is not a text")?;
            text.parse().map_err(|error| format!("votedDirectoryId: {error}"))?
        }
        None => Uuid::ZERO,
    };
    let epoch = number(&value, "leaderEpoch")?;
    if epoch < 0 {
        return Err(format!("leaderEpoch is {epoch}"));
    }
    Ok(ElectionState {
        epoch: LeaderEpoch(epoch),
        leader: id("leaderId")?,
        voted: id("votedId")?.map(|id| Replica::new(id, directory)),
    })
}

fn number(value: &Value, key: &str) -> Result<i32, String> {
    let number = value.get(key).unwrap_or(&json!(null)).as_i64();
    number.and_then(|number| i32::try_from(number).ok()).ok_or_else(|| format!("{key} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_kafkas() {
        let led = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        let state = ElectionState { epoch: LeaderEpoch(1), leader: Some(NodeId(1)), voted: None };
        assert_eq!(parse(led.as_bytes()), Ok(state));
        assert_eq!(format(state, 1), led);
        let old = r#"{"clusterId":"","leaderId":-1,"leaderEpoch":7,"votedId":2,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#;
        let voted = Some(Replica::new(NodeId(2), Uuid::ZERO));
        let state = ElectionState { epoch: LeaderEpoch(7), leader: None, voted };
        assert_eq!(parse(old.as_bytes()), Ok(state));
        assert_eq!(parse(format(state, 0).as_bytes()), Ok(state));
    }

    #[test]
    fn damage_is_an_error() {
        for text in ["", "{}", "[]", r#"{"leaderEpoch":-2,"data_version":1}"#, r#"{"data_version":2}"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
