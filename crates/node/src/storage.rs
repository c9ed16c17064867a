//! `dohle storage`: what Kafka's `kafka-storage.sh` does, with its flags and its words.

use std::collections::BTreeMap;
use std::path::Path;

use dohle_config::{Config, Loaded};
use dohle_controller::format::{self, FormatRequest, InitialVoters};
use dohle_env::{Disk, Env};
use dohle_log::dirs::LogDir;
use dohle_metadata::MetadataVersion;
use dohle_metadata::features::Levels;
use dohle_raft::{Endpoint, KRaftVersions, Replica, Voter};
use dohle_types::NodeId;

use crate::cli::{ConfigSource, FormatOptions, StorageCommand};
use crate::exit::{Failure, Reason};
use crate::{folders, settings};

pub fn run(command: StorageCommand) -> Result<(), Failure> {
    let env = Env::real();
    match command {
        StorageCommand::RandomUuid => {
            println!("{}", env.rng.uuid());
            Ok(())
        }
        StorageCommand::Info { config } => info(&env, &load(&env, &config)?),
        StorageCommand::Format(options) => format(&env, &options),
    }
}

fn load(env: &Env, file: &Path) -> Result<Config, Failure> {
    let source = ConfigSource { config: Some(file.to_owned()), set: Vec::new() };
    let Loaded { config, .. } = settings::read(env, &source)?;
    Ok(config)
}

fn format(env: &Env, options: &FormatOptions) -> Result<(), Failure> {
    let config = load(env, &options.config)?;
    for credential in &options.add_scram {
        let _parsed = Scram::parse(credential)?;
    }
    if !options.add_scram.is_empty() {
        let sentence =
            "--add-scram is given, but this version does not authenticate clients and keeps no credentials";
        return Err(Failure::new(Reason::Unserved, sentence));
    }
    let levels = Levels::of(&config);
    let request = FormatRequest {
        cluster_id: Some(options.cluster_id.clone()),
        node_id: config.node_id(),
        release_version: options.release_version.as_deref().map(|name| release(name, levels)).transpose()?,
        levels,
        features: features(&options.features)?,
        voters: voters(options, &config)?,
        ignore_formatted: options.ignore_formatted,
    };
    let (paths, metadata_dir) = folders::paths(&config)?;
    let mut dirs = Vec::new();
    for path in &paths {
        dirs.push(LogDir::open(&env.disk, path)?);
    }
    let made = format::format(env, &request, &mut dirs, &metadata_dir)?;
    if made.new.is_empty() {
        println!("All of the log directories are already formatted.");
    }
    let version = request.release_version.unwrap_or(MetadataVersion::LATEST_PRODUCTION);
    for dir in &made.new {
        let kind = if *dir == metadata_dir { "metadata" } else { "data" };
        println!("Formatting {kind} directory {} with metadata.version {}.", dir.display(), version.name());
    }
    Ok(())
}

/// Who votes first, by Kafka's rules for the three flags and `controller.quorum.voters`.
fn voters(options: &FormatOptions, config: &Config) -> Result<InitialVoters, Failure> {
    let refuse = |sentence: &str| Err(Failure::new(Reason::Config, sentence));
    let configured = !config.quorum_voters().is_empty();
    if configured {
        if options.standalone || options.initial_controllers.is_some() || options.no_initial_controllers {
            return refuse(
                "controller.quorum.voters is set, but must not be when --standalone, --initial-controllers or \
                 --no-initial-controllers is given",
            );
        }
        return Ok(InitialVoters::Configured);
    }
    if options.standalone {
        if !config.roles().controller {
            return refuse("--standalone is given, but process.roles does not contain controller");
        }
        return Ok(InitialVoters::Standalone(folders::controller_endpoints(config)));
    }
    if let Some(list) = &options.initial_controllers {
        return Ok(InitialVoters::Given(initial_controllers(list, config)?));
    }
    if config.roles().controller && !options.no_initial_controllers && !config.is_alone() {
        return refuse(
            "because controller.quorum.voters is not set on this controller, one of --standalone, --initial-controllers or \
             --no-initial-controllers must be given",
        );
    }
    match config.is_alone() && !options.no_initial_controllers {
        true => Ok(InitialVoters::Standalone(folders::controller_endpoints(config))),
        false => Ok(InitialVoters::Join),
    }
}

