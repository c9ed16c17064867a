//! What a seed makes of a world before it starts: who is there, and how much goes wrong.

use dohle_coordinator::groups::{ConsumerSettings, Settings};
use dohle_wire::Text;

use super::catalog::Catalog;
use super::member::{Member, Protocol};
use super::{classic, consumer};
use crate::kernel::Chance;
use crate::network::Weather;

pub struct Plan {
    pub settings: Settings,
    pub faults: Faults,
    pub catalog: Catalog,
    pub members: Vec<Member>,
}

/// Chances in a thousand: per message, per append, or per round, for each of those whom it may befall.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub weather: Weather,
    pub kill: u64,
    pub kill_at_append: u64,
    pub fail_append: u64,
    pub clock_jump: u64,
    pub topic_growth: u64,
    /// That a topic goes, or comes again.
    pub topic_deletion: u64,
    pub member_kill: u64,
    pub member_leave: u64,
    pub member_pause: u64,
    pub cut: u64,
}

/// A pattern of topics, and how many of the first it matches.
const PATTERN: &str = "t[01]";
const MATCHED: usize = 2;

/// Which protocols the members of one group speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Classic,
    Consumer,
    Both,
}

/// Anything may go wrong; of each kind a seed has nothing, some or much.
pub fn stormy(chance: &mut Chance) -> Plan {
    let mut plan = planned(chance, true);
    let mut some = |much: u64| match chance.below(3) {
        0 => 0,
        1 => much.div_ceil(5),
        _ => much,
    };
    plan.faults = Faults {
        weather: Weather { loss: some(60), duplication: some(60), slow: some(40) },
        kill: some(12),
        kill_at_append: some(250),
        fail_append: some(60),
        clock_jump: some(20),
        topic_growth: some(8),
        topic_deletion: some(8),
        member_kill: some(10),
        member_leave: some(10),
        member_pause: some(10),
        cut: some(10),
    };
    plan
}

/// Nothing goes wrong.
pub fn calm(chance: &mut Chance) -> Plan {
    planned(chance, false)
}

fn planned(chance: &mut Chance, with_twins: bool) -> Plan {
    let mut catalog = Catalog::default();
    for _ in 0..chance.between(1, 3) {
        catalog.add(chance.between(1, 6) as i32);
    }
    let mut members: Vec<Member> = Vec::new();
    for group in 0..chance.between(1, 2) {
        let group = Text::from(format!("g{group}"));
        let speech = *chance.pick(&[Speech::Classic, Speech::Consumer, Speech::Consumer, Speech::Both]);
        let statics = chance.happens(300);
        let cooperates = chance.happens(500);
        for number in 0..chance.between(1, 5) {
            // In the classic protocol a second process of one instance takes the first one's place.
            let twin = with_twins && speech == Speech::Classic && chance.happens(300);
            let instance_number = if twin { 0 } else { number };
            let instance =
                (statics && chance.happens(700)).then(|| Text::from(format!("i{instance_number}")));
            let speech = (speech, cooperates);
            let mut newcomer = member(members.len(), &group, instance, speech, &catalog, chance);
            // Whoever takes a place wants what the one before it wanted: the classic protocol does not assign anew for it.
            let same = |other: &&Member| other.group == group && other.instance == newcomer.instance;
            if let Some(first) = members.iter().find(same).filter(|_| newcomer.instance.is_some()) {
                newcomer.topics = first.topics.clone();
            }
            members.push(newcomer);
        }
    }
    Plan { settings: settings(chance), faults: Faults::default(), catalog, members }
}

fn member(
    place: usize,
    group: &Text,
    instance: Option<Text>,
    (speech, cooperates): (Speech, bool),
    catalog: &Catalog,
    chance: &mut Chance,
) -> Member {
    let mut topics: Vec<usize> = (0..catalog.len()).filter(|_| chance.happens(800)).collect();
    if topics.is_empty() {
        topics.push(0);
    }
    let rebalance_timeout_ms = chance.between(4_000, 10_000) as i32;
    let classic = match speech {
        Speech::Classic => true,
        Speech::Consumer => false,
        Speech::Both => chance.happens(500),
    };
    let protocol = if classic {
        Protocol::Classic(classic::Client::new(classic::Settings {
            session_timeout_ms: chance.between(3_500, 8_000) as i32,
            rebalance_timeout_ms,
            cooperates,
        }))
    } else {
        let assignor = *chance.pick(&[None, Some("uniform"), Some("range")]);
        let revocation_ms = chance.between(0, 1_500);
        let pattern = chance.happens(150).then_some(PATTERN);
        if pattern.is_some() {
            topics = (0..catalog.len()).take(MATCHED).collect();
        }
        Protocol::Consumer(consumer::Client::new(consumer::Settings {
            rebalance_timeout_ms,
            revocation_ms,
            assignor,
            pattern,
        }))
    };
    Member {
        place,
        group: group.clone(),
        instance,
        topics,
        protocol,
        life: 0,
        alive: false,
        paused_until_ms: 0,
        id: Text::new(),
        epoch: 0,
        given_at: 0,
        owned: std::collections::BTreeSet::new(),
        void: false,
        slots: [None; 3],
        up: crate::network::Line::default(),
        down: crate::network::Line::default(),
    }
}

/// Shorter times than anyone would set, so that a minute is long.
fn settings(chance: &mut Chance) -> Settings {
    let defaults = Settings::default();
    Settings {
        initial_rebalance_delay_ms: *chance.pick(&[0, 500, 3_000]),
        min_session_timeout_ms: 1_000,
        consumer: ConsumerSettings {
            session_timeout_ms: chance.between(4_000, 8_000) as i32,
            heartbeat_interval_ms: chance.between(500, 1_200) as i32,
            assignment_interval_ms: *chance.pick(&[0, 200, 1_000]),
            ..defaults.consumer.clone()
        },
        ..defaults
    }
}
