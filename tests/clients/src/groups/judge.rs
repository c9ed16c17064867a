//! The rules that the books of all members of one group must keep together.
//!
//! - *One owner*: no two members own a partition at a time. A member owns it from the call that assigns it to the end of the call that
//!   takes it, or until it is killed, or stopped for longer than its session.
//! - *Nothing missing*: every record was delivered, with the content it must have.
//! - *Once*: no record was delivered twice, when nobody was killed or stopped.
//! - *Never back*: whoever gets a partition begins at an offset that is not before a commit acknowledged until then, and not
//!   behind everything that was ever tried to be committed; then it reads on without a gap.
//! - *Fenced*: no commit of a partition is acknowledged to one member while another owns it.

use std::collections::BTreeMap;

use super::ledger::{Event, Place, Time};

/// kafkajs knows the time to the millisecond.
const CLOCK: Time = 1_000;

/// One member: what it wrote down, and what was done to it.
#[derive(Debug)]
pub struct Witness<'a> {
    pub name: &'a str,
    pub events: &'a [Event],
    /// When it was killed, or stopped for longer than its session; it owns nothing from then on until it is assigned something.
    pub cut: &'a [Time],
}

/// The time in which a member owned a place, and what it read.
#[derive(Debug)]
struct Tenure {
    member: usize,
    from: Time,
    to: Time,
    offsets: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Commit {
    member: usize,
    tried: Time,
    acknowledged: Time,
    offset: u64,
}

/// What happened to one place.
#[derive(Debug, Default)]
struct History {
    tenures: Vec<Tenure>,
    tried: Vec<(Time, u64)>,
    commits: Vec<Commit>,
    /// How often each offset was delivered, whether or not by an owner.
    delivered: BTreeMap<u64, u32>,
    wrong: Vec<u64>,
}

/// The broken rules, by name; empty when all is well.
pub fn faults(witnesses: &[Witness], wanted: &BTreeMap<Place, Vec<u32>>, once: bool) -> Vec<String> {
    let mut histories: BTreeMap<Place, History> =
        wanted.keys().map(|p| (p.clone(), History::default())).collect();
    for (index, witness) in witnesses.iter().enumerate() {
        record(index, witness, wanted, &mut histories);
    }
    let mut faults = Vec::new();
    for (place, history) in &mut histories {
        history.tenures.sort_by_key(|t| t.from);
        let name = |member: usize| witnesses[member].name.to_owned();
        let mut say = |fault: String| faults.push(format!("{place}: {fault}"));
        one_owner(history, &name, &mut say);
        nothing_missing(history, wanted.get(place).map_or(0, Vec::len) as u64, &mut say);
        if once && let Some((offset, times)) = history.delivered.iter().find(|(_, times)| **times > 1) {
            say(format!("once: offset {offset} was delivered {times} times"));
        }
        never_back(history, &name, &mut say);
        fenced(history, &name, &mut say);
    }
    faults
}

fn record(
    index: usize,
    witness: &Witness,
    wanted: &BTreeMap<Place, Vec<u32>>,
    histories: &mut BTreeMap<Place, History>,
) {
    let mut tried: BTreeMap<Place, Time> = BTreeMap::new();
    // A cut ends what was owned before it, whenever the member learns of it.
    let end_of = |from: Time, to: Time| witness.cut.iter().copied().find(|c| *c > from).unwrap_or(to).min(to);
    let mut open: BTreeMap<Place, Tenure> = BTreeMap::new();
    let close = |tenure: Tenure, place: Place, at: Time, histories: &mut BTreeMap<Place, History>| {
        let to = end_of(tenure.from, at);
        histories.entry(place).or_default().tenures.push(Tenure { to, ..tenure });
    };
    for event in witness.events {
        match event {
            Event::Assigned(time, places) => {
                for place in places {
                    // A member that did not learn that it was cut is assigned the same again.
                    if let Some(before) = open.remove(place) {
                        close(before, place.clone(), *time, histories);
                    }
                    let tenure = Tenure { member: index, from: *time, to: Time::MAX, offsets: Vec::new() };
                    open.insert(place.clone(), tenure);
                }
            }
            Event::Revoked(time, places) | Event::Lost(time, places) => {
                for place in places {
                    if let Some(tenure) = open.remove(place) {
                        close(tenure, place.clone(), *time, histories);
                    }
                }
            }
            Event::Left(time) | Event::Failed(time, _) => {
                for (place, tenure) in std::mem::take(&mut open) {
                    close(tenure, place, *time, histories);
                }
            }
            Event::Delivered(place, offset, crc) => {
                let history = histories.entry(place.clone()).or_default();
                *history.delivered.entry(*offset).or_default() += 1;
                if wanted.get(place).and_then(|c| c.get(*offset as usize)) != Some(crc) {
                    history.wrong.push(*offset);
                }
                if let Some(tenure) = open.get_mut(place) {
                    tenure.offsets.push(*offset);
                }
            }
            Event::Trying(time, offsets) => {
                for (place, offset) in offsets {
                    tried.insert(place.clone(), *time);
                    histories.entry(place.clone()).or_default().tried.push((*time, *offset));
                }
            }
            Event::Committed(time, offsets) => {
                for (place, offset) in offsets {
                    let commit =
                        Commit { member: index, tried: tried[place], acknowledged: *time, offset: *offset };
                    histories.entry(place.clone()).or_default().commits.push(commit);
                }
            }
            Event::Refused(..) => {}
        }
    }
    for (place, tenure) in open {
        close(tenure, place, Time::MAX, histories);
    }
}

fn one_owner(history: &History, name: &dyn Fn(usize) -> String, say: &mut dyn FnMut(String)) {
    for pair in history.tenures.windows(2) {
        let [first, second] = pair else { continue };
        if second.from.saturating_add(CLOCK) < first.to && first.member != second.member {
            let (a, b) = (name(first.member), name(second.member));
            let until = if first.to == Time::MAX { "the end".to_owned() } else { format!("{} us", first.to) };
            say(format!("one owner: {a} from {} us until {until}, {b} from {} us", first.from, second.from));
        }
    }
}

fn nothing_missing(history: &History, count: u64, say: &mut dyn FnMut(String)) {
    if let Some(missing) = (0..count).find(|offset| !history.delivered.contains_key(offset)) {
        let delivered = history.delivered.len();
        say(format!("nothing missing: offset {missing} was not delivered, {delivered} of {count} were"));
    }
    if let Some(wrong) = history.wrong.first() {
        let count = history.wrong.len();
        say(format!(
            "nothing missing: offset {wrong} is not the record that was written, nor {count} in all"
        ));
    }
}

fn never_back(history: &History, name: &dyn Fn(usize) -> String, say: &mut dyn FnMut(String)) {
    for tenure in &history.tenures {
        let Some(&first) = tenure.offsets.first() else { continue };
        let before = history.commits.iter().filter(|c| c.acknowledged < tenure.from).map(|c| c.offset).max();
        let most = history.tried.iter().filter(|t| t.0 < tenure.to).map(|t| t.1);
        // What this member tried itself began where it began.
        let most = most.filter(|o| *o <= first).max().unwrap_or(0);
        let who = name(tenure.member);
        if before.is_some_and(|before| first < before) {
            say(format!(
                "never back: {who} began at {first}, {} was acknowledged before",
                before.unwrap_or(0)
            ));
        }
        if first > 0 && most < first {
            say(format!(
                "never back: {who} began at {first}, which nobody had committed; {most} is the most"
            ));
        }
        if let Some(gap) = tenure.offsets.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            say(format!("never back: {who} read {} after {}", gap[1], gap[0]));
        }
    }
}

