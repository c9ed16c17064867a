//! The settings of one node, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dohle_types::NodeId;

use crate::keys::{self, KeyDef, Kind, Value};
use crate::listener::{self, ProtocolMap};
use crate::rules::{self, Violation};
use crate::{BrokerDynamic, HostPort, InvalidConfig, Listener, Voter, dynamic, synonyms};

/// What this node is (`process.roles`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// What a node stands on where nothing is configured and Kafka would refuse to start, or would ask for a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Instead of Kafka's `/tmp/kafka-logs`.
    pub log_dir: Option<PathBuf>,
    /// What to advertise for a listener on every address.
    pub host_name: Option<String>,
}

/// Defaults of a node that is a cluster of its own, as Kafka's quick-start file has them. [`Config::is_alone`] says when they hold.
pub const LONE_DEFAULTS: &[(&str, &str)] = &[
    ("broker.id", "1"),
    ("controller.listener.names", ""),
    // A lone node serves a person who waits for the first record, as Kafka's quick start does.
    ("group.initial.rebalance.delay.ms", "0"),
    ("listeners", "PLAINTEXT://localhost:9092"),
    ("node.id", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("process.roles", "broker,controller"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.replication.factor", "1"),
];

/// The settings of one node: its static ones, or those with the dynamic ones over them ([`Config::with_dynamic`]).
///
/// Readers by key panic for a name that is not in the table or has another type, and where a value is null that the reader cannot
/// give: those are bugs of the caller.
#[derive(Clone, Debug)]
pub struct Config {
    /// In the order of [`keys::all_broker`].
    values: Vec<Value>,
    /// What the file, the environment and flags say, by name; also names that are in no table.
    statics: BTreeMap<String, String>,
    /// What this node stands on instead of Kafka's defaults where nothing is said: as good as said.
    stand_ins: BTreeMap<&'static str, String>,
    base: Base,
    alone: bool,
    derived: Derived,
}

/// What several keys say together.
#[derive(Clone, Debug)]
struct Derived {
    node_id: NodeId,
    roles: Roles,
    protocols: ProtocolMap,
    listeners: Vec<Listener>,
    advertised: Vec<Listener>,
    advertised_controllers: Vec<Listener>,
    inter_broker_listener_name: String,
    log_dirs: Vec<PathBuf>,
    metadata_log_dir: PathBuf,
    voters: Vec<Voter>,
    bootstrap_servers: Vec<HostPort>,
}

/// Reading one key.
impl Config {
    pub fn boolean(&self, name: &str) -> bool {
        match *self.value(name) {
            Value::Boolean(value) => value,
            ref other => mistyped(name, other),
        }
    }

    pub fn int(&self, name: &str) -> i32 {
        match *self.value(name) {
            Value::Int(value) => value,
            ref other => mistyped(name, other),
        }
    }

    pub fn short(&self, name: &str) -> i16 {
        match *self.value(name) {
            Value::Short(value) => value,
            ref other => mistyped(name, other),
        }
    }

    /// A whole number of any width.
    pub fn long(&self, name: &str) -> i64 {
        self.optional_long(name).unwrap_or_else(|| mistyped(name, &Value::Null))
    }

    /// A whole number of any width that may be null.
    pub fn optional_long(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Null => None,
            value => Some(value.as_long().unwrap_or_else(|| mistyped(name, value))),
        }
    }

    pub fn double(&self, name: &str) -> f64 {
        match *self.value(name) {
            Value::Double(value) => value,
            ref other => mistyped(name, other),
        }
    }

    /// A string, class or password; `None` when it is null.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Value::Null => None,
            Value::Text(text) | Value::Password(text) => Some(text),
            other => mistyped(name, other),
        }
    }

    /// A list; empty when it is null.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::Null => &[],
            Value::List(values) => values,
            other => mistyped(name, other),
        }
    }

    pub fn value(&self, name: &str) -> &Value {
        let at = keys::broker_index(name).unwrap_or_else(|| panic!("{name} is not a key of brokers"));
        &self.values[at]
    }

    /// Whether a file, the environment or a flag gave the key a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.statics.contains_key(name)
    }

    /// What the file, the environment and flags say, by name; also names that are in no table.
    pub fn statics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.statics.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The static layer as it is told to others: what is said, and what this node stands on where nothing is. Kafka's defaults are
    /// told below it.
    pub(crate) fn told_statics(&self) -> impl Iterator<Item = (&str, &str)> {
        self.stand_ins.iter().map(|(name, value)| (*name, value.as_str())).chain(self.statics())
    }

    /// What the sources say of `listener.name.<listener>.<key>`.
    pub(crate) fn statics_of_listener(&self, listener: &str, key: &str) -> Option<&str> {
        self.statics.get(&format!("listener.name.{}.{key}", listener.to_lowercase())).map(String::as_str)
    }

    /// The value of `listener.name.<listener>.<key>`, or of the key for all listeners. `None` when it is null.
    pub fn listener_text(&self, listener: &str, key: &str) -> Option<&str> {
        let own = format!("listener.name.{}.{key}", listener.to_lowercase());
        match self.statics.get(&own) {
            Some(value) => Some(value),
            None => match self.value(key) {
                Value::Null => None,
                Value::Text(text) | Value::Password(text) => Some(text),
                _ => self.statics.get(key).map(String::as_str).or_else(|| keys::broker(key)?.default_text()),
            },
        }
    }
}

