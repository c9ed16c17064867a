//! What a node has to say of the metadata quorum, by its roles.

use super::{Violation, scala};
use crate::keys;
use crate::settings::Roles;
use crate::{Config, HostPort};

impl Config {
    /// Whether the metadata quorum can only be this node: it has both roles, and whoever the quorum's keys name, by id or by address,
    /// is this node. An empty folder of such a node becomes a cluster of its own.
    pub fn is_own_quorum(&self) -> bool {
        let Roles { broker, controller } = self.roles();
        let id = self.node_id();
        broker
            && controller
            && self.quorum_voters().iter().all(|voter| voter.id == id)
            && self.quorum_bootstrap_servers().iter().all(|server| self.is_own_controller(server))
    }

    /// Whether an address is that of one of this node's controller listeners. No name is looked up.
    fn is_own_controller(&self, server: &HostPort) -> bool {
        let advertised = self.advertised_controller_listeners().iter();
        let mut own_hosts = advertised.map(|listener| (listener.host.as_str(), listener.port));
        let is_advertised =
            own_hosts.any(|(host, port)| port == server.port && host.eq_ignore_ascii_case(&server.host));
        let bound = self.controller_listeners();
        is_advertised
            || bound.iter().any(|listener| {
                listener.port == server.port && listener.reaches(&server.host, self.host_name())
            })
    }
}

/// What a member of a cluster has to say, since no default could be right for it.
pub(crate) fn require_cluster_keys(config: &Config) -> Result<(), Violation> {
    for key in ["process.roles", "node.id", "controller.listener.names"] {
        if !config.is_set(key) {
            let sentence = format!(
                "{key} is not set but must be {} on a node that is not a cluster of its own",
                keys::broker(key).expect("a key").allowed()
            );
            let kafka = format!("Missing required configuration \"{key}\" which has no default value.");
            return Err(Violation::new(key, sentence, kafka));
        }
    }
    Ok(())
}

fn check_quorum_is_known(config: &Config) -> Result<(), Violation> {
    if config.is_alone()
        || !config.quorum_voters().is_empty()
        || !config.quorum_bootstrap_servers().is_empty()
    {
        return Ok(());
    }
    Err(Violation::new(
        "controller.quorum.bootstrap.servers",
        format!(
            "controller.quorum.bootstrap.servers is not set but must name the controllers, host:port, when process.roles is {}",
            config.list("process.roles").join(",")
        ),
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers or \
         controller.quorum.voters must contain a parseable set of controllers.",
    ))
}

pub(super) fn check_broker_only(config: &Config) -> Result<(), Violation> {
    const NAMES: &str = "controller.listener.names";
    check_quorum_is_known(config)?;
    let (id, voters) = (config.node_id(), config.list("controller.quorum.voters").join(","));
    if config.quorum_voters().iter().any(|voter| voter.id == id) {
        return Err(Violation::new(
            "controller.quorum.voters",
            format!(
                "controller.quorum.voters is set to \"{voters}\" but must not contain this node, {}, whose process.roles is broker",
                id.0
            ),
            scala(&format!(
                "If process.roles contains just the 'broker' role, the node id {} must not be included in the set of voters \
                 controller.quorum.voters={}",
                id.0,
                voter_ids(config)
            )),
        ));
    }
    let names = config.controller_listener_names();
    let shown = names.join(",");
    if !config.controller_listeners().is_empty() {
        return Err(Violation::new(
            NAMES,
            format!(
                "{NAMES} is set to \"{shown}\" but must not contain names of listeners when process.roles is broker"
            ),
            scala(
                "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft \
                 with just the broker role",
            ),
        ));
    }
    if let Some(unknown) = names.iter().find(|name| config.protocol_of(&name.to_uppercase()).is_none()) {
        return Err(Violation::new(
            NAMES,
            format!(
                "{NAMES} is set to \"{shown}\" but must only contain names that listener.security.protocol.map knows"
            ),
            format!(
                "Controller listener with name {} defined in controller.listener.names not found in listener.security.protocol.map  \
                 (an explicit security mapping for each controller listener is required if listener.security.protocol.map is \
                 non-empty, or if there are security protocols other than PLAINTEXT in use)",
                unknown.to_uppercase()
            ),
        ));
    }
    if config.boolean("controller.quorum.auto.join.enable") {
        return Err(Violation::new(
            "controller.quorum.auto.join.enable",
            "controller.quorum.auto.join.enable is true but must be false when process.roles is broker"
                .into(),
            scala(
                "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role.",
            ),
        ));
    }
    Ok(())
}

pub(super) fn check_controller_only(config: &Config) -> Result<(), Violation> {
    check_quorum_is_known(config)?;
    if config.advertised_controller_listeners().len() != config.listeners().len() {
        return Err(Violation::new(
            "listeners",
            format!(
                "listeners is set to \"{}\" but must only contain names of controller.listener.names when process.roles is controller",
                config.list("listeners").join(",")
            ),
            scala(
                "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
                 process.roles=controller",
            ),
        ));
    }
    if config.is_set("inter.broker.listener.name")
        && config.controller_listener_names().iter().any(|name| name == config.inter_broker_listener_name())
    {
        return Err(Violation::new(
            "inter.broker.listener.name",
            format!(
                "inter.broker.listener.name is set to \"{}\" but must not be one of controller.listener.names when process.roles is \
                 controller",
                config.inter_broker_listener_name()
            ),
            scala(
                "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration value when \
                 process.roles=controller'",
            ),
        ));
    }
    check_controller_role(config)
}

pub(super) fn check_controller_role(config: &Config) -> Result<(), Violation> {
    const NAMES: &str = "controller.listener.names";
    check_quorum_is_known(config)?;
    let id = config.node_id();
    if !config.quorum_voters().is_empty() && config.quorum_voters().iter().all(|voter| voter.id != id) {
        return Err(Violation::new(
            "controller.quorum.voters",
            format!(
                "controller.quorum.voters is set to \"{}\" but must contain this node, {}, since it has the role controller",
                config.list("controller.quorum.voters").join(","),
                id.0
            ),
            scala(&format!(
                "If process.roles contains the 'controller' role, the node id {} must be included in the set of voters \
                 controller.quorum.voters={}",
                id.0,
                voter_ids(config)
            )),
        ));
    }
    let names = config.controller_listener_names();
    if names.is_empty() && config.is_alone() {
        return Ok(());
    }
    let shown = names.join(",");
    if config.advertised_controller_listeners().is_empty() {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must contain at least one of the names in listeners"),
            scala(
                "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when running \
                 the KRaft controller role",
            ),
        ));
    }
    if !names.iter().all(|name| config.listeners().iter().any(|listener| listener.name == *name)) {
        return Err(Violation::new(
            NAMES,
            format!("{NAMES} is set to \"{shown}\" but must only contain names in listeners"),
            scala(
                "controller.listener.names must only contain values appearing in the 'listeners' configuration when running the KRaft \
                 controller role",
            ),
        ));
    }
    Ok(())
}

/// As Scala shows a set: `Set(1, 2)`.
fn voter_ids(config: &Config) -> String {
    let ids: Vec<String> = config.quorum_voters().iter().map(|voter| voter.id.0.to_string()).collect();
    format!("Set({})", ids.join(", "))
}
