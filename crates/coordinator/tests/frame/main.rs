//! The frame with a coordinator that has nothing to do with groups: named counters, with records, timers, parked replies and jobs.
//!
//! [`shell::Shell`] does what the broker's shell does, with a log that is a vector and appends that fail when they are told to.

mod counters;
mod properties;
mod shell;

use dohle_coordinator::frame::{Coordinator, Effects, EncodedRecord, Moment, Record, Shard, size_in_log};
use dohle_types::{ErrorCode, TimestampMs};

use counters::{Ask, Counters, Put, Tell};
use shell::Shell;

pub fn at(tick_ms: u64) -> Moment {
    Moment { wall: TimestampMs(1_000_000 + tick_ms as i64), tick_ms, chance: tick_ms }
}

#[test]
fn a_reply_waits_for_its_records_and_for_those_before_them() {
    let mut shell = Shell::new();
    let first = shell.ask(Ask::Add("a", 2));
    let read = shell.ask(Ask::Read("a"));
    let peek = shell.ask(Ask::Peek("a"));
    assert_eq!(shell.answer(peek), Some(Ok(Tell::Value(2))), "what needs no storing is told at once");
    assert_eq!((shell.answer(first), shell.answer(read)), (None, None));
    shell.append();
    assert_eq!((shell.answer(first), shell.answer(read)), (None, None), "appended is not stored");
    shell.store();
    assert_eq!(shell.answer(first), Some(Ok(Tell::Value(2))));
    assert_eq!(shell.answer(read), Some(Ok(Tell::Value(2))));
}

#[test]
fn events_of_one_turn_share_a_batch_and_keep_their_units() {
    let mut shard = Shard::new(Counters::default(), 10_000);
    for n in 0..3 {
        shard.handle(at(0), dohle_coordinator::frame::ReplyTo(n), Ask::Add("a", 1));
    }
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(3), Ask::AddBoth("b", "c", 1));
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(4), Ask::Clear);
    let batch = shard.take_batch().expect("there are records");
    assert_eq!(batch.records.len(), 3 + 2 + 3);
    // What is cleared may be divided, the two that belong together may not.
    assert_eq!(batch.units, [1, 2, 3, 5, 6, 7, 8]);
    assert_eq!(batch.replies.len(), 5);
    assert!(shard.take_batch().is_none() && !shard.has_batch());
}

#[test]
fn an_event_that_no_batch_could_hold_does_not_happen() {
    let one = size_in_log(&Put { name: "x".repeat(10), value: Some(1) }.encode());
    // Room for one record, not for two.
    let mut shard = Shard::new(Counters::default(), 61 + one);
    let (x, y): (&'static str, &'static str) = ("xxxxxxxxxx", "yyyyyyyyyy");
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(0), Ask::AddBoth(x, y, 1));
    let batch = shard.take_batch().expect("the reply");
    assert!(batch.records.is_empty());
    assert_eq!(batch.replies[0].1, Err(ErrorCode::UnknownServerError));
    assert_eq!(shard.coordinator().value(x), 0, "nothing of it has happened");
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(1), Ask::Add(x, 1));
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(2), Ask::Add(y, 1));
    assert!(shard.is_full());
    shard.handle(at(0), dohle_coordinator::frame::ReplyTo(3), Ask::Clear);
    let batch = shard.take_batch().expect("records");
    assert_eq!(batch.units, [1, 2, 3, 4], "what is divisible fits however much it is");
}

#[test]
fn a_parked_reply_comes_with_a_later_event_or_with_a_timer() {
    let mut shell = Shell::new();
    let met = shell.ask(Ask::WaitFor("a", 3));
    let unmet = shell.ask(Ask::WaitFor("a", 100));
    shell.ask(Ask::Add("a", 3));
    shell.append();
    shell.store();
    assert_eq!(shell.answer(met), Some(Ok(Tell::Value(3))));
    assert_eq!(shell.answer(unmet), None);
    shell.advance(counters::PATIENCE_MS - 1);
    assert_eq!(shell.answer(unmet), None);
    shell.advance(1);
    shell.append();
    assert_eq!(shell.answer(unmet), Some(Err(ErrorCode::RequestTimedOut)));
    assert_eq!(shell.next_due(), Some(counters::LIFETIME_MS), "of two timers one is left");
}

