//! The kernel's FUSE messages, as far as a disk for one process needs them: little structs in the machine's byte order.
//!
//! ```text
//! request   len:4 opcode:4 unique:8 node:8 uid:4 gid:4 pid:4 extensions:4, then what the opcode has
//! answer    len:4 error:4 (a negative errno) unique:8, then what the opcode has
//! ```
//!
//! The numbers are those of `linux/fuse.h`, protocol 7.31.

use std::io;

/// The most bytes of one write.
pub const MAX_WRITE: u32 = 128 << 10;
/// A request with a full write, and what is before it.
pub const MAX_REQUEST: usize = MAX_WRITE as usize + 4096;
const HEAD: usize = 40;
const MINOR: u32 = 31;
/// Writes of more than a page at once.
const BIG_WRITES: u32 = 1 << 5;
/// How long the kernel may believe what it was told. Nobody but it changes anything.
const VALID_SECONDS: u64 = 3600;
const FOLDER_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_644;
const BLOCK: u32 = 4096;

pub const NO_ENTRY: i32 = 2;
pub const EXISTS: i32 = 17;
pub const NOT_EMPTY: i32 = 39;
pub const NOT_IMPLEMENTED: i32 = 38;
pub const NOT_SUPPORTED: i32 = 95;
const IO: i32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Lookup,
    GetAttributes,
    SetAttributes,
    MakeFolder,
    Unlink,
    RemoveFolder,
    /// With or without flags.
    Rename,
    Open,
    Read,
    Write,
    Space,
    Release,
    Sync,
    Init,
    OpenFolder,
    ReadFolder,
    SyncFolder,
    Create,
    Reserve,
    /// Nobody waits for an answer.
    Unanswered,
    Other,
}

impl Operation {
    fn of(opcode: u32) -> Operation {
        match opcode {
            1 => Operation::Lookup,
            2 | 36 | 42 => Operation::Unanswered,
            3 => Operation::GetAttributes,
            4 => Operation::SetAttributes,
            9 => Operation::MakeFolder,
            10 => Operation::Unlink,
            11 => Operation::RemoveFolder,
            12 | 45 => Operation::Rename,
            14 => Operation::Open,
            15 => Operation::Read,
            16 => Operation::Write,
            17 => Operation::Space,
            18 | 29 => Operation::Release,
            20 => Operation::Sync,
            26 => Operation::Init,
            27 => Operation::OpenFolder,
            28 => Operation::ReadFolder,
            30 => Operation::SyncFolder,
            35 => Operation::Create,
            43 => Operation::Reserve,
            _ => Operation::Other,
        }
    }
}

#[derive(Debug)]
pub struct Request<'a> {
    pub operation: Operation,
    pub unique: u64,
    pub node: u64,
    pub body: Body<'a>,
    /// Whether a rename comes with flags.
    pub has_flags: bool,
}

impl<'a> Request<'a> {
    pub fn parse(bytes: &'a [u8]) -> Request<'a> {
        let mut head = Body(bytes);
        let (_len, opcode, unique, node) = (head.u32(), head.u32(), head.u64(), head.u64());
        Request {
            operation: Operation::of(opcode),
            unique,
            node,
            body: Body(&bytes[HEAD..]),
            has_flags: opcode == 45,
        }
    }
}

/// What follows a request's head, field by field. The kernel is trusted to send what it says.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    pub fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take(4).try_into().expect("four bytes"))
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }

    /// A name, which a zero ends.
    pub fn name(&mut self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0).expect("a name ends");
        let name = String::from_utf8_lossy(self.take(end)).into_owned();
        self.take(1);
        name
    }
}

/// What is told about a file or folder.
#[derive(Debug, Clone, Copy)]
pub struct Attributes {
    pub node: u64,
    pub len: u64,
    pub is_folder: bool,
}

/// The bytes of an answer after its head.
#[derive(Debug, Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    pub fn init(wanted_minor: u32) -> Answer {
        let mut answer = Answer::default().u32(7).u32(MINOR.min(wanted_minor)).u32(MAX_WRITE).u32(BIG_WRITES);
        answer.0.extend(16_u16.to_ne_bytes()); // background requests
        answer.0.extend(12_u16.to_ne_bytes()); // of which many
        let mut answer = answer.u32(MAX_WRITE).u32(1);
        answer.0.resize(64, 0);
        answer
    }

    pub fn entry(of: Attributes) -> Answer {
        Answer::default()
            .u64(of.node)
            .u64(0)
            .u64(VALID_SECONDS)
            .u64(VALID_SECONDS)
            .u32(0)
            .u32(0)
            .attributes(of)
    }

    pub fn about(of: Attributes) -> Answer {
        Answer::default().u64(VALID_SECONDS).u32(0).u32(0).attributes(of)
    }

    fn attributes(self, of: Attributes) -> Answer {
        let times = 3 * 8 + 3 * 4;
        let mut answer = self.u64(of.node).u64(of.len).u64(of.len.div_ceil(512));
        answer.0.resize(answer.0.len() + times, 0);
        let mode = if of.is_folder { FOLDER_MODE } else { FILE_MODE };
        answer.u32(mode).u32(1).u32(0).u32(0).u32(0).u32(BLOCK).u32(0)
    }

    pub fn opened(self, handle: u64) -> Answer {
        self.u64(handle).u32(0).u32(0)
    }

    pub fn written(len: u32) -> Answer {
        Answer::default().u32(len).u32(0)
    }

    pub fn bytes(bytes: Vec<u8>) -> Answer {
        Answer(bytes)
    }

    pub fn space(available: u64, total: u64) -> Answer {
        let (available, total) = (available / u64::from(BLOCK), total / u64::from(BLOCK));
        let blocks = Answer::default().u64(total).u64(available).u64(available);
        let mut answer = blocks.u64(1 << 20).u64(1 << 19).u32(BLOCK).u32(255).u32(BLOCK);
        answer.0.resize(80, 0);
        answer
    }

    /// Adds an entry of a folder, if it fits: `next` is where to go on after it.
    pub fn listed(&mut self, name: &str, is_folder: bool, next: u64, limit: usize) -> bool {
        let len = (24 + name.len()).next_multiple_of(8);
        if self.0.len() + len > limit {
            return false;
        }
        let end = self.0.len() + len;
        let kind = if is_folder { FOLDER_MODE } else { FILE_MODE } >> 12;
        let head = std::mem::take(self).u64(u64::MAX).u64(next).u32(name.len() as u32).u32(kind);
        *self = head;
        self.0.extend(name.as_bytes());
        self.0.resize(end, 0);
        true
    }

    fn u32(mut self, value: u32) -> Answer {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Answer {
        self.0.extend(value.to_ne_bytes());
        self
    }

    /// The whole message.
    pub fn message(&self, unique: u64) -> Vec<u8> {
        message(unique, 0, &self.0)
    }
}

pub fn failure(unique: u64, errno: i32) -> Vec<u8> {
    message(unique, -errno, &[])
}

fn message(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let len = 16 + body.len() as u32;
    let mut bytes = Vec::with_capacity(len as usize);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(error.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// What the kernel is told of an error.
pub fn errno(error: &io::Error) -> i32 {
    let known = match error.kind() {
        io::ErrorKind::NotFound => Some(NO_ENTRY),
        io::ErrorKind::AlreadyExists => Some(EXISTS),
        io::ErrorKind::IsADirectory => Some(21),
        io::ErrorKind::StorageFull => Some(28),
        _ => None,
    };
    known.or(error.raw_os_error()).unwrap_or(IO)
}
