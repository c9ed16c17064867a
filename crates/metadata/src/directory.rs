//! The directory ids that stand for no directory (`org.apache.kafka.common.DirectoryId`), and what they say about a replica.

use dohle_types::{DirectoryId, Uuid};

use crate::Few;

/// The directory is known to the broker alone: the partition was made before directories were tracked.
pub const MIGRATING: DirectoryId = Uuid::from_u128(0);
/// The broker has not chosen a directory yet.
pub const UNASSIGNED: DirectoryId = Uuid::from_u128(1);
/// Some directory of the broker that is offline.
pub const LOST: DirectoryId = Uuid::from_u128(2);

/// Whether a replica in `directory` can be served by a broker whose online directories are `online`.
pub fn is_online(directory: DirectoryId, online: &[DirectoryId]) -> bool {
    match directory {
        UNASSIGNED | MIGRATING => true,
        LOST => false,
        // A broker that registered before directories were tracked lists none; it would not run if all were gone.
        _ => online.is_empty() || online.contains(&directory),
    }
}

/// The directories of `replicas` replicas, as records carry them: absent and all-migrating mean the same.
pub(crate) fn or_migrating(directories: &[DirectoryId], replicas: usize) -> Few<DirectoryId> {
    if directories.iter().all(|&directory| directory == MIGRATING) {
        std::iter::repeat_n(MIGRATING, replicas).collect()
    } else {
        directories.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn online() {
        let (a, b) = (Uuid::from_u128(1000), Uuid::from_u128(2000));
        assert!(is_online(a, &[a, b]));
        assert!(!is_online(a, &[b]));
        assert!(is_online(a, &[]));
        assert!(is_online(MIGRATING, &[b]) && is_online(UNASSIGNED, &[b]));
        assert!(!is_online(LOST, &[b]));
    }
}
