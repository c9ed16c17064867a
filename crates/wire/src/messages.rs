//! Every message of the protocol, each in a module of its own with the structs it nests. Generated from `schemas/`.

// The code is written by `build.rs` for the compiler, not for readers.
#![allow(clippy::all, unused_qualifications, unused_variables)]

/// What every generated module sees.
mod prelude {
    pub(super) use bytes::Bytes;
    pub(super) use dohle_types::Uuid;

    pub(super) use crate::message::{ApiKey, Message, Part, Request, required};
    pub(super) use crate::{DecodeError, EncodeError, Reader, RecordBytes, Text, UnknownTags, Writer};
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
