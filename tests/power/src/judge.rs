//! What has to hold when a broker has started on what a cut has left, before anybody writes again.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dohle_records::Record;

use crate::client::{Client, EARLIEST, LATEST};
use crate::load::{Admin, Commits, Kind, Load, Producer, key, value};

/// How far before its known end a log is read again after a cut: further back than a cut can reach. At the end all is read.
const READ_AGAIN: i64 = 600;

/// Everything that was acknowledged, or the first thing that is wrong.
///
/// `None` when the connection went: the power may go while we look.
pub fn judge(load: &mut Load, address: SocketAddr, whole: bool) -> Option<Result<(), String>> {
    let mut client = Client::to(address)?;
    for producer in &mut load.producers {
        if whole {
            producer.judged = 0;
        }
        if let Err(broken) = partition(&mut client, producer)? {
            let at = format!("{}-{}", producer.topic.name, producer.partition);
            return Some(Err(format!("{broken} ({at})")));
        }
    }
    let judged = match commits(&mut client, &load.commits)? {
        Ok(()) => topics(&mut client, &mut load.admin)?,
        broken => broken,
    };
    Some(judged)
}

fn partition(client: &mut Client, producer: &mut Producer) -> Option<Result<(), String>> {
    let (topic, index) = (producer.topic.name, producer.partition);
    let (start, end) = (client.offset(topic, index, EARLIEST)?, client.offset(topic, index, LATEST)?);
    if let Err(broken) = bounds(producer, start, end) {
        return Some(Err(broken));
    }
    let mut next = match producer.topic.kind {
        Kind::Compacted => start,
        _ => start.max(producer.judged - READ_AGAIN),
    };
    let mut latest = BTreeMap::new();
    while next < end {
        let records = match client.records(topic, index, next)? {
            Ok(records) => records,
            Err(broken) => return Some(Err(format!("OnceAndInOrder: {broken}"))),
        };
        let Some(last) = records.last().map(|record| record.offset.get()) else {
            // Retention goes on while we look.
            let begins = client.offset(topic, index, EARLIEST)?;
            if producer.topic.kind == Kind::Bounded && begins > next {
                next = begins;
                continue;
            }
            return Some(Err(format!("AcknowledgedSurvives: nothing at {next} of [{start}, {end})")));
        };
        for record in &records {
            if let Err(broken) = is_right(producer, record, next) {
                return Some(Err(broken));
            }
            next = record.offset.get() + 1;
            latest.insert(key(next - 1), next - 1);
        }
        next = last + 1;
    }
    producer.judged = end;
    Some(if producer.topic.kind == Kind::Compacted { latest_of_keys(producer, &latest) } else { Ok(()) })
}

fn bounds(producer: &Producer, start: i64, end: i64) -> Result<(), String> {
    let (acknowledged, sent) = (producer.acknowledged, producer.sent);
    if end != acknowledged && end != sent {
        let law = if end < acknowledged { "AcknowledgedSurvives" } else { "OnceAndInOrder" };
        return Err(format!("{law}: ends at {end}; acknowledged up to {acknowledged}, sent up to {sent}"));
    }
    let (least, most) = match producer.topic.kind {
        Kind::Whole => (0, 0),
        Kind::Purged => (producer.deleted, producer.to_delete),
        Kind::Bounded => (0, acknowledged),
        Kind::Compacted => (0, 0),
    };
    if start < least || start > most {
        return Err(format!("AcknowledgedSurvives: starts at {start}, not within {least} and {most}"));
    }
    Ok(())
}

/// A record has the number that its offset is, and what follows from that.
fn is_right(producer: &Producer, record: &Record, expected: i64) -> Result<(), String> {
    let offset = record.offset.get();
    if producer.topic.kind != Kind::Compacted && offset != expected {
        return Err(format!("OnceAndInOrder: {offset} comes where {expected} was due"));
    }
    let content = record.value.as_deref().unwrap_or_default();
    let sound = content == value(offset, content.len() as u64)
        && record.key.as_deref() == Some(key(offset).as_bytes());
    if sound { Ok(()) } else { Err(format!("OnceAndInOrder: another record at {offset}")) }
}

/// The latest record of each key that was acknowledged is there, unless a later one has come.
fn latest_of_keys(producer: &Producer, found: &BTreeMap<String, i64>) -> Result<(), String> {
    let acknowledged: BTreeMap<String, i64> =
        (0..producer.acknowledged).map(|number| (key(number), number)).collect();
    let missing = acknowledged.iter().find(|(key, number)| found.get(*key).is_none_or(|at| at < *number));
    match missing {
        None => Ok(()),
        Some((key, number)) => Err(format!(
            "AcknowledgedSurvives: {key} was written at {number} last, found is {:?}",
            found.get(key)
        )),
    }
}

fn commits(client: &mut Client, commits: &Commits) -> Option<Result<(), String>> {
    for (group, &(acknowledged, sent)) in commits.of.iter().enumerate().filter(|(_, of)| of.1 > 0) {
        let name = Commits::group(group);
        client.find_coordinator(&name)?;
        let found = client.committed(&name, Commits::TOPIC)?;
        // Nothing is told of an offset that was not committed yet.
        let found = found.max(0);
        if found < acknowledged || found > sent {
            return Some(Err(format!(
                "AcknowledgedSurvives: {name} has committed {found}; acknowledged was {acknowledged}, sent {sent}"
            )));
        }
    }
    Some(Ok(()))
}

/// What was being created or deleted is looked at, and known from then on.
fn topics(client: &mut Client, admin: &mut Admin) -> Option<Result<(), String>> {
    let found = client.topics()?;
    let is_there = |name: &String| found.contains(name);
    if let Some(name) = admin.there.iter().find(|name| !is_there(name)) {
        return Some(Err(format!("AcknowledgedSurvives: topic {name} was created")));
    }
    if let Some(name) = admin.gone.iter().find(|name| is_there(name)) {
        return Some(Err(format!("AcknowledgedSurvives: topic {name} was deleted")));
    }
    let known = |name: &String| admin.there.contains(name) || admin.open.as_ref() == Some(name);
    let stray = found.iter().find(|name| name.starts_with(Admin::PREFIX) && !known(name));
    if let Some(name) = stray {
        return Some(Err(format!("OnceAndInOrder: topic {name} is there")));
    }
    if let Some(name) = admin.open.take() {
        if is_there(&name) {
            admin.there.insert(name)
        } else {
            admin.gone.insert(name)
        };
    }
    Some(Ok(()))
}
