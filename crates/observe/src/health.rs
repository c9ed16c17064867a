//! Whether the node serves, and if not, why.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// Which part of its life the node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Starting,
    Ready,
    Stopping,
}

/// The health of a node. Clones are one health.
#[derive(Clone)]
pub struct Health(Arc<Mutex<State>>);

/// Says what a part of the node is doing beside serving; `None` when it is not.
type Activity = Box<dyn Fn() -> Option<String> + Send>;

/// Says what is wrong with a part of the node; `None` when nothing is.
type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

struct State {
    status: Status,
    /// What is wrong, by part of the node.
    troubles: BTreeMap<&'static str, String>,
    /// Who is asked what goes on.
    activities: Vec<(&'static str, Activity)>,
    /// Who is asked what is wrong.
    checks: Vec<(&'static str, Check)>,
}

impl Default for Health {
    fn default() -> Self {
        Self::starting()
    }
}

impl Health {
    pub fn starting() -> Self {
        Self(Arc::new(Mutex::new(State {
            status: Status::Starting,
            troubles: BTreeMap::new(),
            activities: Vec::new(),
            checks: Vec::new(),
        })))
    }

    pub fn set(&self, status: Status) {
        self.lock().status = status;
    }

    /// Says that a part of the node does not do its work: a lost log directory, a quorum out of reach.
    pub fn degrade(&self, part: &'static str, why: impl Into<String>) {
        self.lock().troubles.insert(part, why.into());
    }

    /// Says that a part of the node does its work again.
    pub fn recover(&self, part: &'static str) {
        self.lock().troubles.remove(part);
    }

    /// Has a part of the node asked, at every report, what it does beside serving, such as recovering logs.
    pub fn ask(&self, part: &'static str, activity: impl Fn() -> Option<String> + Send + 'static) {
        self.lock().activities.push((part, Box::new(activity)));
    }

    /// Has a part of the node asked, at every report, what is wrong with it, such as damage in its logs.
    pub fn check<F>(&self, part: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<String>> + Send + 'static,
    {
        self.lock().checks.push((part, Arc::new(move || Box::pin(check()))));
    }

    pub fn status(&self) -> Status {
        self.lock().status
    }

    /// The body of `/healthz`, and whether it comes with 200: while the node serves, also when parts of it do not.
    pub(crate) async fn report(&self) -> (bool, String) {
        let checks = self.lock().checks.clone();
        let mut found = Vec::new();
        for (part, check) in checks {
            found.extend(check().await.map(|why| (part, why)));
        }
        let state = self.lock();
        let mut troubles = state.troubles.clone();
        troubles.extend(found);
        let word = match state.status {
            Status::Starting => "starting",
            Status::Ready if troubles.is_empty() => "ready",
            Status::Ready => "degraded",
            Status::Stopping => "stopping",
        };
        let why: serde_json::Map<_, _> =
            troubles.iter().map(|(part, why)| ((*part).to_owned(), why.clone().into())).collect();
        let mut body = serde_json::json!({ "status": word, "why": why });
        for (part, activity) in &state.activities {
            if let Some(what) = activity() {
                body["doing"][*part] = what.into();
            }
        }
        (state.status == Status::Ready, body.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half done here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_degraded_and_ready_again() {
        let health = Health::starting();
        let report = || dohle_env::thread::block_on(health.report());
        assert_eq!(report(), (false, r#"{"status":"starting","why":{}}"#.into()));
        health.set(Status::Ready);
        health.degrade("log", "/data/\"a\" is lost");
        assert_eq!(report(), (true, r#"{"status":"degraded","why":{"log":"/data/\"a\" is lost"}}"#.into()));
        health.recover("log");
        assert_eq!(report(), (true, r#"{"status":"ready","why":{}}"#.into()));
        let going_on = Arc::new(Mutex::new(Some("3 logs".to_owned())));
        let asked = going_on.clone();
        health.ask("recovery", move || asked.lock().unwrap().clone());
        assert_eq!(report(), (true, r#"{"doing":{"recovery":"3 logs"},"status":"ready","why":{}}"#.into()));
        *going_on.lock().unwrap() = None;
        assert_eq!(report(), (true, r#"{"status":"ready","why":{}}"#.into()));
        let asked = going_on.clone();
        health.check("damage", move || {
            let asked = asked.clone();
            async move { asked.lock().unwrap().clone() }
        });
        assert_eq!(report(), (true, r#"{"status":"ready","why":{}}"#.into()));
        *going_on.lock().unwrap() = Some("a batch".to_owned());
        assert!(report().1.ends_with(r#""status":"degraded","why":{"damage":"a batch"}}"#));
        health.set(Status::Stopping);
        assert!(!report().0);
    }
}
