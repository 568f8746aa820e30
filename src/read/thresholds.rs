//! One threshold for all nodes, also where they relate a hit's typos to different numbers of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join_all;

use super::gather::{Gathered, Nodes};
use super::reader::{Reader, Stop};
use super::readings::Readings;
use crate::merge::scores::Divided;
use crate::placement::topology::NodeIx;
use crate::plan::rounds::Later;
use crate::plan::search::SearchPlan;

/// How often nodes are asked again: once as a rule, once more for each that turns out to look for more typos than all before.
const ROUNDS: usize = 4;

/// What is known of how one node judges.
struct Judge {
    divided: Option<Divided>,
    /// For how many typos of its own, and the most of all, it was asked again.
    asked: Option<(f64, f64)>,
}

/// A search of which all nodes leave out the same hits.
pub(super) struct Alike {
    pub plan: Option<SearchPlan>,
    /// False if a node could not be asked again.
    pub exact: bool,
}

impl<N: Nodes + ?Sized> Reader<'_, N> {
    /// Puts other replies in the place of those of nodes that judged hits by fewer typos than others, and says by what they were asked.
    ///
    /// Example: `plant in`, a threshold of 0.7. Node x has a document with `plantin`, and so looks for three typos; node y for two. A hit of one
    /// typo that is perfect else scores 3/4 on x and 2/3 on y, and y leaves out what one node would show. Who lists none of the hits that the
    /// threshold divides may have left them out, and is asked as if it had looked for no typos, to learn for how many it did.
    pub(super) async fn judged_alike(
        &self,
        plan: &SearchPlan,
        gathered: &mut Gathered,
        readings: &Readings,
    ) -> Result<Alike, Stop> {
        let Some(least) = plan.least_by_typos().filter(|_| gathered.replies.len() > 1) else {
            return Ok(Alike { plan: None, exact: true });
        };
        let mut judges = Vec::with_capacity(gathered.replies.len());
        for (_, body) in &gathered.replies {
            judges.push(Judge { divided: Divided::of(readings.reply(body)?.details(), least), asked: None });
        }
        let (mut thresholds, mut exact) = (BTreeMap::new(), true);
        for _ in 0..ROUNDS {
            let known = judges.iter().filter_map(|judge| judge.divided);
            let Some(most) = known.max_by(|left, right| left.typos.total_cmp(&right.typos)) else {
                return Ok(alike(plan, thresholds, exact));
            };
            let narrow = narrow(&judges, most);
            if narrow.is_empty() {
                return Ok(alike(plan, thresholds, exact));
            }
            // What ties by distance was found over the replies as they were.
            if plan.sorts_by_distance() {
                break;
            }
            self.note(Later::NodeThresholds);
            let asked = narrow.iter().map(|(at, own)| async {
                let part = &gathered.replies[*at].0;
                let named = BTreeMap::from([(part.node, most.least_of(least, *own))]);
                let request = plan.judging_by(named).request(part, self.topology.shards, false);
                self.ask_alone(part.node, request).await.ok().filter(|reply| reply.is_success()).map(|reply| reply.body)
            });
            let answers: Vec<Option<Bytes>> = join_all(asked).await;
            for ((at, own), answer) in narrow.into_iter().zip(answers) {
                let judge = &mut judges[at];
                judge.asked = Some((own, most.typos));
                let Some(body) = answer.filter(|body| readings.judge(body)) else {
                    exact = false;
                    continue;
                };
                let told = Divided::of(readings.reply(&body)?.details(), least);
                // Who looked for as many as was thought has answered rightly now; who looked for as many as others had before.
                if told.is_some_and(|told| told.typos == own) {
                    thresholds.insert(gathered.replies[at].0.node, most.least_of(least, own));
                    gathered.replies[at].1 = body;
                }
                judge.divided = told.or(judge.divided);
            }
        }
        Ok(alike(plan, thresholds, false))
    }
}

/// Who judged by fewer typos than `most` and was not asked again as such, with how many of its own.
fn narrow(judges: &[Judge], most: Divided) -> Vec<(usize, f64)> {
    let narrow = judges.iter().enumerate().filter_map(|(at, judge)| {
        let own = judge.divided.map_or(0.0, |own| own.typos);
        let wanted = own < most.typos && judge.asked != Some((own, most.typos));
        wanted.then_some((at, own))
    });
    narrow.collect()
}

fn alike(plan: &SearchPlan, thresholds: BTreeMap<NodeIx, f64>, exact: bool) -> Alike {
    Alike { plan: (!thresholds.is_empty()).then(|| plan.judging_by(thresholds)), exact }
}
