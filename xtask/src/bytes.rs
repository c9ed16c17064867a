//! `cargo xtask bytes`: for every message at every version, what Kafka's own classes write is read here and written again to
//! the same bytes, and the other way round.

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use dohle_wire::arbitrary::{CATALOG, Entry, SplitMix};

use crate::jars::JavaProgram;
use crate::schemas::WIRE;
use crate::test::Counts;

/// A message and a version.
type Pair = (String, i16);

/// Compares `values` random values of each pair in both directions. One count per pair and direction.
pub fn run(root: &Path, seed: u64, values: u32) -> Result<Counts, String> {
    let java = JavaProgram::new(root, WIRE)?;
    let folder = std::env::temp_dir().join(format!("dohle-bytes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let result = both_ways(&java, &folder, seed, values);
    let _ = std::fs::remove_dir_all(&folder);
    let counts = result?;
    println!("bytes: {counts}");
    Ok(counts)
}

fn both_ways(java: &JavaProgram, folder: &Path, seed: u64, values: u32) -> Result<Counts, String> {
    let wanted: BTreeSet<Pair> = CATALOG
        .iter()
        .flat_map(|e| (e.min_version..=e.max_version).map(|version| (e.name.to_owned(), version)))
        .collect();
    println!("bytes: {} messages, {} pairs of message and version, seed {seed}", CATALOG.len(), wanted.len());
    let mut counts = from_kafka(java, folder, seed, values, &wanted)?;
    counts.add(to_kafka(java, folder, seed, values, &wanted)?);
    Ok(counts)
}

/// Kafka writes, we read and write again.
fn from_kafka(
    java: &JavaProgram,
    folder: &Path,
    seed: u64,
    values: u32,
    wanted: &BTreeSet<Pair>,
) -> Result<Counts, String> {
    let file = folder.join("kafka.values");
    let path = file.to_str().ok_or("the folder for temporary files is not UTF-8")?;
    java.run(&["make", path, &seed.to_string(), &values.to_string()])?;
    let mut made = Bytes::from(std::fs::read(&file).map_err(|error| format!("{path}: {error}"))?);
    let entries: BTreeMap<&str, &Entry> = CATALOG.iter().map(|entry| (entry.name, entry)).collect();
    let mut faults: BTreeMap<Pair, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut read = 0;
    while made.has_remaining() {
        let (name, version, bytes) = next_value(&mut made).ok_or("Kafka's values end in the middle")?;
        read += 1;
        let pair = (name, version);
        let fault = match entries.get(pair.0.as_str()) {
            None => Some("is in no table".to_owned()),
            Some(entry) => match (entry.recode)(bytes.clone(), version) {
                Ok(again) if again == bytes => None,
                Ok(again) => Some(format!("{bytes:x} is written again as {again:x}")),
                Err(error) => Some(format!("{error:?}: {bytes:x}")),
            },
        };
        if let Some(fault) = fault {
            let count = faults.entry(pair.clone()).or_default();
            *count += 1;
            if *count == 1 {
                println!("from Kafka: {} v{version}: {fault}", pair.0);
            }
        }
        seen.insert(pair);
    }
    covered("from Kafka", wanted, &seen)?;
    println!("from Kafka: {read} values of {} pairs read and written again", seen.len());
    Ok(Counts { passed: seen.len() - faults.len(), failed: faults.len(), skipped: 0 })
}

fn next_value(made: &mut Bytes) -> Option<(String, i16, Bytes)> {
    let name_length = made.try_get_u16().ok()?;
    let name = split(made, usize::from(name_length))?;
    let version = made.try_get_i16().ok()?;
    let length = usize::try_from(made.try_get_i32().ok()?).ok()?;
    Some((String::from_utf8(name.to_vec()).ok()?, version, split(made, length)?))
}

fn split(made: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= made.len()).then(|| made.split_to(length))
}

/// We write, Kafka reads and writes again.
fn to_kafka(
    java: &JavaProgram,
    folder: &Path,
    seed: u64,
    values: u32,
    wanted: &BTreeSet<Pair>,
) -> Result<Counts, String> {
    let mut ours = Vec::new();
    for entry in CATALOG {
        let mut rng = SplitMix(seed);
        for version in entry.min_version..=entry.max_version {
            for _ in 0..values {
                let bytes = (entry.random)(&mut || rng.next(), version);
                ours.put_u16(u16::try_from(entry.name.len()).map_err(|_| "a name is too long")?);
                ours.put_slice(entry.name.as_bytes());
                ours.put_i16(version);
                ours.put_u32(u32::try_from(bytes.len()).map_err(|_| "a value is too long")?);
                ours.put_slice(&bytes);
            }
        }
    }
    let file = folder.join("our.values");
    std::fs::write(&file, ours).map_err(|error| format!("{}: {error}", file.display()))?;
    let path = file.to_str().ok_or("the folder for temporary files is not UTF-8")?;
    let printed = java.run(&["check", path])?;
    let (faults, last) = printed.trim_end().rsplit_once('\n').unwrap_or(("", printed.trim_end()));
    if !faults.is_empty() {
        println!("{faults}");
    }
    let numbers: Vec<usize> = last.split('\t').filter_map(|number| number.parse().ok()).collect();
    let [pairs, same, different] = numbers[..] else { return Err(format!("Kafka's side said: {last}")) };
    let expected = wanted.len() * values as usize;
    if pairs != wanted.len() || same + different != expected {
        return Err(format!(
            "Kafka's side read {} values of {pairs} pairs, not {expected}",
            same + different
        ));
    }
    println!("to Kafka: {same} values of {pairs} pairs read and written again");
    let failed: BTreeSet<&str> = faults.lines().filter_map(|line| line.split(':').next()).collect();
    Ok(Counts { passed: pairs - failed.len(), failed: failed.len(), skipped: 0 })
}

/// Both sides know the same messages at the same versions.
fn covered(direction: &str, wanted: &BTreeSet<Pair>, seen: &BTreeSet<Pair>) -> Result<(), String> {
    match wanted.symmetric_difference(seen).next() {
        None => Ok(()),
        Some((name, version)) => Err(format!("{direction}: {name} v{version} is known to one side only")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let mut made = Bytes::from_static(b"\0\x03abc\0\x07\0\0\0\x02xy\0\x01a");
        assert_eq!(next_value(&mut made), Some(("abc".to_owned(), 7, Bytes::from_static(b"xy"))));
        assert_eq!(next_value(&mut made), None);
    }
}
