//! What each client goes through.

mod places;
mod records;
mod sizes;
mod topics;

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::client::{Client, Session, everything};
use dohle_tests_clients::target::Target;

/// One broker, all clients connected to it, one of them the writer.
pub struct Stage {
    pub target: Target,
    pub writer: Client,
    sessions: Vec<Session>,
    pub checks: Checks,
}

impl Stage {
    fn with(writer: Client) -> Stage {
        let target = Target::start();
        let start = |client: Client| client.start(&target.bootstrap(), target.folder());
        let sessions = Client::ALL.map(start).into();
        Stage { target, writer, sessions, checks: Checks::of(writer.name()) }
    }

    pub fn session(&mut self, client: Client) -> &mut Session {
        self.sessions.iter_mut().find(|s| s.client == client).expect("every client has a session")
    }

    pub fn writer(&mut self) -> &mut Session {
        self.session(self.writer)
    }

    /// The clients that can read what was written with these codecs.
    pub fn readers(&self, codecs: &[&str]) -> Vec<Client> {
        Client::ALL.into_iter().filter(|c| codecs.iter().all(|codec| c.codecs().contains(codec))).collect()
    }
}

/// Everything for one client.
pub fn run(writer: Client) {
    let mut stage = Stage::with(writer);
    for part in
        [records::codecs, records::settings, records::append_time, places::seek, sizes::limits, topics::all]
    {
        part(&mut stage);
    }
    stage.checks.finish(owed(writer));
}

/// How many checks a writer owes, counted once and written down: a part that silently shrinks is red.
fn owed(writer: Client) -> usize {
    match (writer, everything()) {
        (Client::KafkaJs, false) => 148,
        (Client::KafkaJs, true) => 172,
        (_, false) => 173,
        (_, true) => 207,
    }
}
