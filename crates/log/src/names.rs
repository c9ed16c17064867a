//! The names of files and folders, as Kafka gives them.
//!
//! ```text
//! <log dir>/orders-eu-3/                                partition 3 of topic "orders-eu"
//!                       00000000000000000042.log        the segment whose first offset is 42
//!                       00000000000000000042.index      .timeindex .txnindex .snapshot
//!                       00000000000000000042.log.deleted      to be removed once its delay is over
//! <log dir>/orders-eu-3.0123456789abcdef0123456789abcdef-delete/
//! ```

use dohle_types::{MAX_TOPIC_NAME_LENGTH, Offset, PartitionIndex, Uuid, validate_topic_name};

/// What a file of a partition's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
}

impl FileKind {
    pub const ALL: [Self; 5] =
        [Self::Log, Self::OffsetIndex, Self::TimeIndex, Self::TransactionIndex, Self::ProducerSnapshot];

    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::OffsetIndex => "index",
            Self::TimeIndex => "timeindex",
            Self::TransactionIndex => "txnindex",
            Self::ProducerSnapshot => "snapshot",
        }
    }
}

/// What is to become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    Live,
    /// `.deleted`: no longer part of the log.
    Deleted,
    /// `.cleaned`: the unfinished output of a compaction.
    Cleaned,
    /// `.swap`: the finished output of a compaction, about to take the place of what it was made from.
    Swap,
}

impl FileState {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Deleted => ".deleted",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }
}

/// Twenty digits, so that names sort as offsets do.
pub fn file_name(base: Offset, kind: FileKind, state: FileState) -> String {
    format!("{:020}.{}{}", base.get(), kind.suffix(), state.suffix())
}

/// No log reaches this offset; a file that claims to start there is no segment.
const MAX_BASE: Offset = Offset(i64::MAX - (1 << 32));

/// `None` for a file that is no segment's.
pub fn parse_file_name(name: &str) -> Option<(Offset, FileKind, FileState)> {
    let (digits, rest) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let base = Offset(digits.parse().ok()?);
    if base > MAX_BASE {
        return None;
    }
    for kind in FileKind::ALL {
        for state in [FileState::Live, FileState::Deleted, FileState::Cleaned, FileState::Swap] {
            if rest.strip_prefix(kind.suffix()) == Some(state.suffix()) {
                return Some((base, kind, state));
            }
        }
    }
    None
}

/// What a partition's folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderState {
    Live,
    /// `-delete`: the partition was deleted, the folder waits for its removal.
    Deleted,
    /// `-future`: a copy that is to replace the one in another log directory.
    Future,
    /// `-stray`: a partition that the cluster does not know (any more).
    Stray,
}

impl FolderState {
    const fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Live => None,
            Self::Deleted => Some("-delete"),
            Self::Future => Some("-future"),
            Self::Stray => Some("-stray"),
        }
    }
}

/// The longest name a folder can have.
const MAX_FOLDER_NAME_LENGTH: usize = 255;
const UNIQUE_LENGTH: usize = 32;

/// `topic-3`
pub fn folder_name(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// `topic-3.<32 hex digits>-delete` and its like. A topic name that leaves no room is cut, as Kafka does.
pub fn marked_folder_name(
    topic: &str,
    partition: PartitionIndex,
    unique: Uuid,
    state: FolderState,
) -> String {
    let Some(mark) = state.suffix() else { return folder_name(topic, partition) };
    let unique = u128::from_be_bytes(unique.0);
    let tail = format!("-{partition}.{unique:0width$x}{mark}", width = UNIQUE_LENGTH);
    let room = MAX_FOLDER_NAME_LENGTH - tail.len();
    format!("{}{tail}", &topic[..topic.len().min(room)])
}

/// The topic, the partition and the state that a folder's name says. `None` for a folder that is no partition's.
pub fn parse_folder_name(name: &str) -> Option<(&str, PartitionIndex, FolderState)> {
    for state in [FolderState::Deleted, FolderState::Future, FolderState::Stray] {
        let Some(marked) = state.suffix().and_then(|suffix| name.strip_suffix(suffix)) else { continue };
        // A topic may itself be called "x-delete": only the unique part tells.
        let Some((plain, unique)) = marked.rsplit_once('.') else { continue };
        if unique.len() == UNIQUE_LENGTH && unique.bytes().all(|b| b.is_ascii_hexdigit()) {
            let (topic, partition) = parse_plain(plain)?;
            return Some((topic, partition, state));
        }
    }
    let (topic, partition) = parse_plain(name)?;
    Some((topic, partition, FolderState::Live))
}

fn parse_plain(name: &str) -> Option<(&str, PartitionIndex)> {
    let (topic, digits) = name.rsplit_once('-')?;
    let plain_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if topic.len() > MAX_TOPIC_NAME_LENGTH || validate_topic_name(topic).is_err() || !plain_number {
        return None;
    }
    let partition: i32 = digits.parse().ok()?;
    Some((topic, PartitionIndex(partition)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        assert_eq!(file_name(Offset(42), FileKind::Log, FileState::Live), "00000000000000000042.log");
        for base in [Offset(0), Offset(42), MAX_BASE] {
            for kind in FileKind::ALL {
                for state in [FileState::Live, FileState::Deleted, FileState::Cleaned, FileState::Swap] {
                    let name = file_name(base, kind, state);
                    assert_eq!(parse_file_name(&name), Some((base, kind, state)), "{name}");
                }
            }
        }
        for name in [
            "leader-epoch-checkpoint",
            "42.log",
            "00000000000000000042.log.tmp",
            "99999999999999999999.log",
            "09223372036854775807.log",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
        // The controller's snapshots live in the same folder and are not ours.
        assert_eq!(parse_file_name("00000000000000000042-0000000001.checkpoint"), None);
    }

    #[test]
    fn folders() {
        let unique = Uuid::from_u128(0x0123_4567);
        let hex = "00000000000000000000000001234567";
        for (name, expected) in [
            ("a-0".to_owned(), Some(("a", 0, FolderState::Live))),
            ("a-b-12".to_owned(), Some(("a-b", 12, FolderState::Live))),
            ("x-delete-0".to_owned(), Some(("x-delete", 0, FolderState::Live))),
            (format!("a-b-12.{hex}-delete"), Some(("a-b", 12, FolderState::Deleted))),
            (format!("a.b-1.{hex}-future"), Some(("a.b", 1, FolderState::Future))),
            (format!("a-1.{hex}-stray"), Some(("a", 1, FolderState::Stray))),
            ("lost+found".to_owned(), None),
            ("a-b".to_owned(), None),
            ("a--1".to_owned(), Some(("a-", 1, FolderState::Live))),
            ("a-1.zz-delete".to_owned(), None),
            ("-1".to_owned(), None),
        ] {
            let expected =
                expected.map(|(topic, partition, state)| (topic, PartitionIndex(partition), state));
            assert_eq!(parse_folder_name(&name), expected, "{name}");
        }
        let name = marked_folder_name("a-b", PartitionIndex(12), unique, FolderState::Deleted);
        assert_eq!(name, format!("a-b-12.{hex}-delete"));
        let long = marked_folder_name(&"x".repeat(249), PartitionIndex(12), unique, FolderState::Deleted);
        assert_eq!(long.len(), 255);
    }
}
