//! The classic protocol, played from `scripts/`.

use crate::groups::script;

#[test]
fn joins() {
    script::run("join.txt");
}

#[test]
fn rebalances() {
    script::run("rebalance.txt");
}

#[test]
fn static_members() {
    script::run("static.txt");
}

#[test]
fn syncs_and_heartbeats() {
    script::run("sync.txt");
}

#[test]
fn members_leave() {
    script::run("leave.txt");
}

#[test]
fn groups_are_listed_described_and_deleted() {
    script::run("admin.txt");
}
