//! Making a folder a member of a cluster: what Kafka's `StorageTool format` writes.
//!
//! ```text
//! <log dir>/meta.properties                  last of all: a folder is formatted when it is there
//! <metadata dir>/bootstrap.checkpoint        the feature levels a new cluster starts with
//! <metadata dir>/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint     the first voters (kraft.version 1)
//! ```
//!
//! A crash before the end leaves a folder that is not formatted; formatting it again overwrites what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use dohle_env::Env;
use dohle_env::disk::{Disk, OpenMode};
use dohle_log::LogError;
use dohle_log::dirs::{LogDir, MetaProperties};
use dohle_metadata::features::Levels;
use dohle_metadata::{MetadataVersion, features};
use dohle_raft::{BOOTSTRAP_SNAPSHOT, Endpoint, KRaftVersions, Replica, Voter, VoterSet};
use dohle_types::{ClusterId, DirectoryId, LeaderEpoch, NodeId};
use dohle_wire::MetadataRecord;
use dohle_wire::messages::FeatureLevelRecord;

use crate::snapshot::{self, Contents};
use crate::store::METADATA_FOLDER;

pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";
const KRAFT_VERSION_WITH_VOTERS: i16 = 1;

/// What to make.
#[derive(Clone, Debug)]
pub struct FormatRequest {
    /// A fresh one when not given and no folder has one.
    pub cluster_id: Option<ClusterId>,
    pub node_id: NodeId,
    /// The latest for production when not given.
    pub release_version: Option<MetadataVersion>,
    /// Which levels may be asked for.
    pub levels: Levels,
    /// Levels other than those that the release has by default.
    pub features: BTreeMap<String, i16>,
    pub voters: InitialVoters,
    /// Leave folders alone that are formatted, and do the others.
    pub ignore_formatted: bool,
}

/// Who votes in the new cluster's metadata quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialVoters {
    /// This node, reached at these endpoints.
    Standalone(Vec<Endpoint>),
    /// These, this node among them or not.
    Given(Vec<Voter>),
    /// Nobody that is known here: the node joins a cluster that exists.
    Join,
    /// Whom `controller.quorum.voters` names (`kraft.version` 0).
    Configured,
}

/// What was made, or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formatted {
    pub cluster_id: ClusterId,
    /// The id of the folder that holds the metadata.
    pub directory_id: DirectoryId,
    /// The folders that were not formatted before.
    pub new: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("the node id {0} is negative")]
    NodeId(NodeId),
    #[error("the metadata directory {} is not one of the log directories", .0.display())]
    MetadataDir(PathBuf),
    #[error("log directory {} is already formatted", .0.display())]
    AlreadyFormatted(PathBuf),
    #[error("log directory {} belongs to cluster {found}, not {wanted}, by its meta.properties", path.display())]
    OtherCluster { path: PathBuf, found: ClusterId, wanted: ClusterId },
    #[error("log directory {} belongs to node {found}, not {wanted}, by its meta.properties", path.display())]
    OtherNode { path: PathBuf, found: NodeId, wanted: NodeId },
    #[error("{0}")]
    Feature(String),
    #[error("cannot write {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    LogDir(#[from] LogError),
}

