//! Named threads, each with a single-threaded runtime where it runs tasks.

#![allow(clippy::disallowed_methods)]

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

/// Starts a thread that may block. `name` is cut by the kernel after 15 bytes.
pub fn spawn<T, F>(name: &str, work: F) -> io::Result<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).stack_size(1 << 20).spawn(work)
}

/// Starts a thread that runs the future `main` makes, and every task spawned from it, until that future is done.
///
/// `main` runs on the new thread, so that what it builds never has to be `Send`.
pub fn spawn_runtime<T, F, Fut>(name: &str, main: F) -> io::Result<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T>,
{
    spawn(name, move || block_on(async move { main().await }))
}

/// Runs a future, and every task spawned from it, on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()
        .expect("a runtime needs an epoll descriptor and an event descriptor");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, future)
}

/// Lets this thread, one that may block, rest for a while.
pub fn sleep(duration: std::time::Duration) {
    std::thread::sleep(duration);
}

/// How many threads this process may run at once: what its CPU set and its control group leave it.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
