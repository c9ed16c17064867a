//! Who may be connected, and which core serves whom.
//!
//! Every core has a doorkeeper; only the accepting core's is asked.
//!
//! Invariants:
//! - `PlacesAddUp`: the cores' connections are as many as all addresses', and as many as the [`Place`]s that are out.
//! - `NoCoreBeyondItsPart`: a connection goes to the core that serves the fewest, so that none serves more than the limit of all, divided
//!   by the cores and rounded up, whoever leaves. Each core shares its descriptors between its clients and its partitions.
//!
//! Bounds: `max.connections`, `max.connections.per.ip` (with its overrides), and what is left of descriptors
//! ([`crate::open_files::Shares`]).

use std::collections::HashMap;
use std::net::IpAddr;

use dohle_config::Config;

/// The place of one connection, given back when it ends.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub core: usize,
    address: IpAddr,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    #[error("max.connections is reached")]
    All,
    #[error("max.connections.per.ip is reached")]
    OfAddress,
    /// `first` for the first one that is turned away.
    #[error("no descriptors are left for more than {clients} clients")]
    Files { clients: usize, first: bool },
}

pub struct Doorkeeper {
    limits: Limits,
    /// How many descriptors there are for connections.
    descriptors: usize,
    /// Whether it was said that there are no more.
    told: bool,
    of_address: HashMap<IpAddr, usize>,
    of_core: Vec<usize>,
    /// The core that comes first among equals.
    turn: usize,
}

/// How many may be connected. All of it can be changed while the node runs.
#[derive(Debug)]
struct Limits {
    all: usize,
    per_address: usize,
    overrides: HashMap<IpAddr, usize>,
}

impl Limits {
    fn of(config: &Config) -> Self {
        let number = |key| usize::try_from(config.int(key)).unwrap_or(usize::MAX);
        let overrides = config.text("max.connections.per.ip.overrides").unwrap_or_default();
        let overrides = overrides.split(',').filter_map(|entry| {
            let (host, limit) = entry.trim().rsplit_once(':')?;
            Some((host.parse().ok()?, limit.parse().ok()?))
        });
        Self {
            all: number("max.connections"),
            per_address: number("max.connections.per.ip"),
            overrides: overrides.collect(),
        }
    }
}

impl Doorkeeper {
    /// Lets in as many as the configuration allows and there are descriptors for.
    pub fn new(config: &Config, descriptors: usize, cores: usize) -> Self {
        Self::with(Limits::of(config), descriptors, cores)
    }

    fn with(limits: Limits, descriptors: usize, cores: usize) -> Self {
        let (of_address, of_core) = (HashMap::new(), vec![0; cores.max(1)]);
        Self { limits, descriptors, told: false, of_address, of_core, turn: 0 }
    }

    /// Takes over changed limits; who is in stays in.
    pub fn follow(&mut self, config: &Config) {
        self.limits = Limits::of(config);
    }

    /// Counts a connection in, or refuses it.
    pub fn admit(&mut self, address: IpAddr) -> Result<Place, TooMany> {
        let all: usize = self.of_core.iter().sum();
        if all >= self.descriptors {
            let first = !std::mem::replace(&mut self.told, true);
            return Err(TooMany::Files { clients: self.descriptors, first });
        }
        if all >= self.limits.all {
            return Err(TooMany::All);
        }
        let limit = self.limits.overrides.get(&address).copied().unwrap_or(self.limits.per_address);
        let count = self.of_address.get(&address).copied().unwrap_or(0);
        if count >= limit {
            return Err(TooMany::OfAddress);
        }
        self.of_address.insert(address, count + 1);
        let core = self.emptiest();
        self.of_core[core] += 1;
        self.turn = (core + 1) % self.of_core.len();
        Ok(Place { core, address })
    }

    /// The core with the fewest connections; among equals the next in turn.
    fn emptiest(&self) -> usize {
        let cores = self.of_core.len();
        let in_turn = (self.turn..cores).chain(0..self.turn);
        in_turn.min_by_key(|core| self.of_core[*core]).expect("there is a core")
    }

    pub fn leave(&mut self, place: Place) {
        self.of_core[place.core] -= 1;
        let count = self.of_address.get_mut(&place.address).expect("who leaves was admitted");
        *count -= 1;
        if *count == 0 {
            self.of_address.remove(&place.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn doorkeeper(all: usize, per_address: usize, descriptors: usize) -> Doorkeeper {
        let limits = Limits { all, per_address, overrides: HashMap::from([(THERE, 1)]) };
        Doorkeeper::with(limits, descriptors, 3)
    }

    #[test]
    fn connections_are_dealt_out_in_turn() {
        let mut doorkeeper = doorkeeper(100, 100, 100);
        let cores: Vec<_> = (0..6).map(|_| doorkeeper.admit(HERE).expect("let in").core).collect();
        assert_eq!(cores, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_core_that_was_left_is_filled_first() {
        let mut doorkeeper = doorkeeper(100, 100, 100);
        let places: Vec<_> = (0..9).map(|_| doorkeeper.admit(HERE).expect("let in")).collect();
        let (leaving, _staying): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.core == 1);
        leaving.into_iter().for_each(|place| doorkeeper.leave(place));
        let cores: Vec<_> = (0..4).map(|_| doorkeeper.admit(HERE).expect("let in").core).collect();
        assert_eq!(cores, [1, 1, 1, 2]);
    }

    #[test]
    fn no_core_serves_more_than_its_part() {
        let mut doorkeeper = doorkeeper(100, 100, 9);
        let mut places = Vec::new();
        for round in 0..50 {
            while let Ok(place) = doorkeeper.admit(HERE) {
                places.push(place);
            }
            assert_eq!(doorkeeper.of_core, [3, 3, 3]);
            // All leave but those of one core, or some of several.
            let (staying, leaving): (Vec<_>, Vec<_>) = places
                .into_iter()
                .enumerate()
                .partition(|(at, place)| place.core == round % 3 || at % 4 == round % 4);
            leaving.into_iter().for_each(|(_, place)| doorkeeper.leave(place));
            places = staying.into_iter().map(|(_, place)| place).collect();
        }
    }

    #[test]
    fn limits_hold_and_are_lifted_by_who_leaves() {
        let mut doorkeeper = doorkeeper(4, 3, 100);
        let mut first = Some(doorkeeper.admit(THERE).expect("let in"));
        assert_eq!(doorkeeper.admit(THERE), Err(TooMany::OfAddress), "an override counts before the rule");
        let here: Vec<_> = (0..3).map(|_| doorkeeper.admit(HERE).expect("let in")).collect();
        assert_eq!(doorkeeper.admit(HERE), Err(TooMany::All));
        doorkeeper.leave(first.take().expect("is in"));
        assert_eq!(doorkeeper.admit(HERE), Err(TooMany::OfAddress));
        assert!(doorkeeper.admit(THERE).is_ok());
        here.into_iter().for_each(|place| doorkeeper.leave(place));
        assert!(doorkeeper.admit(HERE).is_ok());
    }

    #[test]
    fn descriptors_that_are_missing_are_told_once() {
        let mut doorkeeper = doorkeeper(100, 100, 1);
        let place = doorkeeper.admit(HERE).expect("let in");
        assert_eq!(doorkeeper.admit(HERE), Err(TooMany::Files { clients: 1, first: true }));
        assert_eq!(doorkeeper.admit(HERE), Err(TooMany::Files { clients: 1, first: false }));
        doorkeeper.leave(place);
        assert!(doorkeeper.admit(HERE).is_ok());
    }
}