#[test]
fn a_refused_append_has_never_been() {
    let mut shell = Shell::new();
    let kept = shell.ask(Ask::Add("a", 1));
    shell.append();
    shell.store();
    let parked = shell.ask(Ask::WaitFor("a", 10));
    let lost = shell.ask(Ask::Add("a", 5));
    let also = shell.ask(Ask::Read("a"));
    shell.refuse_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(shell.answer(kept), Some(Ok(Tell::Value(1))));
    for waiting in [parked, lost, also] {
        assert_eq!(shell.answer(waiting), Some(Err(ErrorCode::NotEnoughReplicas)), "nobody is left hanging");
    }
    assert_eq!(shell.value("a"), 1);
    let again = shell.ask(Ask::Add("a", 5));
    shell.append();
    shell.store();
    assert_eq!(shell.answer(again), Some(Ok(Tell::Value(6))));
}

#[test]
fn timers_are_set_again_when_a_shard_is_loaded() {
    let mut shell = Shell::new();
    shell.ask(Ask::Add("a", 1));
    shell.append();
    shell.store();
    shell.advance(counters::LIFETIME_MS - 1);
    shell.reload();
    assert_eq!(shell.value("a"), 1);
    // What is remembered of time is wall time; a counter that is loaded lives as long as the rest of it says.
    shell.advance(1);
    shell.append();
    shell.store();
    assert_eq!(shell.value("a"), 0);
    assert_eq!(shell.next_due(), None, "an idle shard waits for nothing");
}

#[test]
fn a_job_comes_back_as_an_event() {
    let mut shell = Shell::new();
    shell.ask(Ask::Add("a", 21));
    let doubled = shell.ask(Ask::Double("a"));
    assert_eq!(shell.run_jobs(), 1);
    shell.append();
    assert_eq!(shell.answer(doubled), None);
    shell.store();
    assert_eq!(shell.answer(doubled), Some(Ok(Tell::Value(42))));
}

#[test]
fn a_transaction_counts_when_it_has_committed() {
    let mut shard = Shard::new(Counters::default(), 10_000);
    let [mine, other] = [dohle_types::ProducerId(7), dohle_types::ProducerId(8)];
    let put = |name: &str, value| Put { name: name.to_owned(), value: Some(value) };
    shard.replay(put("a", 5), dohle_types::Offset(0), Some(mine));
    shard.replay(put("b", 6), dohle_types::Offset(1), Some(other));
    assert_eq!(shard.coordinator().value("a"), 0);
    shard.end_transaction(mine, true);
    shard.end_transaction(other, false);
    assert_eq!((shard.coordinator().value("a"), shard.coordinator().value("b")), (5, 0));
}

#[test]
fn records_of_unknown_kinds_are_passed_over_and_broken_ones_are_not() {
    let encoded = Put { name: "a".to_owned(), value: Some(1) }.encode();
    assert!(matches!(Put::decode(encoded.key.clone(), encoded.value), Ok(Some(_))));
    assert!(matches!(Put::decode(vec![9, 9].into(), None), Ok(None)));
    assert!(Put::decode(encoded.key, Some(vec![1].into())).is_err());
}

/// That effects can be looked at where they are decided.
#[test]
fn effects_show_what_was_decided() {
    let mut effects = Effects::<Counters>::default();
    let mut counters = Counters::default();
    counters.handle(at(0), dohle_coordinator::frame::ReplyTo(0), Ask::Add("a", 1), &mut effects);
    let decided: Vec<EncodedRecord> = effects.decided().iter().map(Record::encode).collect();
    assert_eq!(decided.len(), 1);
}
