//! The folders of a log and its copy change their names.

use std::path::Path;

use dohle_env::Disk;

use super::CopyError;
use crate::error::{LogError, failed};

/// Gives a finished copy the log's name, and then takes it from the log, whose folder is called `put_aside` from then on. Each is durable
/// before the next, so that a crash leaves the old one, both, or the new one. Both are the same then, unless the log was gone on with:
/// the one that reaches further counts ([`super::end_of`]).
///
/// Fails with [`CopyError::Target`] when the log is still where it was, and with [`CopyError::Source`] when the copy has its name, and
/// the old folder cannot be renamed.
pub fn take_over(
    (target, future, live): (&dyn Disk, &Path, &Path),
    (source, old, put_aside): (&dyn Disk, &Path, &Path),
) -> Result<(), CopyError> {
    if cfg!(dohle_bug = "move_old_first") {
        rename_folder(source, old, put_aside).map_err(CopyError::Source)?;
    }
    rename_folder(target, future, live).map_err(CopyError::Target)?;
    if !cfg!(dohle_bug = "move_old_first") {
        rename_folder(source, old, put_aside).map_err(CopyError::Source)?;
    }
    Ok(())
}

/// Renames a folder, durably.
pub fn rename_folder(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), LogError> {
    disk.rename(from, to).map_err(failed("renaming", from))?;
    if let Some(parent) = to.parent() {
        let _stored = disk.sync_dir(parent).map_err(failed("flushing", parent))?;
    }
    Ok(())
}
