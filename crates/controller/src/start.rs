//! Starting the controller's thread: recover, take part, be active.

use std::sync::Arc;

use dohle_env::Env;
use dohle_metadata::{Controller, ControllerSettings, Image, MetadataVersion, format_records};
use dohle_raft::{Effect, Raft, Replica, TickMs};
use dohle_types::{Offset, TimestampMs};
use dohle_wire::MetadataRecord;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::StartError;
use crate::format::BOOTSTRAP_CHECKPOINT;
use crate::handle::{Command, ControllerHandle, MAX_WAITING_REQUESTS, Status};
use crate::settings::Settings;
use crate::shell::{Channels, Parts, Shell};
use crate::snapshot;
use crate::store::{Opened, Store};

const THREAD_NAME: &str = "controller";

/// Starts the controller of a formatted folder on a thread of its own. When this returns, the log has been recovered; the only voter
/// of its quorum is then already the active controller, and the first image is published.
pub async fn start(settings: Settings, env: Env) -> Result<ControllerHandle, StartError> {
    let (commands, taken) = mpsc::channel(MAX_WAITING_REQUESTS);
    let (images, images_seen) = watch::channel(Arc::new(Image::default()));
    let (status, status_seen) = watch::channel(Status::default());
    let (started, outcome) = oneshot::channel();
    let channels = Channels { images, status };
    dohle_env::thread::spawn_runtime(THREAD_NAME, move || run(settings, env, channels, taken, started))
        .map_err(StartError::Thread)?;
    match outcome.await {
        Ok(Ok(())) => Ok(ControllerHandle::new(commands, images_seen, status_seen)),
        Ok(Err(error)) => Err(error),
        Err(_) => panic!("the controller's thread has panicked while it started"),
    }
}

async fn run(
    settings: Settings,
    env: Env,
    channels: Channels,
    commands: mpsc::Receiver<Command>,
    started: oneshot::Sender<Result<(), StartError>>,
) {
    match recover(settings, env, channels) {
        Ok(shell) => {
            let _ = started.send(Ok(()));
            shell.run(commands).await;
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    }
}

fn recover(settings: Settings, env: Env, channels: Channels) -> Result<Shell, StartError> {
    let bootstrap = read_bootstrap(&env, &settings)?;
    let Opened { mut store, recovered, snapshot } = Store::open(&env, &settings)?;
    let local = Replica::new(settings.node_id, settings.directory_id);
    check_quorum(&recovered.voters, local)?;
    let durable = store.settle()?;
    let voters = recovered.voters.latest().ids().collect();
    let mut core = Controller::new(ControllerSettings::new(
        settings.cluster_id.clone(),
        voters,
        settings.config.clone(),
    ));
    let mut loaded = (Offset::ZERO, TimestampMs(0));
    if let Some((id, contents)) = snapshot {
        let last = id.offset.plus(-1);
        for (record, _) in &contents.records {
            core.replay(record, last)?;
        }
        loaded = (id.offset, contents.last_timestamp);
    }
    let (raft, effects) = start_raft(&settings, &env, local, recovered);
    let metadata_dir = settings.metadata_dir.clone();
    let parts = Parts { raft, store, core, loaded, durable, bootstrap };
    let mut shell = Shell::new(env, settings, parts, channels);
    shell
        .begin(effects)
        .map_err(|error| StartError::Corrupt { path: metadata_dir, reason: error.to_string() })?;
    Ok(shell)
}

fn start_raft(
    settings: &Settings,
    env: &Env,
    local: Replica,
    recovered: dohle_raft::Recovered,
) -> (Raft, Vec<Effect>) {
    let mut quorum = dohle_raft::Settings::new(local, settings.cluster_id.clone(), settings.endpoints());
    quorum.bootstrap = settings.bootstrap_servers();
    quorum.election_timeout_ms = settings.election_timeout_ms;
    quorum.fetch_timeout_ms = settings.fetch_timeout_ms;
    quorum.request_timeout_ms = settings.request_timeout_ms;
    quorum.retry_backoff_ms = settings.retry_backoff_ms;
    Raft::start(quorum, recovered, env.rng.u64(), TickMs(env.clock.tick().millis()))
}

/// The core knows quorums of any size. This shell has no way to speak to other voters.
fn check_quorum(voters: &dohle_raft::VoterHistory, local: Replica) -> Result<(), StartError> {
    let voters = voters.latest();
    if voters.len() == 1 && voters.contains(local) {
        return Ok(());
    }
    let reason = if voters.is_empty() {
        "the metadata log names no voters: the folder was formatted to join a cluster that exists, which this version cannot"
            .to_owned()
    } else {
        format!(
            "this node is {local} and the voters of the metadata quorum are {voters}: this version runs quorums of this node alone"
        )
    };
    Err(StartError::Unsupported(reason))
}

/// What a new cluster starts with: the records of the bootstrap checkpoint, or those of a new cluster of the latest version.
fn read_bootstrap(env: &Env, settings: &Settings) -> Result<Vec<(MetadataRecord, i16)>, StartError> {
    let path = settings.metadata_dir.join(BOOTSTRAP_CHECKPOINT);
    match snapshot::read(&*env.disk, &path) {
        Ok(Some(contents)) => Ok(contents.records),
        Ok(None) => Ok(format_records(MetadataVersion::LATEST_PRODUCTION)),
        Err(snapshot::SnapshotError::Io(source)) => Err(StartError::Io { path, source }),
        Err(error) => Err(StartError::Corrupt { path, reason: error.to_string() }),
    }
}
