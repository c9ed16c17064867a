//! A broker in a small file: how it is configured, prepared and started. Kafka's and Dohle's own are in `bench/brokers`; any
//! other that speaks Kafka's protocol takes part by `--broker FILE`.
//!
//! In every word of a file, and in settings of scenarios, `{folder}` is the broker's fresh folder, `{port}` and `{second_port}` are free ports, `{uuid}` an id as
//! Kafka writes them, `{kafka}` the folder of Apache Kafka's jars and `{dohle}` the binary to measure. A broker is ready when it
//! answers ApiVersions.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::contestant::Durability;
use crate::Outcome;

const OWN: [&str; 2] = [include_str!("../../brokers/kafka.json"), include_str!("../../brokers/dohle.json")];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerFile {
    pub name: String,
    #[serde(default)]
    pub version: String,
    pub about: String,
    /// Whether it gets faster by running, as a JVM does: only such a broker is warmed up by the clock.
    #[serde(default)]
    pub compiles_while_it_runs: bool,
    /// What is written into its folder: name, lines.
    #[serde(default)]
    files: BTreeMap<String, Vec<String>>,
    settings: Settings,
    /// Run to its end before the broker is started, and not counted.
    #[serde(default)]
    prepare: Vec<String>,
    command: Vec<String>,
    /// The settings that make an acknowledgement mean this. Where one is missing, the broker does not take part.
    durability: BTreeMap<Durability, BTreeMap<String, String>>,
}

/// Where a setting by Kafka's name goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Settings {
    /// `key=value` at the end of this file.
    LinesOf(String),
    /// These words, with `{key}` and `{value}`, at the end of the command.
    Arguments(Vec<String>),
}

/// What stands for the names in braces.
#[derive(Debug)]
pub struct Places {
    pub folder: PathBuf,
    pub port: u16,
    pub second_port: u16,
    pub kafka: Option<PathBuf>,
    pub dohle: PathBuf,
    pub uuid: String,
}

impl Places {
    fn filled(&self, text: &str) -> String {
        let kafka = self.kafka.as_deref().unwrap_or(Path::new(""));
        text.replace("{folder}", &self.folder.display().to_string())
            .replace("{port}", &self.port.to_string())
            .replace("{second_port}", &self.second_port.to_string())
            .replace("{kafka}", &kafka.display().to_string())
            .replace("{dohle}", &self.dohle.display().to_string())
            .replace("{uuid}", &self.uuid)
    }
}

impl BrokerFile {
    /// Kafka, Dohle, and those of the given files.
    pub fn all(others: &[PathBuf]) -> Outcome<Vec<Self>> {
        let mut all = OWN.map(Self::parse).into_iter().collect::<Outcome<Vec<Self>>>()?;
        for path in others {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            let other = Self::parse(&text).map_err(|error| named(&error))?;
            if all.iter().any(|known| known.name == other.name) {
                return Err(format!("there are two brokers called {}", other.name).into());
            }
            all.push(other);
        }
        Ok(all)
    }

    fn parse(text: &str) -> Outcome<Self> {
        let file: Self = serde_json::from_str(text)?;
        if file.command.is_empty() {
            return Err(format!("{} has no command", file.name).into());
        }
        Ok(file)
    }

    pub fn offers(&self, durability: Durability) -> bool {
        self.durability.contains_key(&durability)
    }

    pub fn needs_kafka(&self) -> bool {
        self.command.iter().any(|word| word.contains("{kafka}"))
    }

    /// Writes its files, runs its preparation, and gives the words that start it.
    pub fn prepared(
        &self,
        places: &Places,
        durability: Durability,
        more: &[(&str, &str)],
    ) -> Outcome<Vec<String>> {
        let of_durability = self.durability.get(&durability).into_iter().flatten();
        let settings = of_durability.map(|(key, value)| (key.as_str(), value.as_str()));
        let settings = settings.chain(more.iter().copied()).map(|(key, value)| (key, places.filled(value)));
        let mut words: Vec<String> = self.command.iter().map(|word| places.filled(word)).collect();
        let mut appended: Option<(&str, String)> = None;
        match &self.settings {
            Settings::LinesOf(file) => {
                let lines = settings.map(|(key, value)| format!("{key}={value}\n"));
                appended = Some((file, lines.collect()));
            }
            Settings::Arguments(form) => {
                for (key, value) in settings {
                    words.extend(
                        form.iter().map(|word| word.replace("{key}", key).replace("{value}", &value)),
                    );
                }
            }
        }
        for (name, lines) in &self.files {
            let mut text: String = lines.iter().map(|line| places.filled(line) + "\n").collect();
            if let Some((_, lines)) = appended.as_ref().filter(|(file, _)| file == name) {
                text.push_str(lines);
            }
            std::fs::write(places.folder.join(name), text)?;
        }
        self.prepare(places)?;
        Ok(words)
    }

    fn prepare(&self, places: &Places) -> Outcome<()> {
        let mut words = self.prepare.iter().map(|word| places.filled(word));
        let Some(program) = words.next() else { return Ok(()) };
        let output = Command::new(&program)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("preparing {}: {}", self.name, String::from_utf8_lossy(&output.stderr)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(folder: &Path) -> Places {
        Places {
            folder: folder.to_owned(),
            port: 7,
            second_port: 8,
            kafka: Some("jars".into()),
            dohle: "bin/dohle".into(),
            uuid: "u".into(),
        }
    }

    #[test]
    fn our_own_files_make_commands() {
        let all = BrokerFile::all(&[]).unwrap();
        let folder = std::env::temp_dir().join(format!("dohle-broker-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [kafka, dohle] = all.as_slice() else { panic!("two brokers are ours") };
        let words = dohle.prepared(&places(&folder), Durability::PageCache, &[("a.b", "c")]).unwrap();
        assert_eq!(words[..2], ["bin/dohle", "start"]);
        assert_eq!(words[words.len() - 4..], ["--set", "dohle.durability=replicated", "--set", "a.b=c"]);
        let kafka = BrokerFile { prepare: Vec::new(), ..kafka.clone() };
        let words = kafka.prepared(&places(&folder), Durability::Synced, &[("a.b", "c")]).unwrap();
        assert!(words.contains(&"jars/*".to_owned()), "{words:?}");
        let text = std::fs::read_to_string(folder.join("server.properties")).unwrap();
        assert!(text.contains("127.0.0.1:7") && text.ends_with("log.flush.interval.messages=1\na.b=c\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_with_a_word_too_many_is_refused() {
        let text = OWN[1].replacen("\"about\"", "\"abuot\"", 1);
        assert!(BrokerFile::parse(&text).unwrap_err().to_string().contains("abuot"));
    }
}
