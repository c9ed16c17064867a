//! A controller on a disk of the test's choosing, and what clients ask of it.

#![allow(dead_code, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dohle_config::{Config, SecurityProtocol, Sources};
use dohle_controller::format::{FormatRequest, Formatted, InitialVoters, format};
use dohle_controller::{ControllerHandle, ControllerListener, Refused, Settings, StartError, start};
use dohle_env::{Disk, Env, Rng};
use dohle_log::dirs::LogDir;
use dohle_metadata::{RequestContext, features};
use dohle_raft::Endpoint;
use dohle_types::{NodeId, Uuid};
use dohle_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use dohle_wire::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use dohle_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use dohle_wire::messages::{BrokerHeartbeatRequest, CreateTopicsResponse, IncrementalAlterConfigsResponse};
use dohle_wire::{AnyRequest, AnyResponse};

pub const NODE: NodeId = NodeId(1);

/// Where a node lives.
pub struct Home {
    pub env: Env,
    pub dir: PathBuf,
    pub properties: String,
}

impl Home {
    pub fn real(dir: &Path) -> Self {
        Self { env: Env::real(), dir: dir.to_owned(), properties: String::new() }
    }

    pub fn on(disk: impl Disk + 'static, seed: u64) -> Self {
        let env = Env { disk: Arc::new(disk), rng: Rng::seeded(seed), ..Env::real() };
        let dir = PathBuf::from("/data/node");
        Self { env, dir, properties: String::new() }
    }

    pub fn config(&self) -> Arc<Config> {
        let text = format!("log.dirs={}\n{}", self.dir.display(), self.properties);
        let file = Some(("server.properties".into(), text));
        Arc::new(Config::load(Sources { file, ..Sources::default() }).expect("a good configuration").config)
    }

    pub fn request(&self) -> FormatRequest {
        FormatRequest {
            cluster_id: None,
            node_id: NODE,
            release_version: None,
            levels: features::Levels::Production,
            features: Default::default(),
            voters: InitialVoters::Standalone(vec![endpoint()]),
            ignore_formatted: true,
        }
    }

    /// Formats the folder if it is not.
    pub fn format(&self) -> Result<Formatted, String> {
        let mut dirs = [LogDir::open(&self.env.disk, &self.dir).map_err(|error| error.to_string())?];
        format(&self.env, &self.request(), &mut dirs, &self.dir).map_err(|error| error.to_string())
    }

    pub fn settings(&self, formatted: &Formatted) -> Settings {
        let (cluster_id, directory_id) = (formatted.cluster_id.clone(), formatted.directory_id);
        let incarnation = self.env.rng.uuid();
        let Endpoint { name, host, port } = endpoint();
        let listener = ControllerListener { name, host, port, protocol: SecurityProtocol::Plaintext };
        Settings::new(self.config(), cluster_id, directory_id, incarnation, vec![listener])
    }

    pub async fn start(&self) -> Result<ControllerHandle, String> {
        let formatted = self.format()?;
        let started: Result<_, StartError> = start(self.settings(&formatted), self.env.clone()).await;
        started.map_err(|error| error.to_string())
    }
}

pub fn endpoint() -> Endpoint {
    Endpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 }
}

pub async fn ask(
    controller: &ControllerHandle,
    version: i16,
    request: impl Into<AnyRequest>,
) -> Result<AnyResponse, Refused> {
    let answer = controller.request(RequestContext::default(), version, request.into()).await?;
    let mut writer = dohle_wire::Writer::new();
    answer.encode(&mut writer, version).expect("an answer fits the version of its request");
    Ok(answer)
}

/// Sets one configuration of the whole cluster; gives whether it was acknowledged.
pub async fn set_config(controller: &ControllerHandle, key: &str, value: &str) -> Result<(), Refused> {
    let config = AlterableConfig { name: key.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource { resource_type: 4, configs: vec![config], ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    match ask(controller, 1, request).await? {
        AnyResponse::IncrementalAlterConfigs(IncrementalAlterConfigsResponse { responses, .. }) => {
            assert_eq!(responses[0].error_code, 0, "{:?}", responses[0].error_message);
            Ok(())
        }
        other => panic!("{other:?}"),
    }
}

pub async fn create_topic(
    controller: &ControllerHandle,
    name: &str,
    partitions: i32,
) -> CreateTopicsResponse {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() };
    match ask(controller, 7, request).await.expect("answered") {
        AnyResponse::CreateTopics(response) => response,
        other => panic!("{other:?}"),
    }
}

/// Registers a broker and lets it in; gives its epoch.
pub async fn start_broker(controller: &ControllerHandle, cluster_id: &str, directory: Uuid) -> i64 {
    let features =
        features::supported(features::Levels::Production).into_iter().map(|(name, range)| Feature {
            name: name.into(),
            min_supported_version: range.min,
            max_supported_version: range.max,
            ..Default::default()
        });
    let listener =
        Listener { name: "PLAINTEXT".into(), host: "localhost".into(), port: 9092, ..Default::default() };
    let request = BrokerRegistrationRequest {
        broker_id: NODE.get(),
        cluster_id: cluster_id.into(),
        incarnation_id: Uuid::from_u128(0x1234_5678_9abc),
        listeners: vec![listener],
        features: features.collect(),
        log_dirs: vec![directory],
        previous_broker_epoch: -1,
        ..Default::default()
    };
    let epoch = match ask(controller, 4, request).await.expect("answered") {
        AnyResponse::BrokerRegistration(response) => {
            assert_eq!(response.error_code, 0);
            response.broker_epoch
        }
        other => panic!("{other:?}"),
    };
    let request = BrokerHeartbeatRequest {
        broker_id: NODE.get(),
        broker_epoch: epoch,
        current_metadata_offset: controller.status().last_applied.get(),
        ..Default::default()
    };
    match ask(controller, 1, request).await.expect("answered") {
        AnyResponse::BrokerHeartbeat(response) => {
            assert_eq!((response.error_code, response.is_fenced), (0, false))
        }
        other => panic!("{other:?}"),
    }
    epoch
}
