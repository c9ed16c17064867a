//! What the rest of the process holds of the controller: a queue into its thread, the committed images, and its status.

use std::sync::Arc;
use std::time::Duration;

use dohle_metadata::{Image, RequestContext};
use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset};
use dohle_wire::{AnyRequest, AnyResponse};
use tokio::sync::{mpsc, oneshot, watch};

/// How many requests may wait for the controller thread. A further one is refused at once: the thread handles everything that
/// waits between two flushes, so a full queue means that the disk does not keep up.
pub const MAX_WAITING_REQUESTS: usize = 4096;

/// How long a request waits for its answer when its caller names no deadline of its own.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// A request on its way to the controller thread.
pub(crate) struct Asked {
    pub context: RequestContext,
    pub version: i16,
    pub request: AnyRequest,
    pub answer: oneshot::Sender<Result<AnyResponse, Refused>>,
}

/// What the controller thread is told from outside.
pub(crate) enum Command {
    Ask(Box<Asked>),
    Shutdown(oneshot::Sender<()>),
}

/// Why a request got no answer of its own. Nothing is known of whether it took effect unless the variant says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not taken: [`MAX_WAITING_REQUESTS`] wait already.
    #[error("the controller has too many requests waiting")]
    Full,
    /// May still take effect.
    #[error("the controller did not answer in time")]
    Deadline,
    /// May still take effect: this node lost the lead of the metadata quorum before it was known to be committed.
    #[error("this node is no longer the active controller")]
    NotActive,
    /// Not taken: the controller does not serve this API.
    #[error("the controller does not serve this API")]
    Unknown,
    /// May have taken effect: the metadata log failed while the request was being stored.
    #[error("the metadata log is offline")]
    Offline,
    /// The controller thread has ended.
    #[error("the controller has stopped")]
    Stopped,
}

impl Refused {
    /// What the client is told.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Full | Self::Deadline => ErrorCode::RequestTimedOut,
            Self::NotActive | Self::Stopped => ErrorCode::NotController,
            Self::Unknown => ErrorCode::UnsupportedVersion,
            Self::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// Where the controller stands, for metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The leader of the metadata quorum, where known.
    pub leader: Option<NodeId>,
    pub epoch: LeaderEpoch,
    /// Everything below is committed. `None` until it is known in this epoch.
    pub high_watermark: Option<Offset>,
    /// The end of the metadata log, committed or not.
    pub end: Offset,
    /// The last offset contained in the published image.
    pub last_applied: Offset,
    /// The level of the feature `kraft.version`, which is kept by the quorum and not among the metadata.
    pub kraft_version: i16,
    /// Whether this node is the controller and answers.
    pub active: bool,
    /// Why the metadata log is offline, when it is.
    pub offline: Option<String>,
}

/// The controller, as seen from other threads. Clones speak to the same one.
#[derive(Clone)]
pub struct ControllerHandle {
    commands: mpsc::Sender<Command>,
    images: watch::Receiver<Arc<Image>>,
    status: watch::Receiver<Status>,
}

impl ControllerHandle {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        images: watch::Receiver<Arc<Image>>,
        status: watch::Receiver<Status>,
    ) -> Self {
        Self { commands, images, status }
    }

    /// Asks the controller, waiting at most [`DEFAULT_DEADLINE`]. What changes metadata is answered when it is durable and
    /// committed; what only reads, when everything it has read is.
    pub async fn request(
        &self,
        context: RequestContext,
        version: i16,
        request: AnyRequest,
    ) -> Result<AnyResponse, Refused> {
        self.request_within(DEFAULT_DEADLINE, context, version, request).await
    }

    /// As [`ControllerHandle::request`], with a deadline of the caller's.
    pub async fn request_within(
        &self,
        deadline: Duration,
        context: RequestContext,
        version: i16,
        request: AnyRequest,
    ) -> Result<AnyResponse, Refused> {
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(Asked { context, version, request, answer });
        self.commands.try_send(Command::Ask(asked)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })?;
        match dohle_env::task::timeout(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refused::Stopped),
            Err(_) => Err(Refused::Deadline),
        }
    }

    /// The committed images, newest last. The first one is there when [`crate::start`] returns.
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.images.clone()
    }

    /// The newest committed image.
    pub fn image(&self) -> Arc<Image> {
        self.images.borrow().clone()
    }

    /// Where the controller stands, and its changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Resigns, closes the metadata log cleanly and ends the thread. Returns when that is done.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.commands.send(Command::Shutdown(done)).await.is_ok() {
            // An error means that the thread ended before it could say so, which is what was asked for.
            let _ = finished.await;
        }
    }
}
