//! The token that an append is stored: nothing is acknowledged without one.

use dohle_log::{Appended, Durable};

/// An append that is stored as its request asked.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// Private, so that only [`Acknowledged::new`] can make one.
    appended: Appended,
}

impl Acknowledged {
    pub fn new(appended: Appended, durable: Durable) -> Self {
        assert!(durable.up_to() > appended.last, "what is not stored is not acknowledged");
        Self { appended }
    }

    pub fn appended(&self) -> &Appended {
        &self.appended
    }
}
