//! Where a node listens, what it advertises, and whom it asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dohle_types::NodeId;

use crate::InvalidConfig;

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// The protocol's number in registrations (`SecurityProtocol.id`).
    pub const fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Kafka takes the name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The name in upper case, as Kafka normalises it.
    pub name: String,
    pub protocol: SecurityProtocol,
    /// A host name or address without brackets. Empty in `listeners` for "all addresses".
    pub host: String,
    /// 0 in `listeners` for a port that the kernel picks.
    pub port: u16,
}

/// What to bind for a listener's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindHost {
    /// No host was given: every address of the machine.
    Wildcard,
    /// `localhost`: 127.0.0.1 and ::1, both, where the machine has both.
    Loopback,
    Address(IpAddr),
    /// A name that has to be resolved.
    Name(String),
}

impl Listener {
    pub fn bind_host(&self) -> BindHost {
        if self.host.is_empty() {
            return BindHost::Wildcard;
        }
        if self.host.eq_ignore_ascii_case("localhost") {
            return BindHost::Loopback;
        }
        match self.host.parse() {
            Ok(address) => BindHost::Address(address),
            Err(_) => BindHost::Name(self.host.clone()),
        }
    }

    /// Whether who connects to `host` from this machine meets what is bound here, as far as that can be told without a look-up.
    pub(crate) fn reaches(&self, host: &str, host_name: Option<&str>) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let is_loopback =
            host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback());
        let is_machine = is_loopback || host_name.is_some_and(|name| name.eq_ignore_ascii_case(host));
        match self.bind_host() {
            BindHost::Wildcard => is_machine,
            BindHost::Loopback => is_loopback,
            BindHost::Address(bound) if bound.is_unspecified() => is_machine,
            BindHost::Address(bound) => Some(bound) == address || (bound.is_loopback() && is_loopback),
            BindHost::Name(name) => name.eq_ignore_ascii_case(host),
        }
    }
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.name, HostPort { host: self.host.clone(), port: self.port })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One entry of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub id: NodeId,
    pub address: HostPort,
}

/// Which protocol each listener name speaks.
pub(crate) type ProtocolMap = BTreeMap<String, SecurityProtocol>;

/// `NAME:PROTOCOL` pairs. The error is the pair at fault.
pub(crate) fn parse_protocol_map(text: &str) -> Result<ProtocolMap, String> {
    let mut map = ProtocolMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, protocol) = pair.rsplit_once(':').ok_or(pair)?;
        map.insert(name.trim().to_uppercase(), SecurityProtocol::from_name(protocol.trim()).ok_or(pair)?);
    }
    Ok(map)
}

/// One URI of `listeners`. The error says what is wrong with it, in Kafka's words.
pub(crate) fn parse_listener(uri: &str, protocols: &ProtocolMap) -> Result<Listener, String> {
    let unparsable = || format!("Unable to parse {uri} to a broker endpoint");
    let (name, address) = uri.trim().split_once("://").ok_or_else(unparsable)?;
    let HostPort { host, port } = parse_host_port(address).ok_or_else(unparsable)?;
    let name = name.to_uppercase();
    match protocols.get(&name) {
        Some(&protocol) => Ok(Listener { name, protocol, host, port }),
        None => Err(format!("No security protocol defined for listener {name}")),
    }
}

/// Names and ports of one list must differ, except that one port may serve an IPv4 and an IPv6 address.
pub(crate) fn check_distinct(listeners: &[Listener], ports_too: bool) -> Result<(), String> {
    for (at, listener) in listeners.iter().enumerate() {
        for other in &listeners[..at] {
            if other.name == listener.name {
                return Err("Each listener must have a different name".into());
            }
            let same_port = listener.port != 0 && other.port == listener.port;
            if ports_too && same_port && !is_one_of_each_family(&listener.host, &other.host) {
                return Err(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the other \
                     IPv6 address"
                        .into(),
                );
            }
        }
    }
    Ok(())
}

fn is_one_of_each_family(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a.is_ipv4() != b.is_ipv4(),
        _ => false,
    }
}

/// `host:port`, `[ipv6]:port` or `:port`.
pub(crate) fn parse_host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_host(host).then_some(())?;
    Some(HostPort { host: host.to_owned(), port: port.parse().ok()? })
}

/// Letters, digits and what names and IPv6 addresses with a zone are made of (`Utils.validHostPattern`).
pub(crate) fn is_host(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-%._:".contains(&b))
}

