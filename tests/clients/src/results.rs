//! What a suite came to, one row per part and broker in `tests/conformance/results/<suite>.tsv`; `docs/conformance.md` is made
//! of these files. They are written where they are asked for, with `DOHLE_RESULTS=1`: a run that only wants to know leaves the
//! repository as it found it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use crate::install;
use crate::target::Kind;

const HEADER: &str =
    "# suite\tversion\ttarget\tpassed\tfailed\tskipped\tdenied\twhy denied (a number and a reason; ...)";

/// What one run of a suite, or of a part of it (`suite part`), came to.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// How many tests were not asked, by reason.
    pub denied: BTreeMap<String, usize>,
}

impl Figures {
    /// Where every one of `passed` tests passed.
    pub fn all_passed(passed: usize) -> Figures {
        Figures { passed, ..Figures::default() }
    }
}

/// Puts the row of `suite part` on this broker in the place of its last one, if results are asked for; the other rows of the
/// suite's file stay.
pub fn record(suite: &str, part: &str, version: &str, target: Kind, figures: &Figures) {
    if std::env::var_os("DOHLE_RESULTS").is_none_or(|wanted| wanted != "1") {
        return;
    }
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("the folder of results");
    let lock =
        File::create(std::env::temp_dir().join("dohle-conformance-results.lock")).expect("a lock file");
    lock.lock().expect("the lock of the results");
    let path = folder.join(format!("{suite}.tsv"));
    let name = if part.is_empty() { suite.to_owned() } else { format!("{suite} {part}") };
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, replaced(&old, &name, version, target, figures)).expect("a file of results");
}

fn folder() -> PathBuf {
    install::sources().join("../conformance/results")
}

fn replaced(old: &str, name: &str, version: &str, target: Kind, figures: &Figures) -> String {
    let target = match target {
        Kind::Kafka => "kafka",
        Kind::Dohle => "dohle",
    };
    let key = |row: &str| {
        let columns: Vec<&str> = row.split('\t').collect();
        (
            columns.first().copied().unwrap_or_default().to_owned(),
            columns.get(2).copied().unwrap_or_default().to_owned(),
        )
    };
    let rows = old.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut rows: BTreeMap<_, String> = rows.map(|row| (key(row), row.to_owned())).collect();
    let Figures { passed, failed, skipped, denied } = figures;
    let sum: usize = denied.values().sum();
    let reasons: Vec<String> = denied.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let row =
        format!("{name}\t{version}\t{target}\t{passed}\t{failed}\t{skipped}\t{sum}\t{}", reasons.join("; "));
    rows.insert(key(&row), row);
    let rows: Vec<String> = rows.into_values().collect();
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_its_own_row_only() {
        let first = replaced("", "s b", "1", Kind::Kafka, &Figures::all_passed(3));
        let denied = [("why".to_owned(), 2)].into();
        let second =
            replaced(&first, "s b", "1", Kind::Dohle, &Figures { passed: 1, denied, ..Figures::default() });
        let third = replaced(&second, "s b", "2", Kind::Kafka, &Figures::all_passed(4));
        assert_eq!(
            third,
            format!("{HEADER}\ns b\t1\tdohle\t1\t0\t0\t2\t2 why\ns b\t2\tkafka\t4\t0\t0\t0\t\n")
        );
    }
}
