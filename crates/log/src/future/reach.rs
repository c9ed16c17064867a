//! How far a folder's log reaches, without opening it.

use std::path::Path;

use dohle_env::Disk;
use dohle_env::disk::OpenMode;
use dohle_types::Offset;

use super::CHUNK_BYTES;
use super::walk::Walk;
use crate::error::{LogError, failed};
use crate::names::{FileKind, FileState, file_name, parse_file_name};
use crate::source::{Source, greedy};

/// The offset after the last batch in a folder whose header makes sense. Reads the last segment.
pub fn end_of(disk: &dyn Disk, folder: &Path) -> Result<Offset, LogError> {
    let entries = disk.list(folder).map_err(failed("listing", folder))?;
    let bases = entries.iter().filter_map(|entry| match parse_file_name(&entry.name) {
        Some((base, FileKind::Log, FileState::Live)) => Some(base),
        _ => None,
    });
    let Some(base) = bases.max() else { return Ok(Offset::ZERO) };
    let path = folder.join(file_name(base, FileKind::Log, FileState::Live));
    let file = disk.open(&path, OpenMode::Read).map_err(failed("opening", &path))?;
    let size = file.len().map_err(failed("looking at", &path))?;
    let source = Source::waiting(file);
    let (mut walk, mut chunk, mut at) = (Walk::default(), vec![0; CHUNK_BYTES], 0);
    while at < size {
        let len = CHUNK_BYTES.min(usize::try_from(size - at).unwrap_or(CHUNK_BYTES));
        source.read_through(&mut chunk[..len], at, &mut greedy).map_err(failed("reading", &path))?;
        at += walk.follow(&chunk[..len], at, size) as u64;
    }
    Ok(walk.reached.max(base))
}
