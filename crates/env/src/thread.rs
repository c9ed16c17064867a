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

/// As [`spawn`], for a thread on whose work others wait without end: if it meets a bug, the process ends. A restart recovers
/// everything that was acknowledged; a process that has lost such a thread only looks alive.
pub fn spawn_vital<F>(name: &str, work: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    spawn(name, move || {
        let _guard = EndsProcess;
        work();
    })
}

/// Ends the process when it is dropped by a panic, which has said by then what it found.
struct EndsProcess;

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    const CHILD: &str = "DOHLE_TEST_VITAL_THREAD";

    /// Runs itself once more: a process cannot survive what is tested here.
    #[test]
    fn a_bug_in_a_vital_thread_ends_the_process() {
        if std::env::var_os(CHILD).is_some() {
            _ = super::spawn_vital("vital", || panic!("a bug")).unwrap().join();
            return; // only a process that survives comes here, and reports a passed test
        }
        let name = "thread::tests::a_bug_in_a_vital_thread_ends_the_process";
        let this = std::env::current_exe().unwrap();
        let child = Command::new(this).args(["--exact", name]).env(CHILD, "1").output().unwrap();
        assert!(!child.status.success());
        assert!(!String::from_utf8_lossy(&child.stdout).contains("1 passed"));
    }
}
