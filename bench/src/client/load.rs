//! What to send and what to read: the options of the client.

use clap::{Args, ValueEnum};
use dohle_records::Compression;

use super::content::Recipe;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}

/// A load of Produce requests. The topic is created when it is missing.
#[derive(Clone, Debug, Args)]
pub struct Load {
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub broker: String,
    #[arg(long, default_value = "bench")]
    pub topic: String,
    #[arg(long, default_value_t = 12)]
    pub partitions: i32,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    pub record_size: usize,
    /// What a batch is filled to, before compression; at least one record is in it.
    #[arg(long, default_value_t = 64 << 10)]
    pub batch_size: usize,
    /// How many partitions get a batch in each request.
    #[arg(long, default_value_t = 1)]
    pub batches_per_request: usize,
    /// Requests on their way at a time, per connection.
    #[arg(long, default_value_t = 5)]
    pub pipeline: usize,
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    pub acks: i16,
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub codec: Codec,
    /// Bytes of values to send in all.
    #[arg(long, default_value_t = 1_000_000_000)]
    pub bytes: u64,
    /// Bytes of values per second; without it, as fast as answers come.
    #[arg(long)]
    pub rate: Option<u64>,
    /// Closed loop: stop after so many seconds even when bytes are left.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// How many different keys the records have; 0 for none.
    #[arg(long, default_value_t = 0)]
    pub keys: u64,
    /// Readers at the tail, each of which reads everything (end-to-end only).
    #[arg(long, default_value_t = 1)]
    pub readers: usize,
    /// Settings of the topic when it is created, name=value.
    #[arg(long = "topic-config")]
    pub topic_config: Vec<String>,
}

impl Load {
    pub fn recipe(&self) -> Recipe {
        let codec = self.codec.into();
        Recipe { codec, records: self.records_per_batch(), size: self.record_size, keys: self.keys }
    }

    /// How many records fit into a batch: the values and what surrounds each (about a dozen bytes).
    pub fn records_per_batch(&self) -> usize {
        const AROUND: usize = 12;
        const HEADER: usize = dohle_records::HEADER_LEN;
        (self.batch_size.saturating_sub(HEADER) / (self.record_size + AROUND)).max(1)
    }

    /// Bytes of values per request.
    pub fn bytes_per_request(&self) -> u64 {
        (self.records_per_batch() * self.record_size * self.batches_per_request) as u64
    }

    pub fn requests(&self) -> u64 {
        self.bytes.div_ceil(self.bytes_per_request()).max(1)
    }
}

/// Reading a topic from its start to the end it has now.
#[derive(Clone, Debug, Args)]
pub struct ReadBack {
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub broker: String,
    #[arg(long, default_value = "bench")]
    pub topic: String,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// `fetch.max.bytes`
    #[arg(long, default_value_t = 50 << 20)]
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`
    #[arg(long, default_value_t = 1 << 20)]
    pub partition_max_bytes: i32,
}
