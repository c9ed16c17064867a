//! The only door to the world: clock, randomness, disk, network, threads.
//!
//! Everything above this crate asks an [`Env`] for the time, for chance and for files, so that a test can hand it a world of
//! its own: a clock that is set by hand, a seeded generator, a disk that forgets what was not flushed. `clippy.toml` forbids the
//! standard library's own doors everywhere else.
//!
//! Invariant `SyncedMeansDurable`: a [`Synced`] token is made only by a disk, after the flush it stands for has returned. What
//! acknowledges anything is built from such a token, so that acknowledging what is not stored does not compile.

mod clock;
pub mod disk;
pub mod net;
mod rng;
pub mod task;
pub mod thread;

use std::sync::Arc;

pub use clock::{Clock, ManualClock, Tick};
pub use disk::{Disk, DiskFile, Synced};
pub use rng::{Drawn, Rng};

/// One world. Cloning it is cheap and gives the same world.
#[derive(Clone)]
pub struct Env {
    pub clock: Clock,
    pub rng: Rng,
    pub disk: Arc<dyn Disk>,
}

impl Env {
    /// The world this process runs in.
    pub fn real() -> Self {
        Self { clock: Clock::real(), rng: Rng::real(), disk: Arc::new(disk::RealDisk::new()) }
    }
}
