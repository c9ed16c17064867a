//! `floor`: what the machine takes for the least that any broker has to do, so that a figure can be told from its machine's.
//!
//! Two programs that do nothing else, each on the broker's core: one answers a request of 200 bytes with 20, one at a time; one appends 64 KiB to
//! one of twelve files and flushes it, at a fixed rate and as fast as five of them go.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::loads::costed;
use super::process::Process;
use super::report::{median, rounded};
use super::{Lab, lab};
use crate::Outcome;
use crate::client::{Latencies, Moment};

const REQUEST: usize = 200;
const RESPONSE: usize = 20;
const BLOCK: usize = 64 << 10;
const FILES: u64 = 12;
const RATE: f64 = 100e6;
const IN_FLIGHT: u64 = 5;
const SLOW_REQUESTS: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each part.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Where the files are; a folder on the disk that is to be measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// What the program on the broker's core does.
    #[arg(long, hide = true)]
    serve: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Echo,
    Paced,
    Loop,
}

/// Measures all parts and prints a table.
pub fn run(options: &Options) -> Outcome<()> {
    let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    match options.serve {
        Some(Part::Echo) => return answer(&TcpListener::bind("127.0.0.1:0")?),
        Some(part) => return flush(part, &folder, options.seconds),
        None => {}
    }
    let lab = Lab::open(&lab::Options {
        without_kafka: true,
        without_dohle: true,
        folder: options.folder.clone(),
        ..lab::Options::default()
    })?;
    let mut figures: Vec<(&str, Vec<f64>)> = Vec::new();
    for _ in 0..options.rounds.max(1) {
        for (name, figure) in [echo(&lab, options.seconds)?, flushes(&lab, options.seconds)?].concat() {
            match figures.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(figure),
                None => figures.push((name, vec![figure])),
            }
        }
    }
    println!("| median (least to most) | |\n|---|---|");
    for (name, mut all) in figures {
        all.sort_by(f64::total_cmp);
        let (least, most) = (rounded(all[0]), rounded(all[all.len() - 1]));
        println!("| `{name}` | {} ({least} to {most}) |", rounded(median(&all)));
    }
    Ok(())
}

/// The program on the broker's core, which says one line before it serves.
struct Served {
    child: Child,
    said: String,
}