/// Formats the folders of `dirs` that are not formatted. `metadata_dir` is the one that holds the metadata.
pub fn format(
    env: &Env,
    request: &FormatRequest,
    dirs: &mut [LogDir],
    metadata_dir: &Path,
) -> Result<Formatted, FormatError> {
    if request.node_id.get() < 0 {
        return Err(FormatError::NodeId(request.node_id));
    }
    if !dirs.iter().any(|dir| dir.path() == metadata_dir) {
        return Err(FormatError::MetadataDir(metadata_dir.to_owned()));
    }
    let cluster_id = agree_on_cluster(env, request, dirs)?;
    let bootstrap = bootstrap_contents(request)?;
    let mut used: BTreeSet<DirectoryId> = dirs.iter().filter_map(|dir| dir.meta()?.directory_id).collect();
    let mut new = Vec::new();
    let mut metadata_directory_id = None;
    for dir in dirs {
        let is_metadata = dir.path() == metadata_dir;
        let directory_id = match dir.meta() {
            Some(MetaProperties { directory_id: Some(id), .. }) => *id,
            // A folder from before directory ids, or a new one.
            meta => {
                let is_new = meta.is_none();
                let id = directory_id_for(env, request, is_metadata && is_new, &used);
                if is_new {
                    if is_metadata {
                        write_metadata(env, request, dir.path(), id, &bootstrap)?;
                    }
                    new.push(dir.path().to_owned());
                }
                let (cluster_id, node_id) = (cluster_id.clone(), request.node_id);
                dir.write_meta(MetaProperties { cluster_id, node_id, directory_id: Some(id) })?;
                id
            }
        };
        used.insert(directory_id);
        if is_metadata {
            metadata_directory_id = Some(directory_id);
        }
    }
    let directory_id = metadata_directory_id.expect("the metadata directory is one of them");
    Ok(Formatted { cluster_id, directory_id, new })
}

fn agree_on_cluster(env: &Env, request: &FormatRequest, dirs: &[LogDir]) -> Result<ClusterId, FormatError> {
    let formatted = dirs.iter().filter_map(|dir| Some((dir.path().to_owned(), dir.meta()?)));
    let mut agreed = request.cluster_id.clone();
    for (path, meta) in formatted {
        if !request.ignore_formatted {
            return Err(FormatError::AlreadyFormatted(path));
        }
        if meta.node_id != request.node_id {
            return Err(FormatError::OtherNode { path, found: meta.node_id, wanted: request.node_id });
        }
        match &agreed {
            Some(wanted) if *wanted != meta.cluster_id => {
                let (found, wanted) = (meta.cluster_id.clone(), wanted.clone());
                return Err(FormatError::OtherCluster { path, found, wanted });
            }
            _ => agreed = Some(meta.cluster_id.clone()),
        }
    }
    Ok(agreed.unwrap_or_else(|| env.rng.uuid().to_string()))
}

/// The id that the voters name, or a fresh one.
fn directory_id_for(
    env: &Env,
    request: &FormatRequest,
    is_new_metadata: bool,
    used: &BTreeSet<DirectoryId>,
) -> DirectoryId {
    if let (true, InitialVoters::Given(voters)) = (is_new_metadata, &request.voters)
        && let Some(voter) = voters.iter().find(|voter| voter.replica.id == request.node_id)
    {
        return voter.replica.directory;
    }
    loop {
        let id = env.rng.uuid();
        if !used.contains(&id) {
            return id;
        }
    }
}

/// The levels that the new cluster has from the start.
fn bootstrap_contents(request: &FormatRequest) -> Result<Contents, FormatError> {
    let version = match (request.features.get(features::METADATA_VERSION), request.release_version) {
        (Some(_), Some(_)) => {
            let message = "metadata.version is given both as a release and as a feature level";
            return Err(FormatError::Feature(message.to_owned()));
        }
        (Some(level), None) => MetadataVersion::from_level(*level)
            .ok_or_else(|| FormatError::Feature(format!("metadata.version has no level {level}")))?,
        (None, version) => version.unwrap_or(MetadataVersion::LATEST_PRODUCTION),
    };
    if version > request.levels.latest_metadata_version() {
        return Err(FormatError::Feature(format!("metadata.version {version} is not yet stable")));
    }
    let mut levels: BTreeMap<&str, i16> =
        features::FEATURES.iter().map(|feature| (feature.name, feature.default_level(version))).collect();
    for (name, level) in request.features.iter().filter(|(name, _)| *name != features::METADATA_VERSION) {
        check_feature(name, *level, version, &request.voters)?;
        levels.insert(name, *level);
    }
    // It is kept by the quorum, not among the metadata.
    levels.remove(features::KRAFT_VERSION);
    let others = levels.into_iter().filter(|(_, level)| *level > 0);
    let all = [(features::METADATA_VERSION, version.level())].into_iter().chain(others);
    Ok(Contents { records: all.map(feature_level).collect(), ..Contents::default() })
}

