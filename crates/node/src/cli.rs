//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(
    name = "dohle",
    version,
    about = "A streaming platform that speaks Apache Kafka",
    disable_help_subcommand = true
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Start a node. With nothing else: a broker on localhost:9092
    Start(StartOptions),
    /// Log directories, as with kafka-storage.sh
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Show the reference of all configuration keys, or check a file
    Config(ConfigOptions),
}

/// Where a node's configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigSource {
    /// A file in the format of server.properties [also: DOHLE_CONFIG]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A configuration key and its value; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

#[derive(Args, Clone, Debug)]
pub struct StartOptions {
    #[command(flatten)]
    pub source: ConfigSource,
    /// The folder for the data, instead of log.dirs [also: DOHLE_DATA; default: ~/.local/share/dohle]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The address for clients, host:port or a port alone, instead of listeners
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// How log lines are written to stderr
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// The id of the cluster, when a folder is formatted by this start
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[derive(Subcommand)]
pub enum StorageCommand {
    /// Format the log directories of this node
    Format(FormatOptions),
    /// Show what the log directories of this node hold
    Info {
        /// The configuration file to use
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print a random id
    RandomUuid,
}

/// The flags of Kafka's StorageTool.
#[derive(Args, Clone, Debug)]
pub struct FormatOptions {
    /// The configuration file to use
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The id of the cluster
    #[arg(short = 't', long, value_name = "ID")]
    pub cluster_id: String,
    /// Start a metadata quorum of this node alone, to which others can be added
    #[arg(short, long, group = "quorum")]
    pub standalone: bool,
    /// Join a cluster that exists
    #[arg(short = 'N', long, group = "quorum")]
    pub no_initial_controllers: bool,
    /// The first voters, id@host:port:directory-id, separated by commas
    #[arg(short = 'I', long, value_name = "VOTERS", group = "quorum")]
    pub initial_controllers: Option<String>,
    /// The release whose features the cluster starts with
    #[arg(short, long, value_name = "RELEASE")]
    pub release_version: Option<String>,
    /// A feature's level, feature=level; may be given several times
    #[arg(short, long = "feature", value_name = "FEATURE=LEVEL", value_parser = key_and_value)]
    pub features: Vec<(String, String)>,
    /// Leave folders alone that are formatted
    #[arg(short = 'g', long)]
    pub ignore_formatted: bool,
    /// A SCRAM credential to start with, such as SCRAM-SHA-256=[name=alice,password=secret]
    #[arg(short = 'S', long, value_name = "CREDENTIAL")]
    pub add_scram: Vec<String>,
}

#[derive(Args, Clone, Debug)]
pub struct ConfigOptions {
    #[command(flatten)]
    pub source: ConfigSource,
    /// Check the file, the environment and --set instead
    #[arg(long)]
    pub check: bool,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("it must be key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