impl Served {
    fn begin(lab: &Lab, part: &str, arguments: &[String]) -> Outcome<Self> {
        let mut command = lab.machine.on_broker_core(&std::env::current_exe()?);
        command.args(["floor", "--serve", part]).args(arguments).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        Ok(Self { child, said: said.trim().to_owned() })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

type Figures = Vec<(&'static str, f64)>;

fn echo(lab: &Lab, seconds: f64) -> Outcome<Figures> {
    let served = Served::begin(lab, "echo", &[])?;
    let mut stream = TcpStream::connect(&served.said)?;
    stream.set_nodelay(true)?;
    ask(&mut stream, seconds / 4.0, None)?;
    let process = Process::new(served.child.id());
    let (busy, cost) = costed(&process, || ask(&mut stream, seconds, None))?;
    let (calm, calm_cost) = costed(&process, || ask(&mut stream, seconds, Some(SLOW_REQUESTS)))?;
    Ok(vec![
        ("echo_p50_ms", busy.0.ms(0.5)),
        ("echo_p99_ms", busy.0.ms(0.99)),
        ("echo_cpu_us_per_request", 1e6 * cost.broker_s / busy.1 as f64),
        ("echo_200_p50_ms", calm.0.ms(0.5)),
        ("echo_200_cpu_us_per_request", 1e6 * calm_cost.broker_s / calm.1 as f64),
    ])
}

/// Requests one after the other, or one each so long; their latencies from when they were due, and how many.
fn ask(stream: &mut TcpStream, seconds: f64, every: Option<Duration>) -> Outcome<(Latencies, u64)> {
    let (mut latencies, mut count) = (Latencies::default(), 0);
    let (request, mut response) = ([0; REQUEST], [0; RESPONSE]);
    let start = Moment::now();
    while start.elapsed().as_secs_f64() < seconds || count == 0 {
        let sent = match every {
            Some(every) => start.plus(every * count),
            None => Moment::now(),
        };
        sent.wait();
        stream.write_all(&request)?;
        stream.read_exact(&mut response)?;
        latencies.record(sent.elapsed(), 1);
        count += 1;
    }
    Ok((latencies, u64::from(count)))
}

/// Answers one client until it leaves.
fn answer(listener: &TcpListener) -> Outcome<()> {
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut request = [0; REQUEST];
    while stream.read_exact(&mut request).is_ok() {
        stream.write_all(&[0; RESPONSE])?;
    }
    Ok(())
}

fn flushes(lab: &Lab, seconds: f64) -> Outcome<Figures> {
    let figures = |part: &str| -> Outcome<[f64; 3]> {
        let folder = lab.machine.folder.join("floor");
        fs::create_dir_all(&folder)?;
        lab.machine.settle((RATE * seconds * 2.0) as u64);
        let folder = folder.display().to_string();
        let served =
            Served::begin(lab, part, &["--folder".into(), folder, "--seconds".into(), seconds.to_string()])?;
        let mut numbers = served.said.split(' ').map(str::parse::<f64>);
        let mut next = || numbers.next().ok_or_else(|| format!("it said '{}'", served.said));
        Ok([next()??, next()??, next()??])
    };
    let [_, paced_p50, paced_p99] = figures("paced")?;
    let [rate, p50, p99] = figures("loop")?;
    Ok(vec![
        ("flush_100_p50_ms", paced_p50),
        ("flush_100_p99_ms", paced_p99),
        ("flush_loop_mb_per_s", rate),
        ("flush_loop_p50_ms", p50),
        ("flush_loop_p99_ms", p99),
    ])
}

/// Appends and flushes; says megabytes in a second, and half and nearly all of the latencies in milliseconds.
fn flush(part: Part, folder: &Path, seconds: f64) -> Outcome<()> {
    let (files, start) = (if part == Part::Paced { FILES } else { IN_FLIGHT }, Moment::now());
    let write = |file| match part {
        Part::Paced => paced(folder, file, start, seconds),
        _ => unpaced(folder, file, start, seconds),
    };
    let done: Outcome<Vec<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..files).map(|file| scope.spawn(move || write(file))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread has panicked")?).collect()
    });
    let (took, mut all, mut blocks) = (start.elapsed(), Latencies::default(), 0);
    for (latencies, count) in done? {
        all.add(&latencies);
        blocks += count;
    }
    let rate = (blocks * BLOCK as u64) as f64 / took.as_secs_f64() / 1e6;
    println!("{rate} {} {}", all.ms(0.5), all.ms(0.99));
    Ok(())
}

fn made(folder: &Path, file: u64) -> Outcome<File> {
    let path = folder.join(file.to_string());
    let made = File::create_new(&path)?;
    // It goes with the program that has it open.
    fs::remove_file(path)?;
    Ok(made)
}

/// Every block whose turn has come is written, and all of them are flushed together.
fn paced(folder: &Path, file: u64, start: Moment, seconds: f64) -> Outcome<(Latencies, u64)> {
    let (made, block) = (made(folder, file)?, vec![1; BLOCK]);
    let due =
        |count: u64| start.plus(Duration::from_secs_f64((count * FILES + file) as f64 * BLOCK as f64 / RATE));
    let end = start.plus(Duration::from_secs_f64(seconds));
    let (mut latencies, mut count) = (Latencies::default(), 0);
    while due(count) < end {
        due(count).wait();
        let (first, now) = (count, Moment::now());
        while due(count) <= now && due(count) < end {
            made.write_all_at(&block, count * BLOCK as u64)?;
            count += 1;
        }
        made.sync_data()?;
        (first..count).for_each(|one| latencies.record(due(one).elapsed(), 1));
    }
    Ok((latencies, count))
}

fn unpaced(folder: &Path, file: u64, start: Moment, seconds: f64) -> Outcome<(Latencies, u64)> {
    let (made, block) = (made(folder, file)?, vec![1; BLOCK]);
    let (mut latencies, mut count) = (Latencies::default(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        let began = Moment::now();
        made.write_all_at(&block, count * BLOCK as u64)?;
        made.sync_data()?;
        latencies.record(began.elapsed(), 1);
        count += 1;
    }
    Ok((latencies, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_answer_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || answer(&listener).is_ok());
        let mut stream = TcpStream::connect(address).unwrap();
        let (latencies, count) = ask(&mut stream, 0.05, None).unwrap();
        assert!(count > 0 && latencies.ms(0.5) > 0.0);
        drop(stream);
        assert!(server.join().unwrap());
    }

    #[test]
    fn every_block_that_is_due_is_flushed() {
        let folder = std::env::temp_dir().join(format!("dohle-floor-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // A file's turn comes every 7.9 ms.
        let (latencies, count) = paced(&folder, 0, Moment::now(), 0.05).unwrap();
        assert_eq!((count, latencies.is_empty()), (7, false));
        let (latencies, count) = unpaced(&folder, 0, Moment::now(), 0.05).unwrap();
        assert!(count > 0 && latencies.ms(0.99) > 0.0);
        fs::remove_dir(&folder).unwrap();
    }
}
