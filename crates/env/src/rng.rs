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

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
