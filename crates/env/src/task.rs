//! Tasks and timers on the current thread's runtime.

#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub use tokio::task::{JoinError, JoinHandle};

/// Starts a task on this thread. Only inside a `LocalSet`, which every core and the control thread run.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    tokio::task::spawn_local(future)
}

pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The deadline passed before the future was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `future`, but not longer than `duration`.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// Runs `work`, which may block, on a thread for blocking work, and gives its result.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A timer that is polled, for tasks that wait for several things in one hand-written `poll`.
pub struct Timer(Pin<Box<tokio::time::Sleep>>);

impl Timer {
    pub fn after(duration: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(duration)))
    }

    /// Sets the timer anew, whether it has fired or not.
    pub fn reset(&mut self, duration: Duration) {
        self.0.as_mut().reset(tokio::time::Instant::now() + duration);
    }

    /// Ready once the time has passed, and from then on until it is reset.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Lets every other task of this thread that can run do so first.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}
