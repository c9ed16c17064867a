//! How the program ends: one sentence on stderr and one number for each reason. The numbers are promised in
//! `docs/paths/start.md`.

use std::fmt;
use std::io;
use std::process::ExitCode;

use dohle_controller::format::FormatError;
use dohle_log::LogError;

/// Why the program ends otherwise than as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// None of the others.
    Failed = 1,
    // 2 is for a command line that is not understood.
    /// The configuration contradicts itself or has a value that is not allowed.
    Config = 3,
    /// An address to listen on is taken, or not this machine's.
    Address = 4,
    /// A folder or file may not be read or written.
    Permission = 5,
    /// A folder is used by another process.
    InUse = 6,
    DiskFull = 7,
    /// The clock cannot be right.
    Clock = 8,
    /// Something stored is damaged.
    Damaged = 9,
    /// A folder belongs to another node or cluster.
    NotOurs = 10,
    /// This version does not do what is asked for.
    Unserved = 11,
    /// Told to stop without waiting for what was under way.
    Forced = 12,
    /// The metadata's disk has failed while the node ran, or that of the last log directory.
    LostDisk = 13,
}

#[derive(Debug)]
pub struct Failure {
    reason: Reason,
    sentence: String,
    told: bool,
}

impl Failure {
    pub fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { reason, sentence: sentence.trim_end_matches('.').to_owned(), told: false }
    }

    /// Says what happened as a log line, for programs that read those.
    pub fn log(mut self) -> Self {
        tracing::error!(exit = self.reason as u8, "{}.", self.sentence);
        self.told = true;
        self
    }

    /// Says what happened, as the last line on stderr, unless a log line has said it.
    pub fn tell(&self) {
        if !self.told {
            eprintln!("dohle: {}.", self.sentence);
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.reason as u8)
    }

    #[cfg(test)]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// The reason behind what the kernel says of a file.
pub fn reason_of(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Reason::Permission,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => Reason::Address,
        io::ErrorKind::InvalidData => Reason::Damaged,
        _ => Reason::Failed,
    }
}

/// What the kernel says, without the number behind it.
pub fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    if error.kind() == io::ErrorKind::StorageFull { "the disk is full".to_owned() } else { plain }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Io { action, path, source } => {
                let (path, why) = (path.display(), plainly(&source));
                Self::new(reason_of(&source), format!("{action} {path} failed: {why}"))
            }
            LogError::InUse { path } => {
                let path = path.display();
                Self::new(
                    Reason::InUse,
                    format!(
                        "the folder {path} is in use by another process: stop that one, or use another folder"
                    ),
                )
            }
            error @ LogError::Corrupt { .. } => Self::new(Reason::Damaged, error.to_string()),
            error => Self::new(Reason::Failed, error.to_string()),
        }
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        let reason = match error {
            FormatError::Io { path, source } => {
                let (path, why) = (path.display(), plainly(&source));
                return Self::new(reason_of(&source), format!("writing {path} failed: {why}"));
            }
            FormatError::LogDir(error) => return error.into(),
            FormatError::OtherCluster { .. } | FormatError::OtherNode { .. } => Reason::NotOurs,
            FormatError::NodeId(_) | FormatError::MetadataDir(_) | FormatError::Feature(_) => Reason::Config,
            FormatError::AlreadyFormatted(_) => Reason::Failed,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<dohle_controller::StartError> for Failure {
    fn from(error: dohle_controller::StartError) -> Self {
        use dohle_controller::StartError;
        let reason = match error {
            StartError::Io { path, source } => {
                let (path, why) = (path.display(), plainly(&source));
                return Self::new(reason_of(&source), format!("using {path} failed: {why}"));
            }
            StartError::Log(error) => return error.into(),
            StartError::Corrupt { .. } | StartError::Replay(_) => Reason::Damaged,
            StartError::Unsupported(_) => Reason::Unserved,
            StartError::Thread(_) => Reason::Failed,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<dohle_broker::listener::BindError> for Failure {
    fn from(error: dohle_broker::listener::BindError) -> Self {
        let address = &error.address;
        let why = match error.error.kind() {
            io::ErrorKind::AddrInUse => {
                format!(
                    "{address} is in use by another process: stop that one, or choose another address with --listen"
                )
            }
            io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine"),
            _ => format!("{address}: {}", plainly(&error.error)),
        };
        let reason = if error.error.kind() == io::ErrorKind::PermissionDenied {
            Reason::Permission
        } else {
            Reason::Address
        };
        Self::new(reason, format!("cannot listen for {}: {why}", error.name))
    }
}

impl From<dohle_broker::StartError> for Failure {
    fn from(error: dohle_broker::StartError) -> Self {
        use dohle_broker::StartError;
        match error {
            StartError::Bind(error) => error.into(),
            StartError::LogDirs(error) => error.into(),
            error => Self::new(Reason::Failed, error.to_string()),
        }
    }
}
