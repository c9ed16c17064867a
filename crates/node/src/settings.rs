//! File, environment and flags to one checked configuration.

use std::path::{Path, PathBuf};

use dohle_config::{Base, Config, Loaded, Sources, Warning};
use dohle_env::{Disk, Env, disk};

use crate::cli::{ConfigOptions, ConfigSource, StartOptions};
use crate::exit::{Failure, Reason, plainly, reason_of};

/// More than any configuration has.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The name of the folder for data below the user's data folder.
const FOLDER: &str = "dohle";

/// The configuration that `dohle start` is given.
pub fn load(env: &Env, options: &StartOptions) -> Result<Loaded, Failure> {
    let mut source = options.source.clone();
    let mut flag = |key: &str, value: String| source.set.push((key.to_owned(), value));
    if let Some(dir) = options.data.clone().or_else(|| variable("DOHLE_DATA").map(PathBuf::from)) {
        flag("log.dirs", one_folder(&dir)?);
    }
    if let Some(address) = &options.listen {
        let address = if address.bytes().all(|b| b.is_ascii_digit()) {
            format!("localhost:{address}")
        } else {
            address.clone()
        };
        flag("listeners", format!("PLAINTEXT://{address}"));
    }
    if let Some(format) = options.log_format {
        flag("dohle.log.format", format.name().to_owned());
    }
    read(env, &source)
}

/// The configuration from its sources alone.
pub fn read(env: &Env, source: &ConfigSource) -> Result<Loaded, Failure> {
    let file = match source.config.clone().or_else(|| variable("DOHLE_CONFIG").map(PathBuf::from)) {
        Some(path) => Some((path.clone(), read_file(env.disk.as_ref(), &path)?)),
        None => None,
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let base = Base { log_dir: Some(default_folder()), host_name: host_name() };
    Config::load(Sources { file, environment, flags: source.set.clone(), base })
        .map_err(|error| Failure::new(Reason::Config, error.message))
}

/// `dohle config`: the reference, or what is wrong with a file.
pub fn show(options: &ConfigOptions) -> Result<(), Failure> {
    if !options.check && options.source.config.is_none() && options.source.set.is_empty() {
        print!("{}", dohle_config::reference());
        return Ok(());
    }
    let Loaded { config, warnings } = read(&Env::real(), &options.source)?;
    crate::unserved::check(&config)?;
    for Warning { message, .. } in &warnings {
        println!("warning: {message}.");
    }
    let roles = config.list("process.roles").join(",");
    println!(
        "The configuration is complete: node {} ({roles}), {} warnings.",
        config.node_id(),
        warnings.len()
    );
    Ok(())
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<String, Failure> {
    let contents = disk::read_file(disk, path, MAX_FILE_BYTES).map_err(|error| {
        let reason =
            if reason_of(&error) == Reason::Permission { Reason::Permission } else { Reason::Config };
        Failure::new(
            reason,
            format!("the configuration file {} cannot be read: {}", path.display(), plainly(&error)),
        )
    })?;
    let Some(contents) = contents else {
        return Err(Failure::new(
            Reason::Config,
            format!("the configuration file {} does not exist", path.display()),
        ));
    };
    // Java reads such files as Latin-1. People write UTF-8.
    Ok(match String::from_utf8(contents) {
        Ok(text) => text,
        Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
    })
}

/// The folder on a list of folders.
fn one_folder(dir: &Path) -> Result<String, Failure> {
    match dir.to_str() {
        Some(dir) if !dir.contains(',') => Ok(dir.to_owned()),
        _ => Err(Failure::new(
            Reason::Config,
            format!("the data folder is \"{}\" but must be UTF-8 without commas", dir.display()),
        )),
    }
}

/// Where data goes when nobody says where: with the user's other data.
fn default_folder() -> PathBuf {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match (absolute("XDG_DATA_HOME"), absolute("HOME")) {
        (Some(data), _) => data.join(FOLDER),
        (None, Some(home)) => home.join(".local/share").join(FOLDER),
        (None, None) => Path::new("/var/lib").join(FOLDER),
    }
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    (!name.is_empty()).then_some(name)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
