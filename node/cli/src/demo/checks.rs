//! What the demo claims, judged from what it saw.

use std::collections::BTreeSet;

use serde::Serialize;

/// A claim, and whether it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What should hold.
    pub(super) check: &'static str,
    /// Whether it did.
    pub(super) passed: bool,
    /// What was seen.
    pub(super) detail: String,
}

/// What a node said at the end.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub(super) name: &'static str,
    /// The ids of all texts, in the order shown.
    pub(super) history: Vec<String>,
    pub(super) leader_peer: String,
    pub(super) epoch: u64,
}

/// Everything seen.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    /// The ids of all texts that a node said were sent.
    pub(super) sent: Vec<String>,
    pub(super) witnesses: Vec<Witness>,
    /// Who leads according to whoever holds the lowest id: its identity.
    pub(super) lowest_peer: String,
    pub(super) lowest_name: String,
    /// Leader and epoch on record at the discovery service.
    pub(super) recorded: (String, u64),
    /// The epochs before the leader's death, after the election, and at the end.
    pub(super) epochs: [u64; 3],
    /// The highest id ever given before the old leader came back, and the id it got then.
    pub(super) highest_before: u64,
    pub(super) returned_as: u64,
}

/// Judges the evidence.
pub(super) fn judge(seen: &Evidence) -> Vec<Check> {
    let sent: BTreeSet<&String> = seen.sent.iter().collect();
    let mut orders = seen.witnesses.iter().map(|witness| &witness.history);
    let first = orders.next();
    let lost = |witness: &&Witness| sent.iter().any(|id| !witness.history.contains(id));
    let doubled = |witness: &&Witness| {
        let distinct: BTreeSet<&String> = witness.history.iter().collect();
        distinct.len() != witness.history.len()
    };
    let astray = |witness: &&Witness| witness.leader_peer != seen.lowest_peer || witness.epoch != seen.epochs[2];
    let (nodes, texts) = (seen.witnesses.len(), seen.sent.len());
    let [before, elected, last] = seen.epochs;
    vec![
        Check {
            check: "every node shows the same history in the same order",
            passed: first.is_some_and(|first| orders.all(|order| order == first)),
            detail: format!("{nodes} nodes compared"),
        },
        named("no message was lost", &seen.witnesses, lost, format!("{texts} sent, {texts} at every node")),
        named("no message is there twice", &seen.witnesses, doubled, format!("{texts} distinct ids")),
        named(
            "all follow the node with the lowest id",
            &seen.witnesses,
            astray,
            format!("{} leads epoch {last}", seen.lowest_name),
        ),
        Check {
            check: "the leader's death made a new epoch",
            passed: elected > before,
            detail: format!("epoch {before}, then {elected}"),
        },
        Check {
            check: "the discovery service names the same leader and epoch",
            passed: seen.recorded == (seen.lowest_peer.clone(), last),
            detail: format!("epoch {} on record", seen.recorded.1),
        },
        Check {
            check: "the old leader got a new, higher id",
            passed: seen.returned_as > seen.highest_before,
            detail: format!("id {} after ids up to {}", seen.returned_as, seen.highest_before),
        },
        Check {
            check: "its return caused no election",
            passed: elected == last,
            detail: format!("epoch {elected} before, {last} after"),
        },
    ]
}

fn named(check: &'static str, witnesses: &[Witness], fails: impl Fn(&&Witness) -> bool, detail: String) -> Check {
    let failing: Vec<&str> = witnesses.iter().filter(fails).map(|witness| witness.name).collect();
    if failing.is_empty() && !witnesses.is_empty() {
        return Check { check, passed: true, detail };
    }
    Check { check, passed: false, detail: format!("not so at {}", failing.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Evidence {
        let ids = vec!["a".to_owned(), "b".to_owned()];
        let witness = |name| Witness { name, history: ids.clone(), leader_peer: "bob".to_owned(), epoch: 2 };
        Evidence {
            sent: ids.clone(),
            witnesses: vec![witness("bob"), witness("alice")],
            lowest_peer: "bob".to_owned(),
            lowest_name: "bob".to_owned(),
            recorded: ("bob".to_owned(), 2),
            epochs: [1, 2, 2],
            highest_before: 4,
            returned_as: 5,
        }
    }

    fn failing(spoil: impl FnOnce(&mut Evidence)) -> Vec<usize> {
        let mut seen = good();
        spoil(&mut seen);
        judge(&seen).iter().enumerate().filter(|(_, check)| !check.passed).map(|(number, _)| number).collect()
    }

    #[test]
    fn every_check_can_fail_and_none_does_without_a_reason() {
        assert_eq!(failing(|_| ()), [0_usize; 0]);
        assert_eq!(failing(|seen| seen.witnesses[1].history.reverse()), [0]);
        assert_eq!(failing(|seen| seen.sent.push("c".to_owned())), [1]);
        assert_eq!(failing(|seen| seen.witnesses.iter_mut().for_each(|w| w.history.push("a".to_owned()))), [2]);
        assert_eq!(failing(|seen| seen.witnesses[0].leader_peer = "alice".to_owned()), [3]);
        assert_eq!(failing(|seen| seen.epochs[0] = 2), [4]);
        assert_eq!(failing(|seen| seen.recorded.1 = 1), [5]);
        assert_eq!(failing(|seen| seen.returned_as = 1), [6]);
        assert_eq!(failing(|seen| seen.epochs[1] = 1), [4, 7]);
        assert_eq!(failing(|seen| seen.witnesses.clear()), [0, 1, 2, 3]);
    }
}
