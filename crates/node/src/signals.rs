//! What the operator says while the node runs.

use std::io;
use std::time::Duration;

use dohle_env::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Programs such as timeout(1) send a signal to the process and to its group: what comes again so soon is the same one.
const ECHO: Duration = Duration::from_millis(250);

/// SIGTERM and SIGINT (Ctrl-C), from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// One that comes after `first`, which came just now, and is not its echo.
    pub async fn next_after(&mut self, first: &'static str, clock: &Clock) -> &'static str {
        let began = clock.tick();
        loop {
            let name = self.next().await;
            if name != first || clock.tick().since(began) > ECHO {
                return name;
            }
        }
    }

    /// The next of them, by name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
