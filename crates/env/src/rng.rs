//! Chance, from the kernel or from a seed.

use std::sync::{Arc, Mutex};

use dohle_types::Uuid;

/// A source of random bytes. Clones share one stream.
#[derive(Clone)]
pub struct Rng(Source);

#[derive(Clone)]
enum Source {
    Kernel,
    Seeded(Arc<Mutex<u64>>),
}

impl Rng {
    /// The kernel's generator.
    pub fn real() -> Self {
        Self(Source::Kernel)
    }

    /// The same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(seed))))
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0 {
            Source::Kernel => {
                let mut filled = 0;
                while filled < bytes.len() {
                    let n =
                        rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
                    match n {
                        Ok(n) => filled += n,
                        Err(rustix::io::Errno::INTR) => {}
                        Err(error) => panic!("the kernel has no random bytes: {error}"),
                    }
                }
            }
            Source::Seeded(state) => {
                let mut state = state.lock().expect("no panic while the generator is locked");
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&split_mix(&mut state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
    }

    pub fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The bias of the remainder is below bound / 2^64: nothing here could tell.
        self.u64() % bound
    }

    /// A fresh id that Kafka's tools accept (`Uuid.randomUuid`).
    pub fn uuid(&self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            self.fill(&mut bytes);
            if let Some(id) = Uuid::from_random(bytes) {
                return id;
            }
        }
    }
}

/// Random numbers of one thread, which asks for as many at a time as fit: a system call for each would cost more than most requests.
pub struct Drawn {
    numbers: [u64; DRAWN],
    left: usize,
}

const DRAWN: usize = 64;

impl Default for Drawn {
    fn default() -> Self {
        Self { numbers: [0; DRAWN], left: 0 }
    }
}

impl Drawn {
    /// The next number. None is given out twice, and none stays here that was given out.
    pub fn next(&mut self, rng: &Rng) -> u64 {
        if self.left == 0 {
            let mut bytes = [0; DRAWN * 8];
            rng.fill(&mut bytes);
            for (number, chunk) in self.numbers.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *number = u64::from_le_bytes(*chunk);
            }
            self.left = DRAWN;
        }
        self.left -= 1;
        std::mem::take(&mut self.numbers[self.left])
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_drawn_number_comes_twice() {
        for rng in [Rng::real(), Rng::seeded(1)] {
            let mut drawn = Drawn::default();
            let numbers: BTreeSet<u64> = (0..3 * DRAWN + 1).map(|_| drawn.next(&rng)).collect();
            assert_eq!(numbers.len(), 3 * DRAWN + 1);
            assert!(!numbers.contains(&0), "what was given out is not what is left behind");
        }
    }
}
