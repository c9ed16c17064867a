//! zstd, one frame or several, with contexts kept for the next batch.
//!
//! A context costs more to make than most batches to decode, so each thread keeps one of each kind. One that a frame made larger
//! than [`KEPT_WINDOW_LOG`] needs is not kept.

use std::cell::RefCell;
use std::fmt;

use bytes::{Buf, Bytes};
use zstd::stream::raw::{CParameter, DParameter, Decoder, Encoder, Operation};
use zstd::zstd_safe;

use super::broken;
use crate::error::BatchError;

/// The largest window a frame may ask for, 128 MiB: what Kafka's clients read, and what the highest level writes.
const MAX_WINDOW_LOG: u32 = 27;
/// The largest window of a frame whose context is kept, 8 MiB: that of every level a producer should use.
const KEPT_WINDOW_LOG: u32 = 23;
/// How much of the compressed output is made room for at a time.
const PIECE: usize = 16 << 10;

thread_local! {
    static IDLE_DECODER: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
    static IDLE_ENCODER: RefCell<Option<Encoder<'static>>> = const { RefCell::new(None) };
}

pub(super) struct Reader {
    input: Bytes,
    /// Present until the reader is dropped.
    decoder: Option<Decoder<'static>>,
    between_frames: bool,
    keep: bool,
}

impl Reader {
    pub(super) fn new(input: Bytes) -> Result<Self, BatchError> {
        let decoder = match IDLE_DECODER.try_with(|idle| idle.take()).ok().flatten() {
            Some(decoder) => decoder,
            None => new_decoder().map_err(|error| broken("zstd", error))?,
        };
        Ok(Self { input, decoder: Some(decoder), between_frames: true, keep: true })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        let decoder = self.decoder.as_mut().expect("present until dropped");
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.between_frames {
                if self.input.is_empty() {
                    return Ok(0);
                }
                self.keep &= window_log(&self.input) <= KEPT_WINDOW_LOG;
                decoder.reinit().map_err(|error| broken("zstd", error))?;
            }
            let status = decoder.run_on_buffers(&self.input, out).map_err(|error| broken("zstd", error))?;
            self.input.advance(status.bytes_read);
            self.between_frames = status.remaining == 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if status.bytes_read == 0 && !self.between_frames {
                return Err(broken("zstd", "stream ended prematurely"));
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.keep {
            // At the end of the thread there is nobody to keep it for.
            let _ = IDLE_DECODER.try_with(|idle| idle.replace(self.decoder.take()));
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("input", &self.input.len()).finish_non_exhaustive()
    }
}

fn new_decoder() -> std::io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
    Ok(decoder)
}

/// The window a frame asks for, read from its descriptor; what is not a frame with a window of its own counts as small.
fn window_log(frame: &[u8]) -> u32 {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const SINGLE_SEGMENT: u8 = 0x20;
    match frame {
        [a, b, c, d, descriptor, ..] if [*a, *b, *c, *d] == MAGIC && descriptor & SINGLE_SEGMENT != 0 => {
            match zstd_safe::get_frame_content_size(frame) {
                Ok(Some(size)) => u64::BITS - size.leading_zeros(),
                _ => 0,
            }
        }
        [a, b, c, d, _, window, ..] if [*a, *b, *c, *d] == MAGIC => 10 + u32::from(window >> 3) + 1,
        _ => 0,
    }
}

pub(super) struct Writer {
    out: Vec<u8>,
    encoder: Encoder<'static>,
}

impl Writer {
    pub(super) fn new(level: i32) -> Self {
        let mut encoder = match IDLE_ENCODER.try_with(|idle| idle.take()).ok().flatten() {
            Some(encoder) => encoder,
            None => Encoder::new(level).expect("zstd makes a context unless memory is out"),
        };
        let range = zstd_safe::min_c_level()..=zstd_safe::max_c_level();
        encoder.reinit().expect("a context can be reset");
        encoder
            .set_parameter(CParameter::CompressionLevel(level.clamp(*range.start(), *range.end())))
            .expect("the level is in range");
        Self { out: Vec::new(), encoder }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        let mut piece = [0; PIECE];
        while !bytes.is_empty() {
            let status =
                self.encoder.run_on_buffers(bytes, &mut piece).expect("compression takes every input");
            self.out.extend_from_slice(&piece[..status.bytes_written]);
            bytes = &bytes[status.bytes_read..];
        }
    }

    pub(super) fn len_so_far(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let mut piece = [0; PIECE];
        loop {
            let mut room = zstd_safe::OutBuffer::around(&mut piece[..]);
            let left = self.encoder.finish(&mut room, false).expect("a frame can be ended");
            self.out.extend_from_slice(room.as_slice());
            if left == 0 {
                break;
            }
        }
        let _ = IDLE_ENCODER.try_with(|idle| idle.replace(Some(self.encoder)));
        self.out
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("out", &self.out.len()).finish_non_exhaustive()
    }
}
