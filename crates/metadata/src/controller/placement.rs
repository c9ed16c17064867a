//! Where new replicas go (`StripedReplicaPlacer`).
//!
//! Three wishes, in this order: replicas of one partition on different racks; first replicas, hence leaders, evenly over the
//! brokers that are up; followers of one leader on different brokers. Brokers are dealt in stripes: racks in a circle, and
//! within a rack its brokers in a circle, each circle starting one further on for the next partition. Once every broker had
//! its turn as first, the order is shuffled.

use std::collections::BTreeMap;

use dohle_types::NodeId;
use dohle_wire::Text;

use crate::chance::Chance;
use crate::image::Image;

/// A broker that may get replicas.
#[derive(Clone, Debug)]
pub(super) struct UsableBroker {
    pub id: NodeId,
    pub rack: Option<Text>,
    pub fenced: bool,
}

/// Every registered broker but those that are leaving, or that have no directory to put anything in.
pub(super) fn usable_brokers(image: &Image) -> Vec<UsableBroker> {
    image
        .brokers
        .iter()
        .filter(|broker| (broker.fenced || !broker.in_controlled_shutdown) && broker.has_uncordoned_dirs())
        .map(|broker| UsableBroker { id: broker.id, rack: broker.rack.clone(), fenced: broker.fenced })
        .collect()
}

/// Deals out the replicas of `partitions` partitions. The error is Kafka's sentence for `INVALID_REPLICATION_FACTOR`.
pub(super) fn place(
    brokers: Vec<UsableBroker>,
    partitions: usize,
    replicas: i16,
    chance: &mut Chance,
) -> Result<Vec<Vec<NodeId>>, String> {
    let total = brokers.len();
    let unfenced = brokers.iter().filter(|broker| !broker.fenced).count();
    let wanted = usize::try_from(replicas).unwrap_or(0);
    if wanted == 0 {
        return Err(format!(
            "Invalid replication factor {replicas}: the replication factor must be positive."
        ));
    }
    if unfenced == 0 {
        return Err(
            "All brokers are currently fenced, or have all their log directories cordoned.".to_owned()
        );
    }
    if wanted > total {
        return Err(format!(
            "The target replication factor of {wanted} cannot be reached because only {total} broker(s) are \
             registered or some brokers have all their log directories cordoned."
        ));
    }
    let mut racks = Racks::new(brokers, unfenced, chance);
    Ok((0..partitions).map(|_| racks.next(wanted, chance)).collect())
}

/// Brokers in a circle.
#[derive(Default)]
struct Circle {
    brokers: Vec<NodeId>,
    /// How many were dealt in the stripe `epoch`.
    dealt: usize,
    start: usize,
    epoch: usize,
}

impl Circle {
    fn settle(&mut self, chance: &mut Chance) {
        if !self.brokers.is_empty() {
            self.brokers.sort_unstable();
            self.start = chance.below(self.brokers.len());
        }
    }

    /// The next broker of the stripe, or `None` when all had their turn in it.
    fn next(&mut self, epoch: usize) -> Option<NodeId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.dealt = 0;
            self.start = (self.start + 1) % self.brokers.len();
        }
        if self.dealt >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.dealt + self.start) % self.brokers.len()];
        self.dealt += 1;
        Some(broker)
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Circle,
    fenced: Circle,
}

impl Rack {
    fn next(&mut self, epoch: usize) -> Option<NodeId> {
        self.unfenced.next(epoch).or_else(|| self.fenced.next(epoch))
    }
}

struct Racks {
    racks: Vec<Rack>,
    unfenced: usize,
    epoch: usize,
    start: usize,
}

