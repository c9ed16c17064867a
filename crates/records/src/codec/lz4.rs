//! lz4's frame format, the part of it that Kafka takes: independent blocks, no dictionary, one frame.
//!
//! ```text
//! magic u32 | FLG | BD | (content size u64) | HC | (block length u32 | block | (checksum u32))* | 0 u32 | (checksum u32)
//! ```
//!
//! Numbers are little-endian. HC is the second byte of the xxh32 of FLG, BD and content size; in messages of format 0 it is that
//! of the magic too, by an old mistake, and is not looked at.

use bytes::{Buf, Bytes};
use lz4_flex::block;
use twox_hash::XxHash32;

use super::broken;
use crate::error::BatchError;

const MAGIC: u32 = 0x184d_2204;
const FLG_VERSION: u8 = 0x40;
const FLG_VERSION_MASK: u8 = 0xc0;
const FLG_INDEPENDENT: u8 = 0x20;
const FLG_BLOCK_CHECKSUM: u8 = 0x10;
const FLG_CONTENT_SIZE: u8 = 0x08;
const FLG_CONTENT_CHECKSUM: u8 = 0x04;
const FLG_RESERVED: u8 = 0x03;
/// Set in a block's length when the block is not compressed.
const STORED: u32 = 0x8000_0000;
/// BD for blocks of 64 KiB, the only ones that Kafka writes.
const BD_64_KIB: u8 = 4 << 4;
const BLOCK_LEN: usize = 64 << 10;
/// The most bytes that one byte of a block can stand for.
const MAX_RATIO: usize = 256;

/// Whether the frame header's own checksum counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderChecksum {
    Checked,
    Ignored,
}

#[derive(Debug)]
pub(super) struct Reader {
    input: Bytes,
    max_block: usize,
    block_checksums: bool,
    ended: bool,
    /// The block at hand and how much of it has been given out.
    block: Vec<u8>,
    given: usize,
}

impl Reader {
    pub(super) fn new(mut input: Bytes, checksum: HeaderChecksum) -> Result<Self, BatchError> {
        let cut = || broken("lz4", "stream ended prematurely");
        if input.len() < 7 {
            return Err(cut());
        }
        if input.get_u32_le() != MAGIC {
            return Err(broken("lz4", "invalid magic bytes"));
        }
        let (flg, bd) = (input[0], input[1]);
        if flg & FLG_VERSION_MASK != FLG_VERSION || flg & FLG_RESERVED != 0 {
            return Err(broken("lz4", "unknown version or reserved bits in the frame descriptor"));
        }
        if flg & FLG_INDEPENDENT == 0 {
            return Err(broken("lz4", "dependent blocks are not supported"));
        }
        let max_block = match bd {
            0x40 | 0x50 | 0x60 | 0x70 => 1 << (8 + 2 * (bd >> 4)),
            _ => return Err(broken("lz4", "unknown block size in the frame descriptor")),
        };
        let descriptor_len = if flg & FLG_CONTENT_SIZE == 0 { 2 } else { 10 };
        if input.len() <= descriptor_len {
            return Err(cut());
        }
        let descriptor = input.split_to(descriptor_len);
        let stored = input.get_u8();
        if checksum == HeaderChecksum::Checked && stored != (XxHash32::oneshot(0, &descriptor) >> 8) as u8 {
            return Err(broken("lz4", "the frame descriptor's checksum does not match"));
        }
        let block_checksums = flg & FLG_BLOCK_CHECKSUM != 0;
        let _content_checksum_is_not_looked_at = flg & FLG_CONTENT_CHECKSUM;
        Ok(Self { input, max_block, block_checksums, ended: false, block: Vec::new(), given: 0 })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        while self.given == self.block.len() && !self.ended {
            self.next_block()?;
        }
        let len = out.len().min(self.block.len() - self.given);
        out[..len].copy_from_slice(&self.block[self.given..][..len]);
        self.given += len;
        Ok(len)
    }

    fn next_block(&mut self) -> Result<(), BatchError> {
        let cut = || broken("lz4", "stream ended prematurely");
        self.given = 0;
        self.block.clear();
        if self.input.len() < 4 {
            return Err(cut());
        }
        let length = self.input.get_u32_le();
        if length == 0 {
            // What follows the end mark, a checksum of the content or anything else, Kafka does not read either.
            self.ended = true;
            return Ok(());
        }
        let len = (length & !STORED) as usize;
        if len > self.max_block {
            return Err(broken("lz4", format_args!("block size {len} exceeded max {}", self.max_block)));
        }
        if self.input.len() < len {
            return Err(cut());
        }
        let packed = self.input.split_to(len);
        if self.block_checksums {
            if self.input.len() < 4 {
                return Err(cut());
            }
            if self.input.get_u32_le() != XxHash32::oneshot(0, &packed) {
                return Err(broken("lz4", "block checksum mismatch"));
            }
        }
        if length & STORED != 0 {
            self.block.extend_from_slice(&packed);
            return Ok(());
        }
        self.block.resize(self.max_block.min(packed.len() * MAX_RATIO), 0);
        let len = block::decompress_into(&packed, &mut self.block).map_err(|error| broken("lz4", error))?;
        self.block.truncate(len);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    block: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let descriptor = [FLG_VERSION | FLG_INDEPENDENT, BD_64_KIB];
        let mut out = MAGIC.to_le_bytes().to_vec();
        out.extend_from_slice(&descriptor);
        out.push((XxHash32::oneshot(0, &descriptor) >> 8) as u8);
        Self { out, block: Vec::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_LEN - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_LEN {
                self.write_block();
            }
        }
    }

    fn write_block(&mut self) {
        let start = self.out.len() + 4;
        self.out.resize(start + block::get_maximum_output_size(self.block.len()), 0);
        let len = block::compress_into(&self.block, &mut self.out[start..])
            .expect("the output has room for the largest block");
        let length = if len < self.block.len() {
            self.out.truncate(start + len);
            len as u32
        } else {
            self.out.truncate(start);
            self.out.extend_from_slice(&self.block);
            self.block.len() as u32 | STORED
        };
        self.out[start - 4..start].copy_from_slice(&length.to_le_bytes());
        self.block.clear();
    }

    pub(super) fn len_so_far(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.block.is_empty() {
            self.write_block();
        }
        self.out.extend_from_slice(&0u32.to_le_bytes());
        self.out
    }
}