/// What several keys say together.
impl Config {
    pub fn node_id(&self) -> NodeId {
        self.derived.node_id
    }

    pub fn roles(&self) -> Roles {
        self.derived.roles
    }

    /// Whether this node is a cluster of its own: both roles, and no voters and bootstrap servers but itself.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Every entry of `listeners`, those of the controller included.
    pub fn listeners(&self) -> &[Listener] {
        &self.derived.listeners
    }

    /// The entries of `listeners` that serve clients and brokers (none on a pure controller).
    pub fn broker_listeners(&self) -> Vec<&Listener> {
        self.listeners().iter().filter(|listener| !self.is_controllers(listener)).collect()
    }

    /// The entries of `listeners` that serve the controller's APIs.
    pub fn controller_listeners(&self) -> Vec<&Listener> {
        self.listeners().iter().filter(|listener| self.is_controllers(listener)).collect()
    }

    /// What a broker registers and tells clients: `advertised.listeners`, or its listeners. A host is empty only if the machine has
    /// no name; a port is 0 if the kernel picks it.
    pub fn advertised_listeners(&self) -> Vec<&Listener> {
        self.derived.advertised.iter().filter(|listener| !self.is_controllers(listener)).collect()
    }

    /// What a controller registers: for each of its listener names what is advertised under it, or the listener.
    pub fn advertised_controller_listeners(&self) -> &[Listener] {
        &self.derived.advertised_controllers
    }

    pub fn controller_listener_names(&self) -> &[String] {
        self.list("controller.listener.names")
    }

    pub fn inter_broker_listener_name(&self) -> &str {
        &self.derived.inter_broker_listener_name
    }

    /// What a listener name speaks.
    pub fn protocol_of(&self, listener_name: &str) -> Option<crate::SecurityProtocol> {
        self.derived.protocols.get(listener_name).copied()
    }

    pub fn log_dirs(&self) -> &[PathBuf] {
        &self.derived.log_dirs
    }

    pub fn metadata_log_dir(&self) -> &Path {
        &self.derived.metadata_log_dir
    }

    pub fn quorum_voters(&self) -> &[Voter] {
        &self.derived.voters
    }

    pub fn quorum_bootstrap_servers(&self) -> &[HostPort] {
        &self.derived.bootstrap_servers
    }

    pub fn rack(&self) -> Option<&str> {
        self.text("broker.rack")
    }

    /// `log.retention.ms`, or minutes, or hours, in milliseconds; -1 for no limit.
    pub fn log_retention_ms(&self) -> i64 {
        crate::topic_settings::broker_default("retention.ms", self).as_long().expect("a whole number")
    }

    /// The memory for requests (`dohle.memory.request.bytes`): room for one of the largest at least.
    pub fn request_memory_bytes(&self) -> u64 {
        let largest = self.long("dohle.memory.request.bytes").max(self.long("socket.request.max.bytes"));
        u64::try_from(largest).expect("the tables allow nothing negative")
    }

    /// This machine's name, where it has one.
    pub(crate) fn host_name(&self) -> Option<&str> {
        self.base.host_name.as_deref()
    }

    fn is_controllers(&self, listener: &Listener) -> bool {
        self.controller_listener_names().contains(&listener.name)
    }
}

