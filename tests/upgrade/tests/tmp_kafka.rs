use dohle_tests_upgrade::node::*;
use dohle_tests_upgrade::relay::*;
#[test]
fn alone() {
    let node = Node::new(Quorum::InTheLog, &[]);
    let mut relay = Relay::on(node, "alone");
    let mut owed = OWED_BY_LOAD + 1 + 4 * 14;
    for turn in 0..14 { relay.turn(Program::Dohle, End::Killed); owed += owed_by_turn(turn); }
    relay.settle(Program::Dohle, owed);
}
