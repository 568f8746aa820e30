//! What each node is sent for one write, in order.

use serde_json::json;

use crate::ledger::registry::Undo;
use crate::meili::settings::Setting;
use crate::meili::task::{Subject, TaskKind};
use crate::placement::shard::ShardSet;
use crate::placement::topology::{NodeIx, NodeState, Topology};
use crate::plan::write::{RegistryChange, Step, StepBody, Target, WriteIntent};
use crate::tasks::entry::{MiroirTask, NodeTask, Purpose, Say};
use crate::write::part::Writes;
use crate::write::planned::Planned;
use crate::write::send;

/// Steps before and after what was asked for, on every node.
#[derive(Default)]
pub(crate) struct Extra {
    before: Vec<(Purpose, Step)>,
    after: Vec<(Purpose, Step)>,
}

/// What creating the index takes besides, and nothing for a write that creates none.
pub(super) fn extra_steps(writes: &Writes, intent: &WriteIntent, undo: &Undo) -> Extra {
    let created = match (&intent.index_uid, &intent.registry) {
        (_, RegistryChange::Create { index, .. }) if undo.created(index) => index,
        (Some(index), _) if intent.ensure_index && undo.created(index) => index,
        _ => return Extra::default(),
    };
    let whole = |method, path: String, body| Step {
        to: Target::AllNodes,
        method,
        path,
        content_type: Some("application/json"),
        body: StepBody::Json(body),
        shards: ShardSet::new(),
    };
    let mut hidden = writes.ledger.hidden_settings().of_new_index();
    hidden.retain(|key, _| !intent.steps.iter().any(|step| sets(step, key)));
    let path = format!("/indexes/{created}/settings");
    let hide = (Purpose::HideShardField, whole("PATCH", path, serde_json::Value::Object(hidden.clone())));
    match intent.kind.subject() {
        Subject::Settings if hidden.is_empty() => Extra::default(),
        Subject::Settings => Extra { before: Vec::new(), after: vec![hide] },
        Subject::Index if intent.kind == TaskKind::IndexCreation => Extra { before: Vec::new(), after: vec![hide] },
        Subject::Documents | Subject::Index | Subject::Tasks | Subject::Database => {
            let mut body = json!({"uid": created});
            if let Some(key) = writes.ledger.registry.entry(created).and_then(|entry| entry.primary_key) {
                body["primaryKey"] = json!(key);
            }
            let create = (Purpose::EnsureIndex, whole("POST", "/indexes".to_owned(), body));
            Extra { before: vec![create, hide], after: Vec::new() }
        }
    }
}

/// True when a step of settings sets the one called `key`, and so brings its hidden part itself.
fn sets(step: &Step, key: &str) -> bool {
    let in_object = matches!(&step.body, StepBody::Json(body) if body.get(key).is_some());
    let setting = Setting::ALL.iter().find(|setting| setting.key() == key);
    in_object || setting.is_some_and(|setting| step.path.ends_with(&format!("/settings/{}", setting.route())))
}

/// What `node` is sent; each step becomes a part of `task`.
pub(crate) fn steps_for(
    node: NodeIx,
    intent: &WriteIntent,
    extra: &Extra,
    topology: &Topology,
    task: &mut MiroirTask,
) -> Vec<Planned> {
    let id = &topology.node(node).id;
    let stamps = intent.kind.subject() == Subject::Documents;
    let mine = intent.steps.iter().filter(|step| match step.to {
        Target::AllNodes => true,
        Target::Node(target) => target == node,
    });
    let main = mine.filter_map(|step| Some((Purpose::Main, owned_part(step, node, topology)?)));
    let all = extra.before.iter().cloned().chain(main).chain(extra.after.iter().cloned());
    let mut stamped_before = 0;
    let mut planned = Vec::new();
    for (purpose, mut step) in all {
        let mut stamped = None;
        if stamps && purpose == Purpose::Main {
            step.path = send::with_stamp(&step.path, &task.id());
            stamped = Some(stamped_before);
            stamped_before += 1;
        }
        let mut part = NodeTask::unsent(id.clone(), purpose, step.shards.clone());
        if let Some(index) = intent.index_uid.as_deref() {
            part.behind = step.shards.iter().filter(|shard| topology.is_stale(node, index, *shard)).collect();
        }
        if step.shards.is_empty() && !has_say(node, intent.index_uid.as_deref(), topology) {
            part.say = Say::None;
        }
        task.parts.push(part);
        planned.push(Planned { part: task.parts.len() - 1, purpose, step, stamped });
    }
    planned
}

/// False for a node that may have missed what a change builds on, such as the feature that allows it, while another one has not.
fn has_say(node: NodeIx, index: Option<&str>, topology: &Topology) -> bool {
    let is_apart = |node: NodeIx| index.is_some_and(|index| topology.apart_of(node, index).is_some());
    let is_measure = |other: NodeIx| topology.node(other).state == NodeState::Up && !is_apart(other);
    !is_apart(node) && (topology.node(node).state == NodeState::Up || !topology.members().any(is_measure))
}

/// Of the shards of a step for all nodes, those that `node` owns. A change of documents is nothing to a node that owns none of
/// them: without shards it would count as a change of the whole index, which every node must carry out.
fn owned_part(step: &Step, node: NodeIx, topology: &Topology) -> Option<Step> {
    let mut part = step.clone();
    if step.to == Target::AllNodes {
        part.shards.intersect_with(topology.shards_of(node));
    }
    let is_nothing = part.shards.is_empty() && !step.shards.is_empty();
    (!is_nothing).then_some(part)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::placement::topology::Apart;

    #[test]
    fn who_is_being_repaired_has_a_say_only_where_nobody_else_has() {
        use NodeState::{Down, Repairing, Up};
        let say = |states: &[NodeState]| -> Vec<bool> {
            let topology = Topology::sample(states, 8, 2);
            topology.members().map(|node| has_say(node, Some("a"), &topology)).collect()
        };
        assert_eq!(say(&[Up, Repairing, Up]), [true, false, true]);
        assert_eq!(say(&[Repairing, Repairing, Down])[..2], [true, true], "else nobody could refuse what is wrong");

        let mut topology = Topology::sample(&[Up, Repairing], 8, 2);
        topology.apart = Arc::new([((NodeIx(0), "a".to_owned()), Apart::Differs)].into());
        let says = |index| [NodeIx(0), NodeIx(1)].map(|node| has_say(node, Some(index), &topology));
        assert_eq!((says("a"), says("b")), ([false, true], [true, false]));
    }
}