/// Layers.
impl Config {
    /// Checks what the sources say and fills in what they leave out.
    pub(crate) fn build(mut statics: BTreeMap<String, String>, base: Base) -> Result<Self, Violation> {
        name_node_twice(&mut statics);
        let mut values = Vec::new();
        for key in keys::all_broker() {
            let value = match statics.get(key.name) {
                Some(raw) => key.parse(raw).map_err(|refused| Violation::of_value(key, raw, refused))?,
                None => key.default_value().expect("a test checks the defaults"),
            };
            values.push(value);
        }
        check_listener_keys(&statics)?;
        let placeholder = Derived {
            node_id: NodeId(-1),
            roles: Roles { broker: true, controller: true },
            protocols: ProtocolMap::new(),
            listeners: Vec::new(),
            advertised: Vec::new(),
            advertised_controllers: Vec::new(),
            inter_broker_listener_name: String::new(),
            log_dirs: Vec::new(),
            metadata_log_dir: PathBuf::new(),
            voters: Vec::new(),
            bootstrap_servers: Vec::new(),
        };
        let stand_ins = BTreeMap::new();
        let mut config = Self { values, statics, stand_ins, base, alone: false, derived: placeholder };
        config.fill_in()?;
        config.derived = config.derive()?;
        rules::check(&config)?;
        Ok(config)
    }

    /// These settings with a broker's dynamic configuration over them. Dynamic values that do not fit (written by a newer version,
    /// or in contradiction with the file) are left out; their names are in the second part.
    pub fn with_dynamic(&self, dynamic: &BrokerDynamic<'_>) -> (Self, Vec<String>) {
        let layers = [(&dynamic.cluster_default, false), (&dynamic.per_broker, true)];
        if layers.iter().all(|(layer, _)| layer.is_empty()) {
            return (self.clone(), Vec::new());
        }
        let mut left_out = Vec::new();
        let mut statics = self.statics.clone();
        for (layer, per_broker) in layers {
            let accepted = dynamic::accepted(layer, per_broker);
            left_out.extend(
                layer
                    .iter()
                    .filter(|(name, _)| accepted.get(name).is_none())
                    .map(|(name, _)| name.to_owned()),
            );
            for (name, value) in accepted.iter() {
                overlay(&mut statics, name, value);
            }
        }
        match Self::build(statics, self.base.clone()) {
            Ok(config) => (config, left_out),
            // Values that were accepted one by one and contradict each other now: the static ones are known to fit.
            Err(violation) => {
                left_out.push(violation.key);
                (self.clone(), left_out)
            }
        }
    }

    /// As [`Config::with_dynamic`], but refuses what does not fit, with Kafka's message.
    pub(crate) fn try_with(&self, layers: [&crate::Overrides<'_>; 2]) -> Result<Self, InvalidConfig> {
        let mut statics = self.statics.clone();
        for layer in layers {
            for (name, value) in layer.iter() {
                overlay(&mut statics, name, value);
            }
        }
        Self::build(statics, self.base.clone()).map_err(|violation| InvalidConfig::request(violation.kafka))
    }

    /// Finds out whether the node is alone, and what it stands on then.
    fn fill_in(&mut self) -> Result<(), Violation> {
        let roles = self.list("process.roles");
        let has = |role: &str| !self.is_set("process.roles") || roles.iter().any(|r| r == role);
        let id = self.optional_long("node.id").unwrap_or(1);
        let voters =
            listener::parse_voters(self.list("controller.quorum.voters")).expect("checked by the key");
        self.alone = has("broker")
            && has("controller")
            && self.list("controller.quorum.bootstrap.servers").is_empty()
            && voters.iter().all(|voter| i64::from(voter.id.0) == id);
        if !self.alone {
            rules::require_cluster_keys(self)?;
        }
        self.stand_ins = self.find_stand_ins();
        for (name, value) in &self.stand_ins {
            let at = keys::broker_index(name).expect("stand-ins are of keys");
            self.values[at] = key_value(keys::broker(name).expect("a key"), value);
        }
        Ok(())
    }

    /// The defaults of a lone node, and a folder where Kafka would use one below `/tmp`.
    fn find_stand_ins(&self) -> BTreeMap<&'static str, String> {
        let mut found = BTreeMap::new();
        if self.alone {
            found.extend(LONE_DEFAULTS.iter().map(|(name, value)| (*name, (*value).to_owned())));
        }
        if let Some(dir) = self.base.log_dir.as_ref().filter(|_| !self.is_set("log.dirs")) {
            found.insert("log.dir", dir.to_string_lossy().into_owned());
        }
        found.retain(|name, _| !self.is_set(name));
        found
    }

