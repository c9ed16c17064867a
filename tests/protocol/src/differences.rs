//! Where Dohle means to answer otherwise than Apache Kafka 4.3.1, each with the reason.

use std::sync::OnceLock;

use regex::Regex;

/// A field that may differ. The patterns are regular expressions over the whole of what they are matched with.
#[derive(Debug)]
pub struct Difference {
    /// `script/case vN`.
    pub case: &'static str,
    /// `path.field`, as `.topics[x].partitions[0].error_code`; of a struct that only one side has, `path`.
    pub field: &'static str,
    /// What Kafka has there, `-` for nothing.
    pub kafka: &'static str,
    pub dohle: &'static str,
    pub reason: &'static str,
}

pub const DIFFERENCES: &[Difference] = &[];

pub fn allowed(case: &str, field: &str, kafka: &str, dohle: &str) -> Option<usize> {
    static COMPILED: OnceLock<Vec<[Regex; 4]>> = OnceLock::new();
    let whole = |pattern: &str| Regex::new(&format!("^(?s:{pattern})$")).expect("a pattern of a difference");
    let compiled = COMPILED.get_or_init(|| {
        DIFFERENCES.iter().map(|d| [whole(d.case), whole(d.field), whole(d.kafka), whole(d.dohle)]).collect()
    });
    let given = [case, field, kafka, dohle];
    compiled.iter().position(|patterns| patterns.iter().zip(given).all(|(pattern, text)| pattern.is_match(text)))
}
