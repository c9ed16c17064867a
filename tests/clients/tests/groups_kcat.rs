//! kcat's balanced consumer: members join and end, and together they print each record once.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dohle_tests_clients::checks::Checks;
use dohle_tests_clients::groups::load::Load;
use dohle_tests_clients::groups::scene::{PARTITIONS, SETTINGS, TOPIC};
use dohle_tests_clients::install;
use dohle_tests_clients::process::Process;
use dohle_tests_clients::target::{Given, Target};

const PROTOCOLS: [&str; 3] = ["range", "cooperative-sticky", "consumer"];
const WAIT_LIMIT: Duration = Duration::from_secs(60);
const END_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Long enough to join, to be dealt partitions, and to read some.
const TO_JOIN: Duration = Duration::from_secs(4);

#[test]
fn kcat_in_groups() {
    let Some(program) = install::kcat() else {
        eprintln!("\n*** kcat is not installed and cannot be without root: ITS GROUPS DO NOT RUN HERE ***\n");
        return;
    };
    let target = Target::with(Given::ByFile, &SETTINGS);
    let mut checks = Checks::of("groups of kcat");
    let load = Load::on(TOPIC, PARTITIONS, &target.bootstrap(), target.folder());
    load.run();
    let member = |protocol: &str, number: usize| {
        // What kcat says of itself must not come between the parts of a line that it prints.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(&program);
        command.args(["-b", &target.bootstrap(), "-X", "broker.address.family=v4", "-u", "-q"]);
        command.args(["-X", "auto.offset.reset=earliest", "-X", "statistics.interval.ms=0"]);
        match protocol {
            "consumer" => command.args(["-X", "group.protocol=consumer"]),
            assignor => command.arg("-X").arg(format!("partition.assignment.strategy={assignor}")),
        };
        command.args(["-f", "%p %o\\n", "-G", protocol, TOPIC]);
        let log = printed(target.folder(), protocol, number);
        Process::start(&format!("kcat {protocol} {number}"), &mut command, &log)
    };
    let speaks = |protocol: &&&str| **protocol != "consumer" || knows_consumer(&program);
    let protocols: Vec<&str> = PROTOCOLS.iter().filter(speaks).copied().collect();
    let mut first: Vec<Process> = protocols.iter().map(|p| member(p, 1)).collect();
    let mut second: Vec<Process> = protocols.iter().map(|p| member(p, 2)).collect();
    std::thread::sleep(TO_JOIN);
    let mut third: Vec<Process> = protocols.iter().map(|p| member(p, 3)).collect();
    std::thread::sleep(TO_JOIN);
    // kcat drops the record that it has in its hand when it is told to end, and commits it.
    all_is_read(&load, target.folder(), &protocols);
    end(&mut checks, &mut first);
    load.run();
    std::thread::sleep(TO_JOIN);
    all_is_read(&load, target.folder(), &protocols);
    let wanted = load.written().count;
    end(&mut checks, &mut second);
    end(&mut checks, &mut third);
    let ends = load.written();
    for protocol in &protocols {
        let seen = read(target.folder(), protocol);
        let each = (0..ends.count).map(|i| ((i % PARTITIONS, i / PARTITIONS), 1)).collect();
        checks.that(
            seen == each,
            format!("{protocol}: each of {wanted} records was printed once, {} were", seen.len()),
        );
        for number in 1..=3 {
            let lines = lines(&printed(target.folder(), protocol, number)).len();
            checks.that(lines > 0, format!("{protocol}: member {number} printed something"));
        }
    }
    checks.finish(protocols.len() * 7);
}

/// The load rests, and the members of each group have printed as many records as were written.
fn all_is_read(load: &Load, folder: &Path, protocols: &[&str]) {
    load.rest();
    let wanted = load.written().count as usize;
    for protocol in protocols {
        let until = Instant::now() + WAIT_LIMIT;
        while read(folder, protocol).values().sum::<usize>() < wanted && Instant::now() < until {
            std::thread::sleep(POLL);
        }
    }
}

/// SIGTERM, upon which kcat commits, leaves and ends by itself.
fn end(checks: &mut Checks, members: &mut [Process]) {
    for member in members {
        let ended = member.terminate(END_LIMIT).is_some_and(|status| status.success());
        checks.that(ended, format!("a member ends well\n{}", member.log_tail()));
    }
}

/// Whether the librdkafka that kcat is linked with has the new protocol.
fn knows_consumer(program: &Path) -> bool {
    let listed = Command::new(program).args(["-X", "list"]).output().expect("kcat lists its settings");
    String::from_utf8_lossy(&listed.stdout).contains("group.protocol ")
}

fn printed(folder: &Path, protocol: &str, number: usize) -> PathBuf {
    folder.join(format!("kcat-{protocol}-{number}"))
}

/// How often each (partition, offset) was printed.
fn read(folder: &Path, protocol: &str) -> BTreeMap<(u64, u64), usize> {
    let mut seen = BTreeMap::new();
    for number in 1..=3 {
        for record in lines(&printed(folder, protocol, number)) {
            *seen.entry(record).or_default() += 1;
        }
    }
    seen
}

/// "partition offset" per line; the last may not be whole yet.
fn lines(path: &Path) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let parse = |line: &str| {
        let (partition, offset) = line.split_once(' ')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    text.split_inclusive('\n').filter(|l| l.ends_with('\n')).filter_map(|l| parse(l.trim_end())).collect()
}
