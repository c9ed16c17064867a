//! Life after life of one broker, each ended by a cut or a kill.

use std::time::{Duration, Instant};

use dohle_env::disk::{Lie, SimDisk};

use crate::judge::judge;
use crate::load::{Chance, Load};
use crate::node::{Node, Started};

/// The longest that a life lasts when its cut has not come by itself.
const LIFE_LIMIT: Duration = Duration::from_secs(4);
/// How long a broker that is killed lives at most.
const LIFE_MS: u64 = 1500;
/// Operations on the disk until a cut: up to 2 to the power of this, any power as often as another.
const POWERS: u64 = 13;
/// Of a start alone, with what it recovers.
const OPERATIONS_OF_A_START: u64 = 150;

#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub cuts: u64,
    pub seed: u64,
    pub end: End,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// By a power cut. With a lie, flushes of a kind store nothing: the proof that this is noticed.
    Cut(Option<Lie>),
    /// By SIGKILL, on the disk of this machine.
    Killed,
}

/// What was done, when everything was found.
#[derive(Debug, Default)]
pub struct Done {
    pub acknowledged: i64,
    pub commits: i64,
    pub topics: usize,
    /// Cuts before the broker was ready.
    pub early: u64,
    pub slowest_start: Duration,
}

/// Cuts the power again and again. An error is the first invariant that did not hold, with the cut before it.
pub fn soak(wish: Wish) -> Result<Done, String> {
    let disk = match wish.end {
        End::Killed => None,
        End::Cut(lie) => {
            let disk = SimDisk::new(wish.seed);
            disk.lie(lie);
            Some(disk)
        }
    };
    let (mut node, mut load) = (Node::on(disk), Load::new(wish.seed));
    let (mut chance, mut done) = (Chance(wish.seed), Done::default());
    for cut in 0..wish.cuts {
        let at = |broken: String| format!("cut {cut} of seed {}: {broken}", wish.seed);
        // Every fourth life may end while it recovers; the first one is let live until its topics are there.
        let early = cut > 0 && chance.below(4) == 0;
        if early {
            node.cut_after(chance.below(OPERATIONS_OF_A_START));
        }
        life(wish, &mut node, &mut load, &mut chance, early, &mut done).map_err(at)?;
        node.fall().map_err(at)?;
        node.power_returns(chance.below(u64::MAX));
    }
    let started = start(&mut node, &mut done)?;
    assert_eq!(started, Started::Ready, "no cut is to come");
    let broken = judge(&mut load, node.address(), true);
    broken.unwrap_or_else(|| Err(format!("StartsAgain: it went by itself\n{}", node.log_tail())))?;
    done.acknowledged = load.acknowledged();
    done.commits = load.commits.of.iter().map(|of| of.0).sum();
    done.topics = load.admin.there.len() + load.admin.gone.len();
    Ok(done)
}

fn start(node: &mut Node, done: &mut Done) -> Result<Started, String> {
    let began = Instant::now();
    let started = node.start()?;
    if started == Started::Ready {
        done.slowest_start = done.slowest_start.max(began.elapsed());
    }
    Ok(started)
}

/// From a start to a cut.
fn life(
    wish: Wish,
    node: &mut Node,
    load: &mut Load,
    chance: &mut Chance,
    early: bool,
    done: &mut Done,
) -> Result<(), String> {
    if start(node, done)? == Started::CutBefore {
        done.early += 1;
        return Ok(());
    }
    let address = node.address();
    if !Load::create_topics(address) {
        return gone(node);
    }
    match judge(load, address, false) {
        None => return gone(node),
        Some(judged) => judged?,
    }
    if !early {
        let power = 1 + chance.below(POWERS);
        let operations = chance.below(1 << power);
        node.cut_after(operations);
    }
    let limit = match wish.end {
        End::Cut(_) => LIFE_LIMIT,
        End::Killed => Duration::from_millis(chance.below(LIFE_MS)),
    };
    let mut fallen = Ok(());
    load.work(address, || {
        node.await_cut(limit);
        fallen = node.fall();
    })?;
    fallen
}

/// The connection went while nobody was to cut it, unless the power has gone.
fn gone(node: &Node) -> Result<(), String> {
    if node.has_fallen() {
        return Ok(());
    }
    Err(format!("StartsAgain: the connection went\n{}", node.log_tail()))
}
