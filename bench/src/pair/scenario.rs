//! What a scenario is, and finding one by its name. The table is in [`super::table`].

use std::borrow::Cow;
use std::sync::LazyLock;

use super::contestant::{Contestant, DOHLE, DOHLE_SYNCED, KAFKA};
use super::{Lab, table};
use crate::Outcome;
use crate::client::Codec;

/// Figures by name, in the order they are shown.
pub type Metrics = Vec<(&'static str, f64)>;

/// A promise about a figure.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub metric: &'static str,
    pub of: Contestant,
    /// What is promised.
    pub bound: Bound,
    /// What is wished for: a number of the same kind as the bound's.
    pub aim: f64,
}

#[derive(Clone, Copy, Debug)]
pub enum Bound {
    Most(f64),
    /// This many times another contestant's, or less.
    MostTimes(f64, Contestant),
    LeastTimes(f64, Contestant),
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: Cow<'static, str>,
    pub about: Cow<'static, str>,
    pub contestants: &'static [Contestant],
    pub measure: Measure,
    pub bars: Vec<Bar>,
    /// Whether it is among the figures that are promised, and so runs unless others are named.
    pub promised: bool,
    /// One round tells all.
    pub deterministic: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Measure {
    /// A function that starts its own broker.
    By(fn(&Lab, Contestant) -> Outcome<Metrics>),
    /// A load of this shape on a warm broker.
    Load(Way, Shape),
}

/// What is done with a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Produced, then consumed from the start.
    InAndOut,
    /// Produced.
    Produce,
    /// Produced at a rate, and read at the tail meanwhile.
    EndToEnd,
}

/// A load without its broker: what differs between scenarios.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub partitions: i32,
    pub connections: usize,
    pub record_size: usize,
    pub batch_size: usize,
    pub batches_per_request: usize,
    pub pipeline: usize,
    pub acks: i16,
    pub codec: Codec,
    pub keys: u64,
    pub readers: usize,
    /// Bytes of values per second; without it, as fast as answers come.
    pub rate: Option<u64>,
    pub amount: Amount,
    pub topic_config: &'static [&'static str],
    /// Settings of the broker, by Kafka's names.
    pub settings: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// This part of `--volume-gb`.
    Volume(f64),
    /// `--rate-seconds`.
    Time,
}

/// What the promised figures are about: 1 KiB records in 64 KiB batches, one per request, five requests on their way, 12 partitions.
pub const STANDARD: Shape = Shape {
    partitions: 12,
    connections: 1,
    record_size: 1024,
    batch_size: 64 << 10,
    batches_per_request: 1,
    pipeline: 5,
    acks: -1,
    codec: Codec::None,
    keys: 0,
    readers: 1,
    rate: None,
    amount: Amount::Volume(1.0),
    topic_config: &[],
    settings: &[],
};

/// A scenario that promises nothing.
pub fn scenario(name: &'static str, about: &'static str, measure: Measure) -> Scenario {
    Scenario {
        name: Cow::Borrowed(name),
        about: Cow::Borrowed(about),
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure,
        bars: Vec::new(),
        promised: false,
        deterministic: false,
    }
}

impl Scenario {
    pub fn of(self, contestants: &'static [Contestant]) -> Self {
        Self { contestants, ..self }
    }

    /// Among the figures that are promised.
    pub fn promises<const N: usize>(self, bars: [Bar; N]) -> Self {
        Self { bars: bars.to_vec(), promised: true, ..self }
    }

    /// What can be measured in one life of a broker with others.
    pub fn shares_a_broker(&self) -> bool {
        matches!(self.measure, Measure::Load(_, shape) if shape.settings.is_empty())
    }
}

/// Every scenario, the cells of the matrix last.
pub fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> =
        LazyLock::new(|| table::scenarios().into_iter().chain(table::matrix()).collect());
    &ALL
}

/// Those that a name means: one, or all whose names begin with what stands before a star.
pub fn named(name: &str) -> Outcome<Vec<&'static Scenario>> {
    let found: Vec<&Scenario> = match name.strip_suffix('*') {
        Some(beginning) => all().iter().filter(|scenario| scenario.name.starts_with(beginning)).collect(),
        None => all().iter().filter(|scenario| scenario.name == name).collect(),
    };
    if found.is_empty() {
        return Err(format!("there is no scenario {name}; --scenario list prints all").into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_bars_are_about_those_who_take_part() {
        let names: HashSet<&str> = all().iter().map(|scenario| &*scenario.name).collect();
        assert_eq!(names.len(), all().len());
        for scenario in all() {
            for bar in &scenario.bars {
                assert!(scenario.contestants.contains(&bar.of), "{}", scenario.name);
            }
        }
    }

    #[test]
    fn a_star_means_many() {
        assert_eq!(named("throughput").unwrap().len(), 1);
        assert!(named("matrix-*").unwrap().len() > 50);
        assert!(named("nothing").is_err() && named("nothing*").is_err());
    }
}
