//! gzip, one member or several.

use std::io::{Read, Write};

use bytes::buf::Reader as BytesReader;
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::broken;
use crate::error::BatchError;

#[derive(Debug)]
pub(super) struct Reader {
    decoder: MultiGzDecoder<BytesReader<Bytes>>,
}

impl Reader {
    pub(super) fn new(input: Bytes) -> Self {
        Self { decoder: MultiGzDecoder::new(input.reader()) }
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        self.decoder.read(out).map_err(|error| broken("gzip", error))
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    encoder: GzEncoder<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(level: i32) -> Self {
        let level = match u32::try_from(level) {
            Ok(level) => flate2::Compression::new(level.clamp(1, 9)),
            Err(_) => flate2::Compression::default(),
        };
        Self { encoder: GzEncoder::new(Vec::new(), level) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.encoder.write_all(bytes).expect("memory takes every write");
    }

    pub(super) fn len_so_far(&self) -> usize {
        self.encoder.get_ref().len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.encoder.finish().expect("memory takes every write")
    }
}
