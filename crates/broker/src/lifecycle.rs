//! This broker's standing with the controller: registered, heard from, and in the end let go.
//!
//! The controller fences a broker that it has not heard from for `broker.session.timeout.ms`. A heartbeat is sent every
//! `broker.heartbeat.interval.ms`; each registration gets a broker epoch, which fences those before it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use dohle_config::Config;
use dohle_controller::{ControllerHandle, Refused};
use dohle_env::{Env, task};
use dohle_metadata::RequestContext;
use dohle_metadata::features::{self, Levels};
use dohle_types::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, Offset};
use dohle_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use dohle_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationResponse};
use dohle_wire::{AnyRequest, AnyResponse, ApiKey};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::settings;

/// Between tries to register, and between looks at a controlled shutdown.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("the controller refused this broker's registration: {0}")]
    Rejected(ErrorCode),
    #[error("the controller did not answer this broker's registration: {0}")]
    Unanswered(#[from] Refused),
}

/// The standing, shared by all cores.
#[derive(Clone)]
pub struct Lifecycle(Arc<Standing>);

struct Standing {
    node: NodeId,
    controller: ControllerHandle,
    config: Arc<Config>,
    /// The log directories with their ids, as far as those are known. Locked for a moment only.
    directories: Mutex<Vec<(PathBuf, DirectoryId)>>,
    /// What the controller was asked to take this broker for.
    registration: OnceLock<BrokerRegistrationRequest>,
    epoch: AtomicI64,
    fenced: AtomicBool,
    /// The directories that have failed since the registration.
    offline: watch::Sender<BTreeSet<DirectoryId>>,
}

