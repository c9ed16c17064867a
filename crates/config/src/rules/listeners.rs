//! What is listened on and advertised, and the rules for it.

use super::{Violation, scala};
use crate::listener::{self, ProtocolMap};
use crate::{Config, Listener, SecurityProtocol};

/// `listener.security.protocol.map`; while it is not set, controller listeners speak PLAINTEXT unless something secure is about.
pub(crate) fn protocols(config: &Config) -> Result<ProtocolMap, Violation> {
    const KEY: &str = "listener.security.protocol.map";
    let text = config.text(KEY).unwrap_or_default();
    let mut map = listener::parse_protocol_map(text).map_err(|pair| {
        let name = pair.rsplit_once(':').map_or(pair.as_str(), |(_, protocol)| protocol);
        Violation::new(
            KEY,
            format!(
                "{KEY} is set to \"{text}\" but \"{pair}\" must be NAME:PROTOCOL with one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"
            ),
            format!("Invalid security protocol `{name}` defined in {KEY}"),
        )
    })?;
    let is_secure =
        |name: &str| SecurityProtocol::from_name(name).is_some_and(|p| p != SecurityProtocol::Plaintext);
    let names = config.controller_listener_names();
    let secure = names.iter().any(|name| is_secure(name))
        || config.list("listeners").iter().any(|uri| is_secure(uri.split(':').next().unwrap_or_default()));
    if !config.is_set(KEY) && !secure {
        for name in names {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

/// The entries of `listeners` or `advertised.listeners`.
pub(crate) fn listeners(config: &Config, key: &str, map: &ProtocolMap) -> Result<Vec<Listener>, Violation> {
    let uris = config.list(key);
    let violation = |why: String| {
        let all = uris.join(",");
        Violation::new(
            key,
            format!(
                "{key} is set to \"{all}\" but must be a list of NAME://host:port separated by commas, with names and ports that \
                 differ and names that listener.security.protocol.map knows: {why}"
            ),
            format!("Error creating broker listeners from '[{}]': {why}", uris.join(", ")),
        )
    };
    let parsed: Result<Vec<_>, _> = uris.iter().map(|uri| listener::parse_listener(uri, map)).collect();
    let parsed = parsed.map_err(violation)?;
    listener::check_distinct(&parsed, key == "listeners").map_err(violation)?;
    Ok(parsed)
}

pub(crate) fn inter_broker_listener_name(config: &Config, map: &ProtocolMap) -> Result<String, Violation> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    let Some(name) = config.text(NAME) else {
        return Ok(config.text(PROTOCOL).expect("has a default").to_owned());
    };
    if config.is_set(PROTOCOL) {
        return Err(Violation::new(
            NAME,
            format!("{NAME} is set to \"{name}\" but must not be set together with {PROTOCOL}"),
            format!("Only one of {NAME} and {PROTOCOL} should be set."),
        ));
    }
    let upper = name.to_uppercase();
    if !map.contains_key(&upper) {
        return Err(Violation::new(
            NAME,
            format!(
                "{NAME} is set to \"{name}\" but must be a name that listener.security.protocol.map knows"
            ),
            format!(
                "Listener with name {upper} defined in {NAME} not found in listener.security.protocol.map."
            ),
        ));
    }
    Ok(upper)
}

/// Rules of every node with the broker's role.
pub(super) fn check_advertised(config: &Config) -> Result<(), Violation> {
    let advertised: Vec<&str> =
        config.advertised_listeners().iter().map(|listener| listener.name.as_str()).collect();
    let names = advertised.join(",");
    if advertised.is_empty() {
        return Err(Violation::new(
            "listeners",
            format!(
                "listeners is set to \"{}\" but must contain a listener that is not in controller.listener.names",
                config.list("listeners").join(",")
            ),
            scala(
                "There must be at least one broker advertised listener. Perhaps all listeners appear in controller.listener.names?",
            ),
        ));
    }
    let inter_broker = config.inter_broker_listener_name();
    if !advertised.contains(&inter_broker) {
        return Err(Violation::new(
            "inter.broker.listener.name",
            format!(
                "inter.broker.listener.name is \"{inter_broker}\" but must be one of the advertised listeners, {names}"
            ),
            scala(&format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on \
                 currently configured listeners are {names}"
            )),
        ));
    }
    let listeners: Vec<&str> = config.listeners().iter().map(|listener| listener.name.as_str()).collect();
    if !advertised.iter().all(|name| listeners.contains(name)) {
        let all = listeners.join(",");
        return Err(Violation::new(
            "advertised.listeners",
            format!(
                "advertised.listeners has the names {names} but must only contain names in listeners, {all}"
            ),
            scala(&format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found {names}. \
                 The valid options based on the current configuration are {all}"
            )),
        ));
    }
    Ok(())
}

pub(super) fn check_routable(config: &Config) -> Result<(), Violation> {
    let mut advertised =
        config.advertised_listeners().into_iter().chain(config.advertised_controller_listeners());
    match advertised.find(|listener| listener.host == "0.0.0.0") {
        None => Ok(()),
        Some(listener) => Err(Violation::new(
            "advertised.listeners",
            format!(
                "advertised.listeners has, or takes over from listeners, \"{listener}\" but must name an address that clients can \
                 connect to"
            ),
            scala(
                "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
            ),
        )),
    }
}