/// `id@host:port:directory-id`, separated by commas.
fn initial_controllers(list: &str, config: &Config) -> Result<Vec<Voter>, Failure> {
    let name = config.controller_listener_names().first().cloned().unwrap_or_default();
    let parse = |entry: &str| {
        let (id, rest) = entry.trim().split_once('@')?;
        let (address, directory) = rest.rsplit_once(':')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Voter {
            replica: Replica::new(NodeId(id.parse().ok().filter(|id| *id >= 0)?), directory.parse().ok()?),
            endpoints: vec![Endpoint { name: name.clone(), host: host.to_owned(), port: port.parse().ok()? }],
            kraft_versions: KRaftVersions::SUPPORTED,
        })
    };
    let bad = |entry: &str| {
        let sentence = format!(
            "--initial-controllers has \"{entry}\" but must be a list of id@host:port:directory-id separated by commas"
        );
        Failure::new(Reason::Config, sentence)
    };
    list.split(',').map(|entry| parse(entry).ok_or_else(|| bad(entry))).collect()
}

fn release(name: &str, levels: Levels) -> Result<MetadataVersion, Failure> {
    let latest = levels.latest_metadata_version();
    MetadataVersion::from_name(name, latest).ok_or_else(|| {
        let (first, last) = (MetadataVersion::MINIMUM.name(), latest.name());
        Failure::new(
            Reason::Config,
            format!("--release-version is \"{name}\" but must be a release from {first} to {last}"),
        )
    })
}

fn features(pairs: &[(String, String)]) -> Result<BTreeMap<String, i16>, Failure> {
    let parse = |(name, level): &(String, String)| match level.trim().parse() {
        Ok(level) => Ok((name.clone(), level)),
        Err(_) => Err(Failure::new(
            Reason::Config,
            format!("--feature {name} is \"{level}\" but must be a whole number"),
        )),
    };
    pairs.iter().map(parse).collect()
}

/// A credential of `--add-scram`: `MECHANISM=[name=...,password=...]`, or with iterations, salt and saltedpassword.
#[derive(Debug, PartialEq, Eq)]
struct Scram {
    mechanism: String,
    name: String,
    fields: BTreeMap<String, String>,
}

impl Scram {
    fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::new(Reason::Config, format!("--add-scram has \"{text}\" but {why}"));
        let (mechanism, rest) =
            text.split_once('=').ok_or_else(|| bad("must be MECHANISM=[name=...,password=...]"))?;
        if !matches!(mechanism, "SCRAM-SHA-256" | "SCRAM-SHA-512") {
            return Err(bad("its mechanism must be SCRAM-SHA-256 or SCRAM-SHA-512"));
        }
        let list = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let list = list.ok_or_else(|| bad("its fields must stand in brackets"))?;
        let mut fields = BTreeMap::new();
        for field in list.split(',') {
            let (name, value) =
                field.split_once('=').ok_or_else(|| bad("each of its fields must be name=value"))?;
            fields.insert(name.trim().to_owned(), value.trim().trim_matches('"').to_owned());
        }
        let name = fields.remove("name").ok_or_else(|| bad("it must have a name"))?;
        if fields.contains_key("password") == fields.contains_key("saltedpassword") {
            return Err(bad("it must have either a password or a saltedpassword"));
        }
        Ok(Self { mechanism: mechanism.to_owned(), name, fields })
    }
}

