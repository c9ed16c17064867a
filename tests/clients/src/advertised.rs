//! What a broker says it can do, asked by a frame of its own: no client's opinion lies between.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No broker has more APIs than this; a longer answer is not one.
const MOST_APIS: usize = 200;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The size of one API in the answer: key, lowest and highest version.
const API_BYTES: usize = 6;

/// The highest version of each API, by its key.
#[derive(Debug)]
pub struct Advertised(BTreeMap<i16, i16>);

impl Advertised {
    /// By `ApiVersions`, version 0.
    pub fn by(bootstrap: &str) -> Advertised {
        let mut socket = TcpStream::connect(bootstrap).expect("the broker listens");
        socket.set_read_timeout(Some(ANSWER_LIMIT)).expect("a read timeout");
        // length, api key 18, version 0, correlation id 7, client id "t"
        socket.write_all(&[0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 7, 0, 1, b't']).expect("the question is sent");
        let mut head = [0; 14]; // length, correlation id, error code, number of APIs
        socket.read_exact(&mut head).expect("the head of the answer");
        let count = usize::from(u16::from_be_bytes([head[12], head[13]]));
        assert!(
            head[4..10] == [0, 0, 0, 7, 0, 0] && count <= MOST_APIS,
            "no answer to ApiVersions: {head:?}"
        );
        let mut apis = vec![0; count * API_BYTES];
        socket.read_exact(&mut apis).expect("the APIs of the answer");
        let api = |bytes: &[u8]| {
            let word = |at: usize| i16::from_be_bytes([bytes[at], bytes[at + 1]]);
            (word(0), word(4))
        };
        Advertised(apis.chunks_exact(API_BYTES).map(api).collect())
    }

    /// The first API of `needs` (`Name(key) vN`) that is not there.
    pub fn lacks<'a>(&self, needs: &[&'a str]) -> Option<&'a str> {
        let missing = |need: &&&str| {
            let parsed = Need::parse(need).unwrap_or_else(|| panic!("'{need}' is no API at a version"));
            !self.has(&parsed)
        };
        needs.iter().find(missing).copied()
    }

    pub fn has(&self, need: &Need) -> bool {
        self.0.get(&need.key).is_some_and(|highest| *highest >= need.version)
    }
}

/// An API at a version, written `Name(key) vN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    pub name: String,
    key: i16,
    version: i16,
}

impl Need {
    pub fn parse(text: &str) -> Option<Need> {
        let (name, rest) = text.split_once('(')?;
        let (key, version) = rest.split_once(") v")?;
        Some(Need { name: name.to_owned(), key: key.parse().ok()?, version: version.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_met_from_its_version_on() {
        let need = Need::parse("ConsumerGroupHeartbeat(68) v1").expect("a need");
        let met = |versions: &[(i16, i16)]| Advertised(versions.iter().copied().collect()).has(&need);
        assert_eq!(
            [met(&[(68, 1)]), met(&[(68, 0)]), met(&[(67, 5)]), met(&[(68, 2)])],
            [true, false, false, true]
        );
        assert_eq!(Need::parse("JoinGroup 11"), None);
    }
}