    fn derive(&self) -> Result<Derived, Violation> {
        let roles = self.list("process.roles");
        let roles = Roles {
            broker: roles.iter().any(|role| role == "broker"),
            controller: roles.iter().any(|role| role == "controller"),
        };
        let protocols = rules::protocols(self)?;
        let listeners = rules::listeners(self, "listeners", &protocols)?;
        let voters =
            listener::parse_voters(self.list("controller.quorum.voters")).expect("checked by the key");
        let mut advertised = match self.is_set("advertised.listeners") {
            true => rules::listeners(self, "advertised.listeners", &protocols)?,
            false => listeners.clone(),
        };
        let mut advertised_controllers = self.advertised_controllers(&listeners, &advertised, &voters);
        for listener in advertised.iter_mut().chain(&mut advertised_controllers) {
            if listener.host.is_empty() {
                listener.host = self.base.host_name.clone().unwrap_or_default();
            }
        }
        let dirs = if self.is_set("log.dirs") { self.list("log.dirs") } else { self.list("log.dir") };
        let log_dirs: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
        let metadata_log_dir = match self.text("metadata.log.dir") {
            Some(dir) => PathBuf::from(dir),
            None => log_dirs.first().cloned().unwrap_or_default(),
        };
        Ok(Derived {
            node_id: NodeId(self.int("node.id")),
            roles,
            inter_broker_listener_name: rules::inter_broker_listener_name(self, &protocols)?,
            protocols,
            listeners,
            advertised,
            advertised_controllers,
            log_dirs,
            metadata_log_dir,
            voters,
            bootstrap_servers: listener::parse_bootstrap_servers(
                self.list("controller.quorum.bootstrap.servers"),
            )
            .expect("checked by the key"),
        })
    }
}

impl Config {
    /// A controller that listens on every address goes by the address that the voters know it under.
    fn advertised_controllers(
        &self,
        listeners: &[Listener],
        advertised: &[Listener],
        voters: &[Voter],
    ) -> Vec<Listener> {
        let named =
            |all: &[Listener], name: &String| all.iter().find(|listener| listener.name == *name).cloned();
        let find = |(at, name): (usize, &String)| {
            let mine = self.is_set("advertised.listeners").then(|| named(advertised, name)).flatten();
            let mut listener = match mine {
                Some(advertised) => return Some(advertised),
                None => named(listeners, name)?,
            };
            if listener.host.is_empty() || listener.host == "0.0.0.0" {
                listener.host.clear();
                let voter = voters.iter().find(|voter| voter.id.0 == self.int("node.id")).filter(|_| at == 0);
                if let Some(voter) = voter {
                    (listener.host, listener.port) = (voter.address.host.clone(), voter.address.port);
                }
            }
            Some(listener)
        };
        self.controller_listener_names().iter().enumerate().filter_map(find).collect()
    }
}

/// `broker.id` and `node.id` are one thing: the one that is set gives the other its value.
fn name_node_twice(statics: &mut BTreeMap<String, String>) {
    for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
        if let (Some(id), false) = (statics.get(from).cloned(), statics.contains_key(to)) {
            statics.insert(to.to_owned(), id);
        }
    }
}

/// Keys given for one listener must fit the type of the key they are about.
fn check_listener_keys(statics: &BTreeMap<String, String>) -> Result<(), Violation> {
    for (name, raw) in statics {
        if let Some(key) = synonyms::listener_base(name).and_then(keys::broker) {
            key.parse(raw).map_err(|refused| Violation::of_listener_value(name, key, raw, refused))?;
        }
    }
    Ok(())
}

/// Sets a value over what is there, which hides what the key's synonyms say.
fn overlay(values: &mut BTreeMap<String, String>, name: &str, value: &str) {
    if synonyms::listener_base(name).is_none() {
        for synonym in synonyms::of_broker(name) {
            values.remove(synonym);
        }
    }
    values.insert(name.to_owned(), value.to_owned());
}

fn key_value(key: &KeyDef, text: &str) -> Value {
    match key.kind {
        // The one lone default that Kafka's table would not allow: no controller listeners.
        Kind::List if text.is_empty() => Value::List(Vec::new()),
        _ => key.parse(text).expect("a test checks the defaults"),
    }
}

fn mistyped(name: &str, value: &Value) -> ! {
    panic!("{name} = {value:?} is not of the type it is read as")
}