impl Lifecycle {
    pub fn new(
        controller: ControllerHandle,
        config: Arc<Config>,
        directories: Vec<(PathBuf, DirectoryId)>,
    ) -> Self {
        Self(Arc::new(Standing {
            node: config.node_id(),
            controller,
            config,
            directories: Mutex::new(directories),
            registration: OnceLock::new(),
            epoch: AtomicI64::new(BrokerEpoch::NONE.get()),
            fenced: AtomicBool::new(true),
            offline: watch::Sender::default(),
        }))
    }

    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.0.epoch.load(Ordering::Relaxed))
    }

    pub fn is_fenced(&self) -> bool {
        self.0.fenced.load(Ordering::Relaxed)
    }

    /// The directories that take no new partitions, as the metadata says now.
    pub fn cordoned(&self) -> Vec<DirectoryId> {
        let Standing { node, controller, config, directories, .. } = &*self.0;
        let directories = directories.lock().expect("nothing panics while it is locked");
        settings::cordoned(controller.image().stable(), *node, config, &directories)
    }

    /// Tells the controller, by the next heartbeat, that a directory has failed.
    pub fn lost(&self, directory: DirectoryId) {
        self.0.offline.send_modify(|offline| _ = offline.insert(directory));
    }

    /// Registers this broker. `ports` tells the real port of listeners that asked for any.
    pub async fn register(
        &self,
        config: &Config,
        env: &Env,
        cluster_id: &str,
        log_dirs: Vec<DirectoryId>,
        ports: &[(String, u16)],
    ) -> Result<(), RegistrationError> {
        let advertised = config.advertised_listeners();
        let listeners = advertised.iter().map(|listener| {
            let real = ports.iter().find(|(name, _)| *name == listener.name).map(|(_, port)| *port);
            Listener {
                name: listener.name.as_str().into(),
                host: listener.host.as_str().into(),
                port: if listener.port == 0 { real.unwrap_or(0) } else { listener.port },
                security_protocol: listener.protocol.id(),
                ..Default::default()
            }
        });
        let request = BrokerRegistrationRequest {
            broker_id: self.0.node.get(),
            cluster_id: cluster_id.into(),
            incarnation_id: env.rng.uuid(),
            listeners: listeners.collect(),
            features: supported_features(config),
            rack: config.rack().map(Into::into),
            log_dirs,
            previous_broker_epoch: BrokerEpoch::NONE.get(),
            ..Default::default()
        };
        self.send_registration(self.0.registration.get_or_init(|| request).clone()).await
    }

    /// A directory is back: tells the controller, as the same incarnation, all that are served. Does nothing on a node that was never
    /// registered as a broker.
    pub async fn returned(
        &self,
        path: PathBuf,
        directory: DirectoryId,
        served: Vec<DirectoryId>,
    ) -> Result<(), RegistrationError> {
        // Before the controller hears of it: no later heartbeat may say otherwise.
        self.0.offline.send_if_modified(|offline| {
            offline.remove(&directory);
            false
        });
        self.know(path, directory);
        match self.0.registration.get() {
            Some(first) => {
                let again = BrokerRegistrationRequest { log_dirs: served, ..first.clone() };
                self.send_registration(again).await
            }
            None => Ok(()),
        }
    }

    fn know(&self, path: PathBuf, directory: DirectoryId) {
        let mut known = self.0.directories.lock().expect("nothing panics while it is locked");
        if known.iter().all(|(_, id)| *id != directory) {
            known.push((path, directory));
        }
    }

    async fn send_registration(&self, request: BrokerRegistrationRequest) -> Result<(), RegistrationError> {
        let version = ApiKey::BrokerRegistration.max_version();
        match self.ask(version, AnyRequest::BrokerRegistration(request)).await? {
            AnyResponse::BrokerRegistration(BrokerRegistrationResponse {
                error_code: 0,
                broker_epoch,
                ..
            }) => {
                self.0.epoch.store(broker_epoch, Ordering::Relaxed);
                Ok(())
            }
            AnyResponse::BrokerRegistration(response) => {
                let code = ErrorCode::from_code(response.error_code).unwrap_or(ErrorCode::UnknownServerError);
                Err(RegistrationError::Rejected(code))
            }
            other => unreachable!("a registration is answered by one, not by {:?}", other.key()),
        }
    }

    /// One heartbeat; tells whether the controller wants this broker to go now.
    pub async fn heartbeat(&self, shut_down: bool) -> Result<bool, Refused> {
        self.heartbeat_with(self.cordoned(), shut_down).await
    }

    async fn heartbeat_with(&self, cordoned: Vec<DirectoryId>, shut_down: bool) -> Result<bool, Refused> {
        let applied = self.0.controller.status().last_applied;
        let request = BrokerHeartbeatRequest {
            broker_id: self.0.node.get(),
            broker_epoch: self.epoch().get(),
            current_metadata_offset: applied.max(Offset::NONE).get(),
            want_fence: false,
            want_shut_down: shut_down,
            cordoned_log_dirs: Some(cordoned),
            offline_log_dirs: self.0.offline.borrow().iter().copied().collect(),
            ..Default::default()
        };
        let version = ApiKey::BrokerHeartbeat.max_version();
        match self.ask(version, AnyRequest::BrokerHeartbeat(request)).await? {
            AnyResponse::BrokerHeartbeat(BrokerHeartbeatResponse {
                error_code: 0,
                is_fenced,
                should_shut_down,
                ..
            }) => {
                if self.0.fenced.swap(is_fenced, Ordering::Relaxed) && !is_fenced {
                    info!(epoch = %self.epoch(), "the controller has let this broker in");
                }
                Ok(should_shut_down)
            }
            AnyResponse::BrokerHeartbeat(response) => {
                warn!(code = response.error_code, "the controller refused a heartbeat");
                Ok(false)
            }
            other => unreachable!("a heartbeat is answered by one, not by {:?}", other.key()),
        }
    }

    /// Heartbeats until the broker is let in.
    pub async fn enter(&self) -> Result<(), Refused> {
        loop {
            self.heartbeat(false).await?;
            if !self.is_fenced() {
                return Ok(());
            }
            task::sleep(RETRY).await;
        }
    }

    /// Heartbeats for as long as the broker lives. Runs on the first core.
    pub async fn keep_alive(self, interval: Duration) {
        let mut told = self.cordoned();
        let mut offline = self.0.offline.subscribe();
        loop {
            // Sooner when there is something to tell.
            let _ = task::timeout(interval, async {
                tokio::select! {
                    () = self.otherwise_cordoned(&told) => {}
                    Ok(()) = offline.changed() => {}
                }
            })
            .await;
            told = self.cordoned();
            if let Err(refused) = self.heartbeat_with(told.clone(), false).await {
                warn!(%refused, "a heartbeat got no answer");
                if refused == Refused::Stopped {
                    return;
                }
            }
        }
    }

    /// Waits until the metadata names other directories as cordoned than the controller was told.
    async fn otherwise_cordoned(&self, told: &[DirectoryId]) {
        let mut images = self.0.controller.images();
        while self.cordoned() == told {
            if images.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Asks to be let go, and waits until leadership has moved away (at once where nobody could take it), at most for `deadline`.
    pub async fn leave(&self, deadline: Duration) {
        let going = async {
            while let Ok(false) = self.heartbeat(true).await {
                task::sleep(RETRY).await;
            }
        };
        if task::timeout(deadline, going).await.is_err() {
            warn!("the controller did not let this broker go in time");
        }
    }

    /// Asks the controller as this broker.
    pub async fn ask(&self, version: i16, request: AnyRequest) -> Result<AnyResponse, Refused> {
        self.0.controller.request(RequestContext::default(), version, request).await
    }
}

/// The feature levels this node can run at.
fn supported_features(config: &Config) -> Vec<Feature> {
    let supported = features::supported(Levels::of(config)).into_iter().map(|(name, range)| Feature {
        name: name.into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
        ..Default::default()
    });
    supported.collect()
}