impl Racks {
    fn new(brokers: Vec<UsableBroker>, unfenced: usize, chance: &mut Chance) -> Self {
        let mut by_name: BTreeMap<Option<Text>, Rack> = BTreeMap::new();
        for broker in brokers {
            let rack = by_name.entry(broker.rack).or_default();
            let circle = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            circle.brokers.push(broker.id);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for rack in &mut racks {
            rack.fenced.settle(chance);
            rack.unfenced.settle(chance);
        }
        let start = chance.below(racks.len());
        Self { racks, unfenced, epoch: 0, start }
    }

    /// The replicas of the next partition; the caller has checked that there are enough brokers, one of them unfenced.
    fn next(&mut self, replicas: usize, chance: &mut Chance) -> Vec<NodeId> {
        if self.epoch == self.unfenced && self.unfenced > 1 {
            self.shuffle(chance);
            self.epoch = 0;
        }
        if self.start == self.racks.len() {
            self.start = 0;
        }
        let mut first_rack = self.start;
        let first = loop {
            if let Some(broker) = self.racks[first_rack].unfenced.next(self.epoch) {
                break broker;
            }
            first_rack = (first_rack + 1) % self.racks.len();
        };
        let mut brokers = vec![first];
        // The rack of the first replica is passed over once: another one has its turn first.
        let mut passed_over = Some(first_rack);
        let mut rack = self.start;
        while brokers.len() < replicas {
            if passed_over == Some(rack) {
                passed_over = None;
            } else if let Some(broker) = self.racks[rack].next(self.epoch) {
                brokers.push(broker);
            }
            rack = (rack + 1) % self.racks.len();
        }
        self.epoch += 1;
        self.start += 1;
        brokers
    }

    fn shuffle(&mut self, chance: &mut Chance) {
        chance.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            chance.shuffle(&mut rack.fenced.brokers);
            chance.shuffle(&mut rack.unfenced.brokers);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn broker(id: i32, rack: Option<&str>, fenced: bool) -> UsableBroker {
        UsableBroker { id: NodeId(id), rack: rack.map(Text::from), fenced }
    }

    fn counts(placed: &[Vec<NodeId>], of: impl Fn(&[NodeId]) -> Vec<NodeId>) -> BTreeMap<NodeId, usize> {
        let mut counts = BTreeMap::new();
        for replicas in placed {
            for id in of(replicas) {
                *counts.entry(id).or_default() += 1;
            }
        }
        counts
    }

    #[test]
    fn leaders_and_racks_are_even() {
        let brokers: Vec<_> =
            (0..6).map(|id| broker(id, Some(["a", "b", "c"][id as usize / 2]), false)).collect();
        for seed in 0..50 {
            let placed = place(brokers.clone(), 60, 3, &mut Chance::new(seed)).expect("enough brokers");
            for replicas in &placed {
                let racks: BTreeSet<_> = replicas.iter().map(|id| id.get() / 2).collect();
                assert_eq!(racks.len(), 3, "{replicas:?}");
            }
            let leaders = counts(&placed, |replicas| vec![replicas[0]]);
            assert!(leaders.values().all(|&n| n == 10), "{leaders:?}");
        }
    }

    #[test]
    fn fenced_brokers_come_last_and_never_first() {
        let brokers = vec![broker(1, None, true), broker(2, None, false), broker(3, None, false)];
        for seed in 0..50 {
            for replicas in place(brokers.clone(), 20, 3, &mut Chance::new(seed)).expect("enough brokers") {
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
                assert_eq!(replicas[2], NodeId(1));
            }
        }
    }

    #[test]
    fn refusals_are_kafkas() {
        let one = || vec![broker(1, None, false)];
        let refusal =
            |brokers, replicas| place(brokers, 1, replicas, &mut Chance::new(0)).expect_err("refused");
        assert_eq!(
            refusal(one(), 2),
            "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some \
             brokers have all their log directories cordoned."
        );
        assert_eq!(
            refusal(vec![broker(1, None, true)], 1),
            "All brokers are currently fenced, or have all their log directories cordoned."
        );
        assert_eq!(
            refusal(one(), 0),
            "Invalid replication factor 0: the replication factor must be positive."
        );
    }
}
