//! The latest offset of each key of a range of the log, within a fixed amount of memory.
//!
//! Keys are not kept: an entry is a 128-bit hash of the key under a secret drawn for this map, and an offset, 24 bytes. Whoever
//! chooses keys can neither make two of them look alike nor make a search long.
//!
//! ```text
//! shard 0:  [hash 128 bits | offset + 1, 0 when free] ...     open addressing, linear probing
//! ...       each shard grows by itself, so that growing needs little room beside what is there
//! shard 63
//! ```
//! Bound: what the map holds, the growing of a shard included, is never more than the budget it was made with (but for a map of less
//! than a mebibyte, which is one shard).

use dohle_env::Rng;
use dohle_types::Offset;

use super::sip::hash128;

/// What one entry takes; `log.cleaner.dedupe.buffer.size` divided by this is how many there can be.
const ENTRY_BYTES: usize = size_of::<Slot>();

const SHARDS: usize = 64;
/// A map for fewer slots is not divided.
const SMALLEST_SHARDED: usize = SHARDS * 512;
/// What a shard starts with.
const FIRST_SLOTS: usize = 16;

/// Hash, and the offset plus one; zero for a free slot.
type Slot = [u64; 3];

/// See the module's documentation.
pub struct KeyMap {
    secret: [u64; 2],
    shards: Vec<Shard>,
    most_slots_per_shard: usize,
    most_keys: usize,
    keys: usize,
    latest: Offset,
}

#[derive(Clone, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

impl KeyMap {
    /// A map that never takes more than `budget_bytes`, and is full when `load_factor` of its slots are taken.
    pub fn new(budget_bytes: usize, load_factor: f64, rng: &Rng) -> Self {
        let slots = (budget_bytes / ENTRY_BYTES).max(2);
        let shards = if slots >= SMALLEST_SHARDED { SHARDS } else { 1 };
        // While a shard grows, its old slots are there beside the new ones.
        let most_slots_per_shard = if shards == 1 { slots } else { slots / (shards + 1) };
        let slots = most_slots_per_shard * shards;
        let most_keys = ((slots as f64 * load_factor.clamp(0.0, 1.0)) as usize).clamp(1, slots - 1);
        Self {
            secret: [rng.u64(), rng.u64()],
            shards: vec![Shard::default(); shards],
            most_slots_per_shard,
            most_keys,
            keys: 0,
            latest: Offset::NONE,
        }
    }

    /// Notes that a record with this key is at `offset`, after all that were noted before. `false`, and nothing noted, when the
    /// map is full.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = hash128(self.secret, key);
        let value = (offset.get() + 1) as u64;
        let at = shard_of(hash, self.shards.len());
        let shard = &mut self.shards[at];
        if self.keys == self.most_keys || !shard.make_room(self.most_slots_per_shard) {
            return false;
        }
        let slot = shard.find(hash);
        if shard.slots[slot][2] == 0 {
            shard.used += 1;
            self.keys += 1;
        }
        shard.slots[slot] = [hash[0], hash[1], value];
        self.latest = offset;
        true
    }

    /// The latest offset that was noted for a key.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = hash128(self.secret, key);
        let shard = &self.shards[shard_of(hash, self.shards.len())];
        if shard.used == 0 {
            return None;
        }
        let value = shard.slots[shard.find(hash)][2];
        (value > 0).then(|| Offset(value as i64 - 1))
    }

    /// Up to where, inclusive, the map knows the log.
    pub fn latest(&self) -> Offset {
        self.latest
    }

    /// Says that the map knows the log up to `offset`, whatever was noted.
    pub fn covers(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    pub fn len(&self) -> usize {
        self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// What the map takes now.
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.capacity() * ENTRY_BYTES).sum()
    }

    /// How much of what the map may hold is taken.
    pub fn utilization(&self) -> f64 {
        self.keys as f64 / self.most_keys as f64
    }
}

impl Shard {
    /// Whether one more key can be taken, after growing if that helps. One slot always stays free: it ends a search.
    fn make_room(&mut self, most: usize) -> bool {
        let slots = self.slots.len();
        if self.used * 4 >= slots * 3 && slots < most {
            self.grow((slots * 2).clamp(FIRST_SLOTS.min(most), most));
        }
        self.used + 1 < self.slots.len()
    }

    fn grow(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![[0; 3]; slots]);
        for slot in old.into_iter().filter(|slot| slot[2] > 0) {
            let at = self.find([slot[0], slot[1]]);
            self.slots[at] = slot;
        }
    }

    /// The slot that holds the hash, or the free one where it would go.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mut at = spread(hash[1], self.slots.len());
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0] == hash[0] && slot[1] == hash[1]) {
                return at;
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }
}

fn shard_of(hash: [u64; 2], shards: usize) -> usize {
    spread(hash[0], shards)
}

/// A number below `below` from a hash, each as likely.
fn spread(hash: u64, below: usize) -> usize {
    ((u128::from(hash) * below as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(n: u64) -> Vec<u8> {
        format!("key {n}").into_bytes()
    }

    #[test]
    fn it_says_what_a_plain_map_says_up_to_its_bound() {
        for budget in [48, 100, 1000, 24 * 1024, 2 << 20] {
            let mut map = KeyMap::new(budget, 0.9, &Rng::seeded(7));
            let mut twin = HashMap::new();
            let random = Rng::seeded(3);
            let mut offset = 0;
            loop {
                let n = random.below(120_000);
                if !map.put(&key(n), Offset(offset)) {
                    break;
                }
                twin.insert(n, Offset(offset));
                offset += 1;
                assert!(map.memory_bytes() <= budget, "{} of {budget} bytes", map.memory_bytes());
            }
            assert_eq!(map.len(), twin.len());
            assert!(
                map.len() >= (budget / ENTRY_BYTES) * 8 / 10 || budget < 100,
                "{} keys in {budget}",
                map.len()
            );
            for n in (0..120_000).step_by(3) {
                assert_eq!(map.get(&key(n)), twin.get(&n).copied());
            }
        }
    }

    #[test]
    fn a_map_takes_no_memory_before_it_is_used() {
        let map = KeyMap::new(128 << 20, 0.9, &Rng::seeded(1));
        assert_eq!(map.memory_bytes(), 0);
        assert_eq!(map.get(b"a"), None);
    }
}
