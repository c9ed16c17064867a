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

/// Apache Kafka answers what the scripts say.
#[test]
#[ignore = "needs an Apache Kafka: DOHLE_KAFKA names its address; topics t and u, a first delay of 3 s, metadata of 4 characters"]
fn kafka_answers_the_same() {
    let address = std::env::var("DOHLE_KAFKA").expect("DOHLE_KAFKA names the address of a broker");
    let scripts =
        ["join.txt", "rebalance.txt", "static.txt", "sync.txt", "leave.txt", "admin.txt", "offsets.txt"];
    let differences: Vec<String> =
        scripts.iter().flat_map(|name| script::kafka::compare(name, &address)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Ties between protocols go as in `java.util.HashMap`; what it prefers was asked of a Java 17.
#[test]
fn ties_are_decided_as_in_java() {
    let cases = [
        (["range", "roundrobin"], "range"),
        (["range", "cooperative-sticky"], "range"),
        (["roundrobin", "sticky"], "sticky"),
        (["sticky", "cooperative-sticky"], "sticky"),
        (["compatible", "sessioned"], "compatible"),
    ];
    for ([one, other], elected) in cases {
        let mut stage = script::Stage::new();
        stage.step(&format!("join g v=3 p={one}(t);{other}(t)"));
        stage.step(&format!("join g v=3 p={other}(t);{one}(t)"));
        let told = stage.step("tick 6000");
        assert!(told.contains(&format!("/{elected} ")), "{one} or {other}: {told}");
    }
}

/// Members that say anything at any time, twice, late, and out of order, with restarts in between. What must hold is checked after
/// every step; in the end everybody is answered.
#[test]
fn whatever_members_do() {
    for seed in 0..150 {
        let mut chance = Chance(seed);
        let mut stage = script::Stage::new();
        stage
            .step(["set delay=0", "set delay=3000", "set max_size=2", "set max_record=480"][chance.below(4)]);
        for _ in 0..120 {
            let line = chance.line(&stage);
            stage.step(&line);
        }
        stage.step("tick 2000000");
        assert!(stage.is_answered(), "seed {seed}");
    }
}

/// A seed's numbers (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end).expect("small")).expect("small")
    }

    fn of(&mut self, words: &[&str]) -> String {
        words[self.below(words.len())].to_owned()
    }

    fn line(&mut self, stage: &script::Stage) -> String {
        let group = self.of(&["g", "g", "g", "h"]);
        let member = match stage.members() {
            0 => "who".to_owned(),
            known => format!("M{}", known - self.below(known.min(5))),
        };
        let instance = self.of(&["", "", "", " i=a", " i=b"]);
        let generation = self.below(6);
        match self.below(16) {
            0..=2 => {
                let version = self.of(&["0", "3", "4", "8", "9"]);
                let protocols =
                    self.of(&["range(t)", "range(t);sticky(t)", "sticky(u);range(u)", "range(!?)"]);
                format!("join {group} v={version} p={protocols}{instance}")
            }
            3..=5 => {
                let protocols = self.of(&["range(t)", "range(t);sticky(t)", "sticky(u);range(u)"]);
                format!("join {group} m={member} p={protocols}{instance}")
            }
            6..=8 => {
                let long = self.of(&["x", "0123456789012345678901234567890123456789"]);
                format!(
                    "sync {group} m={member} v=4 p=null type=null gen={generation} a={member}:{long}{instance}"
                )
            }
            9 | 10 => format!("heartbeat {group} m={member} gen={generation}{instance}"),
            11 => format!("leave {group} members={member}{}", instance.replace(" i=", "@")),
            12 => format!("commit {group} m={member} gen={generation} t=t:0@{generation}{instance}"),
            13 => self.of(&[
                "reload",
                "delete g",
                "describe g h",
                "leave g members=@a",
                "commit g t=u:1@7",
                "forget g t=t:0",
            ]),
            _ => format!("tick {}", [0, 1, 3000, 9000, 20_000, 70_000][self.below(6)]),
        }
    }
}