/// What the folders hold, in the form in which Kafka tells it. Problems make it fail.
fn info(env: &Env, config: &Config) -> Result<(), Failure> {
    let (mut paths, _) = folders::paths(config)?;
    paths.sort();
    let mut look = Look::default();
    for path in &paths {
        look.at(env.disk.as_ref(), path);
    }
    look.tell();
    match look.problems.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Reason::Failed, "there is a problem with the log directories")),
        n => Err(Failure::new(Reason::Failed, format!("there are {n} problems with the log directories"))),
    }
}

#[derive(Default)]
struct Look {
    found: Vec<String>,
    problems: Vec<String>,
    metadata: Option<BTreeMap<String, String>>,
}

impl Look {
    /// Reads without a lock: a running node may be asked about.
    fn at(&mut self, disk: &dyn Disk, path: &Path) {
        const MAX_META_BYTES: u64 = 64 << 10;
        let shown = path.display();
        match disk.metadata(path) {
            Ok(Some(metadata)) if metadata.is_dir => self.found.push(shown.to_string()),
            Ok(Some(_)) => return self.problems.push(format!("{shown} is not a directory")),
            Ok(None) => return self.problems.push(format!("{shown} does not exist")),
            Err(error) => return self.problems.push(format!("{shown} cannot be read: {error}")),
        }
        let meta = path.join("meta.properties");
        let contents = match dohle_env::disk::read_file(disk, &meta, MAX_META_BYTES) {
            Ok(Some(contents)) => String::from_utf8_lossy(&contents).into_owned(),
            Ok(None) => return self.problems.push(format!("{shown} is not formatted.")),
            Err(error) => return self.problems.push(format!("Error loading {}: {error}", meta.display())),
        };
        let fields: BTreeMap<String, String> = match dohle_config::parse_properties(&contents) {
            Ok(pairs) => pairs.into_iter().collect(),
            Err(error) => return self.problems.push(format!("Error loading {}: {error}", meta.display())),
        };
        match &self.metadata {
            None => self.metadata = Some(fields),
            Some(first) if first.get("cluster.id") != fields.get("cluster.id") => {
                self.problems.push("Mismatched cluster IDs between storage directories.".to_owned());
            }
            Some(first) if first.get("node.id") != fields.get("node.id") => {
                self.problems.push("Mismatched node IDs between storage directories.".to_owned());
            }
            Some(_) => {}
        }
    }

    fn tell(&self) {
        let list = |one: &str, several: &str, entries: &[String]| {
            if !entries.is_empty() {
                println!("{}", if entries.len() == 1 { one } else { several });
                entries.iter().for_each(|entry| println!("  {entry}"));
                println!();
            }
        };
        list("Found log directory:", "Found log directories:", &self.found);
        if let Some(metadata) = &self.metadata {
            let pairs: Vec<String> = metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
            println!("Found metadata: {{{}}}\n", pairs.join(", "));
        }
        list("Found problem:", "Found problems:", &self.problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scram_credentials_are_kafkas() {
        let parsed =
            Scram::parse("SCRAM-SHA-256=[name=alice,password=alice-secret]").expect("Kafka's example");
        assert_eq!((parsed.mechanism.as_str(), parsed.name.as_str()), ("SCRAM-SHA-256", "alice"));
        assert_eq!(parsed.fields["password"], "alice-secret");
        let salted = r#"SCRAM-SHA-512=[name=alice,iterations=8192,salt="N3E=",saltedpassword="YCE="]"#;
        assert_eq!(Scram::parse(salted).expect("Kafka's example").fields["salt"], "N3E=");
        for bad in [
            "x",
            "PLAIN=[name=a,password=b]",
            "SCRAM-SHA-256=name=a",
            "SCRAM-SHA-256=[password=b]",
            "SCRAM-SHA-256=[name=a]",
        ] {
            assert_eq!(Scram::parse(bad).expect_err(bad).reason(), Reason::Config);
        }
    }
}