pub(crate) fn parse_voters(entries: &[String]) -> Result<Vec<Voter>, InvalidConfig> {
    const KEY: &str = "controller.quorum.voters";
    const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut voters = Vec::new();
    for entry in entries {
        let parts: Vec<&str> = entry.split('@').collect();
        let [id, address] = parts[..] else {
            return Err(InvalidConfig::new(format!("Invalid configuration value for {KEY}. {FORM}")));
        };
        let id = id
            .parse()
            .map_err(|_| InvalidConfig::new(format!("Failed to parse voter ID as an integer from {id}")))?;
        let part = match address.rsplit_once(':') {
            None => Some("host name"),
            Some((host, _))
                if host.is_empty() || !is_host(host.trim_start_matches('[').trim_end_matches(']')) =>
            {
                Some("host name")
            }
            Some((_, port)) => port.parse::<u16>().is_err().then_some("host port"),
        };
        let address = match (part, parse_host_port(address)) {
            (None, Some(address)) => address,
            (part, _) => {
                let part = part.unwrap_or("host name");
                let message =
                    format!("Failed to parse {part} from entry {entry} for the configuration {KEY}. {FORM}");
                return Err(InvalidConfig::new(message));
            }
        };
        voters.push(Voter { id: NodeId(id), address });
    }
    Ok(voters)
}

pub(crate) fn parse_bootstrap_servers(entries: &[String]) -> Result<Vec<HostPort>, InvalidConfig> {
    let parse = |entry: &String| {
        parse_host_port(entry).filter(|server| !server.host.is_empty()).ok_or_else(|| {
            let port = entry.rsplit_once(':').is_some_and(|(host, _)| !host.is_empty() && is_host(host));
            let part = if port { "port" } else { "name" };
            InvalidConfig::new(format!(
                "Failed to parse host {part} from {entry} for the configuration controller.quorum.bootstrap.servers. Each entry \
                 should be in the form \"{{host}}:{{port}}\""
            ))
        })
    };
    entries.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(uri: &str) -> Result<Listener, String> {
        let map = parse_protocol_map("PLAINTEXT:PLAINTEXT,INTERNAL:sasl_ssl").expect("well-formed");
        parse_listener(uri, &map)
    }

    #[test]
    fn listeners_are_kafkas() {
        for (uri, name, host, port) in [
            ("PLAINTEXT://:9092", "PLAINTEXT", "", 9092),
            ("plaintext://localhost:0", "PLAINTEXT", "localhost", 0),
            ("PLAINTEXT://[::1]:9092", "PLAINTEXT", "::1", 9092),
            ("INTERNAL://[fe80::1%eth0]:1", "INTERNAL", "fe80::1%eth0", 1),
            ("INTERNAL://kafka-0.kafka:65535", "INTERNAL", "kafka-0.kafka", 65535),
        ] {
            let parsed = listener(uri).expect(uri);
            assert_eq!((parsed.name.as_str(), parsed.host.as_str(), parsed.port), (name, host, port));
        }
        for uri in [
            "PLAINTEXT",
            "PLAINTEXT://localhost",
            "PLAINTEXT://a b:1",
            "PLAINTEXT://:65536",
            "OTHER://:1",
            "://:1",
        ] {
            assert!(listener(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn hosts_bind_what_they_say() {
        let bound = |uri| listener(uri).expect("well-formed").bind_host();
        assert_eq!(bound("PLAINTEXT://:1"), BindHost::Wildcard);
        assert_eq!(bound("PLAINTEXT://localhost:1"), BindHost::Loopback);
        assert_eq!(bound("PLAINTEXT://0.0.0.0:1"), BindHost::Address([0, 0, 0, 0].into()));
        assert_eq!(bound("PLAINTEXT://example.org:1"), BindHost::Name("example.org".into()));
    }

    #[test]
    fn ports_may_repeat_over_families_only() {
        let list =
            |uris: &[&str]| uris.iter().map(|uri| listener(uri).expect("well-formed")).collect::<Vec<_>>();
        let distinct = |uris| check_distinct(&list(uris), true);
        assert!(distinct(&["PLAINTEXT://127.0.0.1:1", "INTERNAL://[::1]:1"]).is_ok());
        assert!(distinct(&["PLAINTEXT://127.0.0.1:1", "INTERNAL://127.0.0.2:1"]).is_err());
        assert!(distinct(&["PLAINTEXT://a:1", "INTERNAL://b:1"]).is_err());
        assert!(distinct(&["PLAINTEXT://a:0", "INTERNAL://b:0"]).is_ok());
        assert!(distinct(&["PLAINTEXT://a:1", "PLAINTEXT://b:2"]).is_err());
    }
}
