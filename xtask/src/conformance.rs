//! `cargo xtask conformance`: Apache Kafka's own JUnit integration tests, unchanged, against a broker in another process
//! (`tests/conformance/kafka-junit`), and the page that tells how all suites of strangers went (`docs/conformance.md`).
//!
//! | file | what |
//! |---|---|
//! | `selection` | which tests: modules, classes, methods, or what the allow list names |
//! | `rig` | jars, classes and the broker's command, made ready |
//! | `jvm` | the processes that run tests, fed with one class at a time |
//! | `outcome` | the table of results, and the allow list it is held to |
//! | `results`, `page` | the figures of every suite, and the page made of them |
//!
//! The allow list only grows: a test on it that is selected and does not pass is a failure, also when it did not run.

mod jvm;
mod outcome;
pub mod page;
mod results;
mod rig;
mod selection;

use std::path::Path;

use clap::Args;

pub use crate::clients::Target;
use crate::jars;
use crate::test::Counts;
use outcome::Outcome;
use rig::Rig;
use selection::Selection;

/// The suite's name among the results.
const SUITE: &str = "kafka-junit";
/// Where the rig lies.
const FOLDER: &str = "tests/conformance/kafka-junit";

#[derive(Args, Debug)]
pub struct Options {
    /// Modules, classes, or methods: core, TopicCommandTest, TopicCommandTest#testDelete, streams:EosIntegrationTest
    selectors: Vec<String>,
    /// Every module
    #[arg(long)]
    all: bool,
    /// What the allow list names; narrowed by the selectors, when there are some
    #[arg(long)]
    passed: bool,
    /// Against Apache Kafka, each node a process of its own
    #[arg(long)]
    kafka: bool,
    /// Add what passes to the allow list; write the figures of whole modules, and the page
    #[arg(long)]
    bless: bool,
    /// How many processes run tests at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Write docs/conformance.md from the last results
    #[arg(long)]
    page: bool,
}

impl Options {
    fn target(&self) -> Target {
        if self.kafka { Target::Kafka } else { Target::Dohle }
    }
}

pub fn run(root: &Path, options: &Options) -> Result<Counts, String> {
    let nothing_selected = options.selectors.is_empty() && !options.all && !options.passed;
    if options.page && nothing_selected {
        return page::write(root);
    }
    if nothing_selected {
        return Err("name a module, a class or a method, or say --all or --passed".to_owned());
    }
    let target = options.target();
    let rig = Rig::prepare(root, target)?;
    let allowed = outcome::read_allowed(root, target)?;
    let mut selection = match options.all || options.selectors.is_empty() {
        true => Selection::everything(rig.classes()),
        false => Selection::of(&options.selectors, rig.classes())?,
    };
    if options.passed {
        selection = selection.only(&allowed);
    }
    println!("{selection}; Apache Kafka's tests {} against {target}", jars::KAFKA);
    let rows = jvm::run(&rig, &selection, usize::from(options.jobs));
    rig.clear();
    let rows = rows?;
    let outcome = Outcome { rows, selection, only_allowed: options.passed };
    outcome.write(&rig.results())?;
    if options.bless {
        outcome.bless(root, target, &allowed)?;
    }
    if options.bless && !options.passed {
        let whole = outcome.of_whole_modules(target);
        if !whole.is_empty() {
            results::record(root, SUITE, whole)?;
            page::write(root)?;
        }
    }
    let counts = outcome.judge(&allowed);
    println!("results: {}", rig.results().display());
    println!("conformance: {counts}");
    Ok(counts)
}