fn fenced(history: &History, name: &dyn Fn(usize) -> String, say: &mut dyn FnMut(String)) {
    for commit in &history.commits {
        let other = history.tenures.iter().find(|t| {
            let throughout = t.from + CLOCK < commit.tried && t.to > commit.acknowledged;
            t.member != commit.member && throughout
        });
        if let Some(other) = other {
            let (a, b) = (name(commit.member), name(other.member));
            say(format!("fenced: {a} committed {} while {b} owned it", commit.offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        "t/0".to_owned()
    }

    fn wanted() -> BTreeMap<Place, Vec<u32>> {
        BTreeMap::from([(place(), vec![7, 7, 7])])
    }

    fn at(offset: u64) -> Vec<(Place, u64)> {
        vec![(place(), offset)]
    }

    fn first() -> Vec<Event> {
        vec![
            Event::Assigned(1, vec![place()]),
            Event::Delivered(place(), 0, 7),
            Event::Trying(20_000, at(1)),
            Event::Committed(30_000, at(1)),
            Event::Revoked(40_000, vec![place()]),
        ]
    }

    fn second() -> Vec<Event> {
        vec![
            Event::Assigned(50_000, vec![place()]),
            Event::Delivered(place(), 1, 7),
            Event::Delivered(place(), 2, 7),
        ]
    }

    fn judged(first: Vec<Event>, second: Vec<Event>) -> String {
        let both = [
            Witness { name: "a", events: &first, cut: &[] },
            Witness { name: "b", events: &second, cut: &[] },
        ];
        faults(&both, &wanted(), true).join("\n")
    }

    #[test]
    fn a_hand_over_in_step_is_sound() {
        assert_eq!(judged(first(), second()), "");
    }

    #[test]
    fn each_broken_rule_is_named() {
        let mut early = second();
        early[0] = Event::Assigned(35_000, vec![place()]);
        assert!(judged(first(), early).contains("one owner: "));
        let mut missing = second();
        missing.pop();
        assert!(judged(first(), missing).contains("nothing missing: offset 2"));
        let mut wrong = second();
        wrong[2] = Event::Delivered(place(), 2, 8);
        assert!(judged(first(), wrong).contains("is not the record"));
        let mut again = second();
        again.insert(1, Event::Delivered(place(), 0, 7));
        let said = judged(first(), again);
        assert!(said.contains("once: ") && said.contains("never back: b began at 0"), "{said}");
        let mut ahead = second();
        ahead.remove(1);
        assert!(judged(first(), ahead).contains("which nobody had committed"));
        let mut fenced = first();
        fenced.extend([Event::Trying(60_000, at(1)), Event::Committed(70_000, at(1))]);
        assert!(judged(fenced, second()).contains("fenced: a committed 1 while b"));
    }

    #[test]
    fn a_member_that_is_cut_owns_nothing_any_more() {
        let mut stopped = first();
        stopped.pop();
        let second = second();
        let both = |cut: &[Time]| {
            let a = Witness { name: "a", events: &stopped, cut };
            faults(&[a, Witness { name: "b", events: &second, cut: &[] }], &wanted(), true)
        };
        assert_eq!(both(&[45_000]), Vec::<String>::new());
        assert_eq!(both(&[]).len(), 1);
    }
}