fn feature_level((name, level): (&str, i16)) -> (MetadataRecord, i16) {
    (FeatureLevelRecord { name: name.into(), feature_level: level, ..Default::default() }.into(), 0)
}

fn check_feature(
    name: &str,
    level: i16,
    version: MetadataVersion,
    voters: &InitialVoters,
) -> Result<(), FormatError> {
    let Some(feature) = features::FeatureDef::by_name(name) else {
        let known: Vec<_> = features::FEATURES.iter().map(|feature| feature.name).collect();
        let message = format!("unsupported feature {name}; supported features are {}", known.join(", "));
        return Err(FormatError::Feature(message));
    };
    let Some(def) = usize::try_from(level).ok().and_then(|level| feature.levels.get(level)) else {
        return Err(FormatError::Feature(format!(
            "{name} has no level {level}; the latest is {}",
            feature.latest()
        )));
    };
    if name == features::KRAFT_VERSION {
        let wanted = if *voters == InitialVoters::Configured { 0 } else { KRAFT_VERSION_WITH_VOTERS };
        if level != wanted {
            let message =
                format!("kraft.version cannot be {level} with voters given this way, only {wanted}");
            return Err(FormatError::Feature(message));
        }
    }
    if version.level() < def.needs_metadata_version {
        let needed = def.needs_metadata_version;
        return Err(FormatError::Feature(format!("{name} {level} needs metadata.version {needed} or later")));
    }
    Ok(())
}

fn write_metadata(
    env: &Env,
    request: &FormatRequest,
    metadata_dir: &Path,
    directory_id: DirectoryId,
    bootstrap: &Contents,
) -> Result<(), FormatError> {
    let disk = &*env.disk;
    let now = env.clock.now();
    let bytes = snapshot::encode(bootstrap, LeaderEpoch(0), now);
    write_synced(disk, &metadata_dir.join(BOOTSTRAP_CHECKPOINT), &bytes)?;
    let folder = metadata_dir.join(METADATA_FOLDER);
    let failed = |source| FormatError::Io { path: folder.clone(), source };
    disk.create_dir_all(&folder).map_err(failed)?;
    if let Some(voters) = first_voters(request, directory_id) {
        let contents = Contents {
            last_timestamp: now,
            kraft_version: KRAFT_VERSION_WITH_VOTERS,
            voters: Some(voters),
            records: Vec::new(),
        };
        let bytes = snapshot::encode(&contents, BOOTSTRAP_SNAPSHOT.epoch, now);
        write_synced(disk, &folder.join(snapshot::file_name(BOOTSTRAP_SNAPSHOT)), &bytes)?;
    }
    let _names = disk.sync_dir(&folder).map_err(failed)?;
    let failed = |source| FormatError::Io { path: metadata_dir.to_owned(), source };
    let _names = disk.sync_dir(metadata_dir).map_err(failed)?;
    Ok(())
}

fn first_voters(request: &FormatRequest, directory_id: DirectoryId) -> Option<VoterSet> {
    match &request.voters {
        InitialVoters::Standalone(endpoints) => Some(VoterSet::new([Voter {
            replica: Replica::new(request.node_id, directory_id),
            endpoints: endpoints.clone(),
            kraft_versions: KRaftVersions::SUPPORTED,
        }])),
        InitialVoters::Given(voters) => Some(VoterSet::new(voters.iter().cloned())),
        InitialVoters::Join | InitialVoters::Configured => None,
    }
}

/// Writes a file whose name its folder's next sync makes durable.
fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), FormatError> {
    let write = || {
        let file = disk.open(path, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_all_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_data().map(|_stored| ())
    };
    write().map_err(|source| FormatError::Io { path: path.to_owned(), source })
}
