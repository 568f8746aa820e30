//! Which of several unequal replicas is right. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::placement::topology::NodeIx;

/// What one replica in sync was found to hold of a shard, or of an index's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub node: NodeIx,
    /// Equal where the contents are.
    pub digest: u128,
    /// The newest task of Miroir's that the node has carried out there.
    pub newest: Option<Uuid>,
    /// True when the node has carried out a newer task that Miroir did not give it.
    pub foreign: bool,
}

/// Why the others are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Evidence {
    /// More than half of the replicas are equal.
    Majority,
    /// The right ones have carried out a newer write.
    NewestWrite,
    /// Somebody wrote to the wrong ones past Miroir.
    ForeignWrite,
    /// The right ones are as all were when they were last equal, and Miroir has changed nothing since.
    LastAgreed,
}

/// What the comparison of a shard's replicas comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Equal,
    /// These are to be brought in sync from the others.
    Wrong(Vec<NodeIx>, Evidence),
    /// Nothing says who is right: somebody must look.
    Undecided,
}

/// Judges the replicas of one shard. What a count says is no evidence: the fuller one may hold what was deleted.
pub fn judge(seen: &[Seen]) -> Judgement {
    let mut sizes: BTreeMap<u128, usize> = BTreeMap::new();
    for replica in seen {
        *sizes.entry(replica.digest).or_default() += 1;
    }
    if sizes.len() < 2 {
        return Judgement::Equal;
    }
    if let Some((right, _)) = sizes.iter().find(|(_, size)| **size * 2 > seen.len()) {
        return wrong(seen, *right, Evidence::Majority);
    }
    let newest = seen.iter().map(|replica| replica.newest).max().flatten();
    if let Some(right) = only_digest(seen.iter().filter(|replica| replica.newest == newest && !replica.foreign))
        && seen.iter().any(|replica| replica.newest < newest)
    {
        return wrong(seen, right, Evidence::NewestWrite);
    }
    if let Some(right) = only_digest(seen.iter().filter(|replica| !replica.foreign)) {
        return wrong(seen, right, Evidence::ForeignWrite);
    }
    Judgement::Undecided
}

/// Judges the settings of an index. `agreed` is what all nodes had, if Miroir has changed nothing since.
pub fn judge_settings(seen: &[Seen], agreed: Option<u128>) -> Judgement {
    match (judge(seen), agreed) {
        (Judgement::Equal, _) => Judgement::Equal,
        (_, Some(agreed)) if seen.iter().any(|node| node.digest == agreed) => wrong(seen, agreed, Evidence::LastAgreed),
        (judgement, _) => judgement,
    }
}

fn wrong(seen: &[Seen], right: u128, evidence: Evidence) -> Judgement {
    let others = seen.iter().filter(|replica| replica.digest != right);
    Judgement::Wrong(others.map(|replica| replica.node).collect(), evidence)
}

/// The digest that all of `seen` have, if there are any.
fn only_digest<'a>(mut seen: impl Iterator<Item = &'a Seen>) -> Option<u128> {
    let first = seen.next()?.digest;
    seen.all(|replica| replica.digest == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: usize, digest: u128) -> Seen {
        Seen { node: NodeIx(node), digest, newest: Some(Uuid::from_u128(7)), foreign: false }
    }

    #[test]
    fn equal_replicas_are_left_alone() {
        assert_eq!(judge(&[]), Judgement::Equal);
        assert_eq!(judge(&[seen(0, 1), seen(1, 1)]), Judgement::Equal);
    }

    #[test]
    fn the_majority_is_right_whatever_else_is_known() {
        let newer = Seen { newest: Some(Uuid::from_u128(9)), ..seen(1, 2) };
        assert_eq!(judge(&[seen(0, 1), newer, seen(2, 1)]), Judgement::Wrong(vec![NodeIx(1)], Evidence::Majority));
    }

    #[test]
    fn of_two_the_one_with_the_newer_write_is_right() {
        let newer = Seen { newest: Some(Uuid::from_u128(9)), ..seen(1, 2) };
        assert_eq!(judge(&[seen(0, 1), newer.clone()]), Judgement::Wrong(vec![NodeIx(0)], Evidence::NewestWrite));
        let foreign = Seen { foreign: true, ..newer };
        assert_eq!(judge(&[seen(0, 1), foreign]), Judgement::Wrong(vec![NodeIx(1)], Evidence::ForeignWrite));
    }

    #[test]
    fn of_two_the_one_that_somebody_wrote_to_is_wrong() {
        let foreign = Seen { foreign: true, ..seen(0, 2) };
        assert_eq!(judge(&[foreign.clone(), seen(1, 1)]), Judgement::Wrong(vec![NodeIx(0)], Evidence::ForeignWrite));
        assert_eq!(judge(&[foreign, Seen { foreign: true, ..seen(1, 1) }]), Judgement::Undecided);
    }

    #[test]
    fn settings_are_right_that_all_nodes_had() {
        assert_eq!(judge_settings(&[seen(0, 2), seen(1, 2)], Some(1)), Judgement::Equal);
        assert_eq!(judge_settings(&[seen(0, 1), seen(1, 2)], None), Judgement::Undecided);
        assert_eq!(judge_settings(&[seen(0, 2), seen(1, 3)], Some(1)), Judgement::Undecided);
        let first = Judgement::Wrong(vec![NodeIx(0)], Evidence::LastAgreed);
        assert_eq!(judge_settings(&[seen(0, 2), seen(1, 1)], Some(1)), first);
        let two = Judgement::Wrong(vec![NodeIx(0), NodeIx(1)], Evidence::LastAgreed);
        assert_eq!(judge_settings(&[seen(0, 2), seen(1, 2), seen(2, 1)], Some(1)), two);
    }

    #[test]
    fn without_evidence_nothing_is_decided() {
        assert_eq!(judge(&[seen(0, 1), seen(1, 2)]), Judgement::Undecided);
        assert_eq!(judge(&[seen(0, 1), seen(1, 2), seen(2, 3)]), Judgement::Undecided);
    }
}
