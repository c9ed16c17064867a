//! Committed offsets, played from `scripts/`.

use crate::groups::script;

#[test]
fn offsets_are_committed_and_fetched() {
    script::run("offsets.txt");
}

#[test]
fn offsets_in_transactions() {
    script::run("transactions.txt");
}

#[test]
fn offsets_expire() {
    script::run("expiry.txt");
}
