//! A controller and the log it writes, without a quorum: what is appended is committed.

#![allow(dead_code)]

use std::sync::Arc;

use dohle_config::{Config, Sources};
use dohle_metadata::{
    Controller, ControllerSettings, Image, MetadataVersion, RequestContext, features, format_records,
};
use dohle_types::{NodeId, Offset, TimestampMs, Uuid};
use dohle_wire::messages::broker_registration_request::{BrokerRegistrationRequest, Feature, Listener};
use dohle_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationResponse};
use dohle_wire::{AnyRequest, AnyResponse, MetadataRecord};

pub const CLUSTER_ID: &str = "test-cluster";

/// The controller, the log, and a clock.
pub struct Cluster {
    pub controller: Controller,
    pub log: Vec<(MetadataRecord, i16)>,
    pub now: TimestampMs,
    pub context: RequestContext,
    chance: u64,
}

pub fn config(properties: &str) -> Arc<Config> {
    let file = Some(("server.properties".into(), properties.to_owned()));
    let loaded = Config::load(Sources { file, ..Sources::default() }).expect("a good configuration");
    Arc::new(loaded.config)
}

impl Cluster {
    /// A cluster that is bootstrapped at `version` and has no brokers yet.
    pub fn at(
        version: MetadataVersion,
        properties: &str,
        change: impl FnOnce(&mut ControllerSettings),
    ) -> Self {
        let mut settings =
            ControllerSettings::new(CLUSTER_ID.to_owned(), vec![NodeId(0)], config(properties));
        change(&mut settings);
        let context = RequestContext { via_broker: Some(NodeId(0)), ..RequestContext::default() };
        let controller = Controller::new(settings);
        let mut cluster = Self { controller, log: Vec::new(), now: TimestampMs(1000), context, chance: 1 };
        cluster.controller.set_kraft_version(1);
        cluster.controller.activate(cluster.now);
        let records = cluster.controller.activation_records(&format_records(version));
        cluster.append(records);
        cluster
    }

    pub fn image(&self) -> &Image {
        self.controller.image()
    }

    pub fn next_offset(&self) -> Offset {
        Offset(self.log.len() as i64)
    }

    pub fn append(&mut self, records: Vec<(MetadataRecord, i16)>) {
        for (record, version) in records {
            // What is decided must also fit into bytes.
            let bytes = record.encode(version).expect("the record can be written in its version");
            let (read, read_version) = MetadataRecord::decode(bytes).expect("and read again");
            assert_eq!((&read, read_version), (&record, version));
            let offset = self.next_offset();
            self.controller.replay(&record, offset).expect("a decision fits");
            self.log.push((record, version));
        }
    }

    pub fn ask(&mut self, request: impl Into<AnyRequest>, version: i16) -> AnyResponse {
        self.chance += 1;
        let (now, next, request) = (self.now, self.next_offset(), request.into());
        let outcome = self.controller.handle(now, next, self.chance, &self.context, &request, version);
        self.append(outcome.records);
        outcome.reply
    }

    pub fn tick(&mut self) {
        self.chance += 1;
        let tick = self.controller.tick(self.now, self.next_offset(), self.chance);
        self.append(tick.records);
    }

    /// Registers an incarnation of a broker and lets it catch up; gives its epoch.
    pub fn start_broker(&mut self, id: i32, incarnation: u128, rack: Option<&str>) -> i64 {
        let registered = self.register(id, incarnation, rack);
        assert_eq!(registered.error_code, 0);
        let answer = self.heartbeat(id, registered.broker_epoch, |_| {});
        assert_eq!((answer.error_code, answer.is_fenced), (0, false));
        registered.broker_epoch
    }

    pub fn register(&mut self, id: i32, incarnation: u128, rack: Option<&str>) -> BrokerRegistrationResponse {
        let request = registration(id, incarnation, rack);
        match self.ask(request, 4) {
            AnyResponse::BrokerRegistration(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// A heartbeat of a broker that has read all of the log, changed by `with`.
    pub fn heartbeat(
        &mut self,
        id: i32,
        epoch: i64,
        with: impl FnOnce(&mut BrokerHeartbeatRequest),
    ) -> BrokerHeartbeatResponse {
        let mut request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: epoch,
            current_metadata_offset: self.next_offset().get() - 1,
            ..Default::default()
        };
        with(&mut request);
        match self.ask(request, 2) {
            AnyResponse::BrokerHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }
}

pub fn directory_of(broker: i32) -> Uuid {
    Uuid::from_u128(1_000_000 + broker as u128)
}

pub fn registration(id: i32, incarnation: u128, rack: Option<&str>) -> BrokerRegistrationRequest {
    BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: CLUSTER_ID.into(),
        incarnation_id: Uuid::from_u128(incarnation),
        listeners: vec![Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            ..Default::default()
        }],
        features: features::supported(features::Levels::Production)
            .into_iter()
            .map(|(name, range)| Feature {
                name: name.into(),
                min_supported_version: range.min,
                max_supported_version: range.max,
                ..Default::default()
            })
            .collect(),
        rack: rack.map(Into::into),
        log_dirs: vec![directory_of(id)],
        ..Default::default()
    }
}
