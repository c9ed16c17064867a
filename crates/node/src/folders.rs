//! Log directories: opened and locked together, formatted on first start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dohle_broker::Found;
use dohle_config::Config;
use dohle_controller::format::{self, FormatRequest, InitialVoters};
use dohle_env::Env;
use dohle_log::LogError;
use dohle_log::dirs::LogDir;
use dohle_metadata::MetadataVersion;
use dohle_metadata::features::Levels;
use dohle_raft::Endpoint;
use dohle_types::{ClusterId, DirectoryId};

use crate::exit::{Failure, Reason};

/// The folders of a node, all of one cluster and of this node.
pub struct Folders {
    /// Those of `log.dirs`, where partitions are.
    pub dirs: Vec<Found>,
    /// The metadata's own, where it is none of them: held, because it is locked for as long as this is.
    pub metadata: Option<LogDir>,
    pub metadata_dir: PathBuf,
    pub cluster_id: ClusterId,
    /// The id of the folder that holds the metadata.
    pub directory_id: DirectoryId,
    /// Whether this start has made them.
    pub new: bool,
}

/// Opens and locks every folder, and formats those that are new.
pub fn open(env: &Env, config: &Config, cluster_id: Option<&str>) -> Result<Folders, Failure> {
    let (paths, metadata_dir) = paths(config)?;
    let (mut dirs, offline) = open_all(env, &paths, &metadata_dir)?;
    let request = FormatRequest {
        cluster_id: cluster_id.map(str::to_owned),
        node_id: config.node_id(),
        release_version: None::<MetadataVersion>,
        levels: Levels::of(config),
        features: BTreeMap::new(),
        voters: initial_voters(config),
        ignore_formatted: true,
    };
    let made = format::format(env, &request, &mut dirs, &metadata_dir)?;
    let new = !made.new.is_empty();
    let own =
        dirs.iter().position(|dir| dir.path() == metadata_dir && !holds_partitions(config, &metadata_dir));
    let metadata = own.map(|at| dirs.remove(at));
    let mut dirs: Vec<Found> = dirs.into_iter().map(Found::Opened).chain(offline).collect();
    dirs.sort_by_key(|found| paths.iter().position(|path| path == found.path()));
    Ok(Folders {
        dirs,
        metadata,
        metadata_dir,
        cluster_id: made.cluster_id,
        directory_id: made.directory_id,
        new,
    })
}

/// Opens every folder. One of several that cannot be is offline while the others are served, as in Kafka; not the metadata's, and not
/// on a first start, whose configuration is wrong then.
fn open_all(env: &Env, paths: &[PathBuf], metadata_dir: &Path) -> Result<(Vec<LogDir>, Vec<Found>), Failure> {
    let (mut dirs, mut offline) = (Vec::new(), Vec::new());
    for path in paths {
        match LogDir::open(&env.disk, path) {
            Ok(dir) => dirs.push(dir),
            // A person has to say which of the two processes is meant to have it.
            Err(problem @ LogError::InUse { .. }) => return Err(problem.into()),
            Err(problem) if path == metadata_dir => return Err(problem.into()),
            Err(problem) => offline.push((path.clone(), problem)),
        }
    }
    if dirs.iter().all(|dir| dir.meta().is_none())
        && let Some((_, problem)) = offline.pop()
    {
        return Err(problem.into());
    }
    Ok((dirs, offline.into_iter().map(|(path, problem)| Found::Offline { path, problem }).collect()))
}

/// The log directories and the metadata's, absolute and without repetitions; and the metadata's.
pub fn paths(config: &Config) -> Result<(Vec<PathBuf>, PathBuf), Failure> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| {
            Failure::new(Reason::Config, format!("{} is not a folder: {error}", path.display()))
        })
    };
    let metadata_dir = absolute(config.metadata_log_dir())?;
    let mut paths = Vec::new();
    for dir in config.log_dirs() {
        paths.push(absolute(dir)?);
    }
    paths.push(metadata_dir.clone());
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    Ok((paths, metadata_dir))
}

fn holds_partitions(config: &Config, dir: &Path) -> bool {
    config.log_dirs().iter().any(|path| std::path::absolute(path).is_ok_and(|path| path == dir))
}

/// Who votes in a cluster that begins with this start. Only a node that can be nobody's follower may decide that it is a quorum.
fn initial_voters(config: &Config) -> InitialVoters {
    if !config.quorum_voters().is_empty() {
        InitialVoters::Configured
    } else if config.is_own_quorum() {
        InitialVoters::Standalone(controller_endpoints(config))
    } else {
        InitialVoters::Join
    }
}

/// Where this node's controller is reached.
pub fn controller_endpoints(config: &Config) -> Vec<Endpoint> {
    let listeners = config.advertised_controller_listeners().iter();
    listeners
        .map(|listener| Endpoint {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
        })
        .collect()
}
