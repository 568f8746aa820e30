//! Many node tasks fold into one status.

use time::OffsetDateTime;

use super::details::{fill_partly_applied, fill_succeeded, fill_unsuccessful};
use super::entry::MiroirTask;
use super::verdict::{Verdict, verdict};
use crate::meili::task::TaskStatus;

/// Sets status, error, dates and counts of `task` from its parts. `now` is used where no node gave a date. A final
/// task stays as it is, and so does one without parts of which nobody knows how it ends.
pub fn fold(task: &mut MiroirTask, now: OffsetDateTime) {
    if task.status.is_final() || (task.parts.is_empty() && task.foreseen.is_none()) {
        return;
    }
    match verdict(task) {
        Verdict::Open { started } => {
            task.started_at = started.then(|| first_start(task).or(task.started_at).unwrap_or(now));
            task.status = if started { TaskStatus::Processing } else { TaskStatus::Enqueued };
        }
        Verdict::Succeeded => {
            fill_succeeded(task);
            end(task, TaskStatus::Succeeded, now);
        }
        Verdict::Failed(error) => {
            fill_unsuccessful(task);
            task.error = Some(error);
            end(task, TaskStatus::Failed, now);
        }
        Verdict::PartlyApplied { error, written } => {
            fill_partly_applied(task, &written);
            task.error = Some(error);
            end(task, TaskStatus::Failed, now);
        }
        Verdict::Canceled => {
            fill_unsuccessful(task);
            end(task, TaskStatus::Canceled, now);
        }
    }
}

fn end(task: &mut MiroirTask, status: TaskStatus, now: OffsetDateTime) {
    let finished = task.parts.iter().filter_map(|part| part.finished_at).max().unwrap_or(now).max(task.enqueued_at);
    // A canceled node task may never have started: the engine then shows the moment of its cancelation twice.
    task.started_at = Some(first_start(task).or(task.started_at).unwrap_or(finished).min(finished));
    task.finished_at = Some(finished);
    task.status = status;
    // They were of use for what has just been said only.
    task.documents.clear();
    task.ids.clear();
    if status != TaskStatus::Canceled {
        task.canceled_by = None;
    }
}

/// When the first node began, by the nodes' clocks, but never before the task was enqueued by ours.
fn first_start(task: &MiroirTask) -> Option<OffsetDateTime> {
    let first = task.parts.iter().filter_map(|part| part.started_at).min()?;
    Some(first.max(task.enqueued_at))
}

#[cfg(test)]
pub(crate) mod samples {
    use time::macros::datetime;

    use super::*;
    use crate::meili::error::{Code, ResponseError};
    use crate::meili::task::TaskKind;
    use crate::placement::shard::ShardId;
    use crate::placement::topology::NodeId;
    use crate::tasks::entry::{NodeTask, NodeTaskState, Purpose};

    pub const T0: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    pub fn part(node: &str, shards: &[u16], state: NodeTaskState) -> NodeTask {
        let mut part =
            NodeTask::unsent(NodeId::new(node), Purpose::Main, shards.iter().map(|id| ShardId(*id)).collect());
        part.state = state;
        part.task_uid = Some(7);
        if state == NodeTaskState::Failed {
            part.error = Some(ResponseError::new(Code::InvalidDocumentId, "Document id is bad."));
        }
        part
    }

    pub fn task(parts: Vec<NodeTask>) -> MiroirTask {
        let mut task = MiroirTask::new(3, TaskKind::DocumentAdditionOrUpdate, Some("cities".to_owned()), T0);
        task.details = serde_json::json!({ "receivedDocuments": 10, "indexedDocuments": null }).as_object().cloned();
        task.copies = 2;
        task.acknowledged = true;
        task.parts = parts;
        task
    }

    pub fn folded(parts: Vec<NodeTask>) -> MiroirTask {
        let mut task = task(parts);
        fold(&mut task, T0 + time::Duration::seconds(1));
        task
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use time::Duration;

    use super::samples::{T0, folded, part, task};
    use super::*;
    use crate::meili::error::{Code, ResponseError};
    use crate::meili::task::TaskKind;
    use crate::placement::shard::ShardId;
    use crate::tasks::entry::NodeTaskState::{
        Canceled, Enqueued, Failed, Lost, Processing, Succeeded, Unreachable, Unsent,
    };
    use crate::tasks::entry::{NodeTask, NodeTaskState, Purpose};

    fn status(parts: Vec<NodeTask>) -> TaskStatus {
        folded(parts).status
    }

    fn failing(node: &str, shards: &[u16], message: &str) -> NodeTask {
        let mut failing = part(node, shards, Failed);
        failing.error = Some(ResponseError::new(Code::InvalidDocumentId, message));
        failing
    }

    #[test]
    fn a_task_is_enqueued_until_a_node_begins_with_what_was_asked_for() {
        assert_eq!(status(vec![part("a", &[1], Enqueued), part("b", &[1], Unsent)]), TaskStatus::Enqueued);
        let mut created = part("a", &[], Succeeded);
        created.purpose = Purpose::EnsureIndex;
        assert_eq!(status(vec![created, part("a", &[1], Enqueued)]), TaskStatus::Enqueued);
        assert_eq!(status(vec![part("a", &[1], Processing), part("b", &[1], Enqueued)]), TaskStatus::Processing);
    }

    #[test]
    fn a_task_is_processing_while_one_node_cannot_be_reached() {
        let task = folded(vec![part("a", &[1], Succeeded), part("b", &[1], Unreachable)]);
        assert_eq!(task.status, TaskStatus::Processing);
        assert_eq!(task.finished_at, None);
    }

    #[test]
    fn processing_does_not_turn_back_into_enqueued() {
        let mut task = task(vec![part("a", &[1], Processing)]);
        fold(&mut task, T0);
        task.parts[0].state = Enqueued;
        fold(&mut task, T0);
        assert_eq!(task.status, TaskStatus::Processing);
    }

    #[test]
    fn a_task_succeeds_when_each_shard_has_a_replica_that_carried_it_out() {
        assert_eq!(status(vec![part("a", &[1], Succeeded), part("b", &[1], Succeeded)]), TaskStatus::Succeeded);
        assert_eq!(status(vec![part("a", &[1], Succeeded), part("b", &[1], Lost)]), TaskStatus::Succeeded);
        assert_eq!(status(vec![part("a", &[1], Succeeded), part("b", &[1, 2], Failed)]), TaskStatus::Failed);
    }

    #[test]
    fn an_addition_that_failed_on_some_shards_only_says_so_and_counts_what_is_there() {
        let addition = |parts| {
            let mut task = task(parts);
            task.documents = [(1, 6), (2, 3), (3, 1)].map(|(shard, count)| (ShardId(shard), count)).into();
            fold(&mut task, T0);
            assert!(task.documents.is_empty());
            (task.status, task.error.map(|error| error.code), task.details.unwrap()["indexedDocuments"].clone())
        };
        let failed = |node, shards: &[u16]| failing(node, shards, "The embedder is away.");
        assert_eq!(
            addition(vec![part("a", &[1, 2], Succeeded), failed("b", &[2, 3]), failed("c", &[1, 3])]),
            (TaskStatus::Failed, Some("miroir_partly_applied".to_owned()), json!(9))
        );
        assert_eq!(
            addition(vec![failed("a", &[1, 2]), failed("b", &[2, 3]), failed("c", &[1, 3])]),
            (TaskStatus::Failed, Some("invalid_document_id".to_owned()), json!(0))
        );
        assert_eq!(
            addition(vec![part("a", &[1, 2], Succeeded), failed("b", &[2]), part("c", &[1, 3], Succeeded)]),
            (TaskStatus::Succeeded, None, json!(10))
        );
    }

    #[test]
    fn the_error_of_a_partly_applied_addition_says_how_to_finish_it() {
        let task = folded(vec![part("a", &[1], Succeeded), failing("b", &[2], "bad."), failing("c", &[2], "bad.")]);
        assert_eq!(
            task.error.unwrap().message,
            "bad. The documents of 1 of 2 shards were written all the same; sending the same documents again finishes the \
             write."
        );
    }

    #[test]
    fn a_batch_whose_failing_was_foreseen_ends_when_its_index_is_there() {
        let ensure = |state| NodeTask { purpose: Purpose::EnsureIndex, ..part("a", &[], state) };
        let error = ResponseError::new(Code::InvalidDocumentId, "bad id");
        let mut task = task(vec![ensure(Succeeded), ensure(Enqueued)]);
        task.foreseen = Some(error.clone());
        fold(&mut task, T0);
        assert_eq!((task.status, &task.error), (TaskStatus::Enqueued, &None));
        task.parts[1] = ensure(Succeeded);
        fold(&mut task, T0);
        assert_eq!((task.status, &task.error), (TaskStatus::Failed, &Some(error)));
        // Its index was there: it had to wait for nobody but those before it.
        let mut task = MiroirTask { parts: Vec::new(), error: None, status: TaskStatus::Enqueued, ..task };
        fold(&mut task, T0);
        assert_eq!(task.status, TaskStatus::Failed);
    }

    #[test]
    fn a_partly_applied_write_of_few_documents_names_those_that_it_has_not_reached() {
        let mut task = task(vec![part("a", &[1], Succeeded), failing("b", &[2, 3], "bad.")]);
        let ids = [(1, ["x", "y"]), (2, ["v", "u"]), (3, ["w", "t"])];
        task.ids = ids.map(|(shard, ids)| (ShardId(shard), ids.map(str::to_owned).to_vec())).into();
        fold(&mut task, T0);
        assert!(task.ids.is_empty());
        assert_eq!(task.details.unwrap()["missedDocuments"], json!(["t", "u", "v", "w"]));
        assert_eq!(
            task.error.unwrap().message,
            "bad. The documents of 1 of 3 shards were written all the same, and those in `details.missedDocuments` were \
             not; sending the same documents again finishes the write."
        );
    }

    #[test]
    fn an_edit_or_deletion_that_failed_on_some_shards_counts_the_others_and_says_what_does_the_rest() {
        for (kind, name, way) in [
            (
                TaskKind::DocumentEdition,
                "editedDocuments",
                "edited all the same; `POST /tasks/{id}/finish` of the admin API",
            ),
            (TaskKind::DocumentDeletion, "deletedDocuments", "deleted all the same; sending the same request again"),
        ] {
            let counting = |node, shards: &[u16], count: u64| {
                let details = json!({ name: count }).as_object().cloned();
                NodeTask { details, ..part(node, shards, Succeeded) }
            };
            let mut task = task(vec![
                counting("a", &[1, 2], 7),
                failing("b", &[3, 4], "The disk is full."),
                counting("c", &[1, 2], 7),
                failing("d", &[3, 4], "The disk is full."),
            ]);
            task.kind = kind;
            task.details = json!({ name: null }).as_object().cloned();
            fold(&mut task, T0);
            let error = task.error.unwrap();
            assert_eq!((task.status, error.code.as_str()), (TaskStatus::Failed, "miroir_partly_applied"));
            assert!(
                error.message.starts_with("The disk is full. The documents of 2 of 4 shards were "),
                "{}",
                error.message
            );
            assert!(error.message.contains(way), "{}", error.message);
            assert_eq!(task.details.unwrap()[name], 7);
        }
    }

    #[test]
    fn replicas_that_count_differently_are_believed_the_least() {
        let deleted = |count: u64, node| {
            let details = json!({ "deletedDocuments": count }).as_object().cloned();
            NodeTask { details, ..part(node, &[1], Succeeded) }
        };
        let mut task = task(vec![deleted(1, "a"), deleted(0, "b")]);
        task.details = json!({ "providedIds": 1, "deletedDocuments": null }).as_object().cloned();
        fold(&mut task, T0);
        assert_eq!(task.details.unwrap()["deletedDocuments"], json!(0));
    }

    #[test]
    fn an_index_that_exists_already_is_ensured() {
        let mut ensure = part("a", &[], Failed);
        ensure.purpose = Purpose::EnsureIndex;
        ensure.error = Some(ResponseError::new(Code::IndexAlreadyExists, "Index `cities` already exists."));
        assert_eq!(status(vec![ensure.clone(), part("a", &[1], Succeeded)]), TaskStatus::Succeeded);
        ensure.error = Some(ResponseError::new(Code::Internal, "disk on fire"));
        assert_eq!(status(vec![ensure, part("a", &[1], Succeeded)]), TaskStatus::Failed);
    }

    #[test]
    fn an_error_that_all_nodes_agree_on_is_handed_on_verbatim() {
        let task = folded(vec![failing("a", &[1], "bad"), failing("b", &[1], "bad")]);
        assert_eq!(task.error.unwrap().message, "bad");
    }

    #[test]
    fn differing_errors_name_their_nodes() {
        let task = folded(vec![failing("b", &[1], "worse."), failing("a", &[1], "bad.")]);
        let error = task.error.unwrap();
        assert_eq!(error.message, "Node `a`: bad. Node `b`: worse.");
        assert_eq!(error.code, "invalid_document_id");
    }

    /// Those without documents would take another primary key.
    #[test]
    fn a_primary_key_that_some_nodes_refuse_is_refused_as_by_one() {
        let mut task = task(vec![part("a", &[], Succeeded), failing("b", &[], "there is one.")]);
        task.kind = TaskKind::IndexUpdate;
        fold(&mut task, T0);
        assert_eq!((task.status, task.error.unwrap().message.as_str()), (TaskStatus::Failed, "there is one."));
    }

    #[test]
    fn a_change_of_the_whole_index_that_failed_on_one_node_says_where() {
        let task = folded(vec![part("a", &[], Succeeded), failing("b", &[], "bad.")]);
        assert_eq!(task.status, TaskStatus::Failed);
        assert_eq!(task.error.unwrap().message, "bad. (On node `b`.)");
    }

    #[test]
    fn a_node_without_documents_that_missed_the_primary_key_does_not_fail_the_task() {
        assert_eq!(status(vec![part("a", &[1], Succeeded), part("b", &[], Lost)]), TaskStatus::Succeeded);
        assert_eq!(status(vec![part("a", &[1], Lost), part("b", &[], Lost)]), TaskStatus::Failed);
    }

    #[test]
    fn a_task_lost_everywhere_fails_and_names_the_nodes() {
        let task = folded(vec![part("b", &[1], Lost), part("a", &[1], Lost)]);
        assert_eq!(task.status, TaskStatus::Failed);
        let error = task.error.unwrap();
        assert_eq!(error.code, "miroir_node_unavailable");
        assert_eq!(
            error.message,
            "Nodes `a`, `b` do not know this task any more, and no other replica has carried it out."
        );
    }

    #[test]
    fn a_canceled_task_keeps_its_canceler_and_counts_nothing() {
        let mut task = task(vec![part("a", &[1], Canceled), part("b", &[1], Canceled)]);
        task.canceled_by = Some(9);
        fold(&mut task, T0);
        assert_eq!((task.status, task.canceled_by), (TaskStatus::Canceled, Some(9)));
        assert_eq!(task.details.unwrap()["indexedDocuments"], json!(0));
    }

    #[test]
    fn a_task_that_ended_before_its_cancelation_has_no_canceler() {
        let mut task = task(vec![part("a", &[1], Succeeded), part("b", &[1], Canceled)]);
        task.canceled_by = Some(9);
        fold(&mut task, T0);
        assert_eq!((task.status, task.canceled_by), (TaskStatus::Succeeded, None));
    }

    #[test]
    fn dates_span_the_nodes_work_and_never_precede_the_task() {
        let at = |seconds| Some(T0 + Duration::seconds(seconds));
        let mut first = part("a", &[1], Succeeded);
        (first.started_at, first.finished_at) = (at(-5), at(3));
        let mut second = part("b", &[1], Succeeded);
        (second.started_at, second.finished_at) = (at(2), at(6));
        let task = folded(vec![first, second]);
        assert_eq!((task.started_at, task.finished_at), (at(0), at(6)));
    }

    #[test]
    fn each_deleted_document_counts_once() {
        let deleting = |node: &str, shards: &[u16], count: u64, state| {
            let mut deleting = part(node, shards, state);
            deleting.details = json!({ "deletedDocuments": count }).as_object().cloned();
            deleting
        };
        let count = |parts| {
            let mut task = task(parts);
            task.details = json!({ "providedIds": 9, "deletedDocuments": null }).as_object().cloned();
            fold(&mut task, T0);
            task.details.unwrap()["deletedDocuments"].clone()
        };
        let by_shard = |third| {
            count(vec![
                deleting("a", &[1, 2], 5, Succeeded),
                deleting("b", &[2, 3], 5, Succeeded),
                deleting("c", &[1, 3], 4, third),
            ])
        };
        assert_eq!(by_shard(Succeeded), json!(7));
        assert_eq!(by_shard(Lost), json!(8), "two of three replica sets counted 10 for 4 of 6 replicas");
        let everywhere = |third| {
            count(vec![
                deleting("a", &[], 4, Succeeded),
                deleting("b", &[], 4, Succeeded),
                deleting("c", &[], 4, third),
            ])
        };
        assert_eq!(everywhere(Succeeded), json!(6));
        assert_eq!(everywhere(Lost), json!(6));
    }

    fn any_state() -> impl Strategy<Value = NodeTaskState> {
        proptest::sample::select(vec![Unsent, Enqueued, Processing, Succeeded, Failed, Canceled, Unreachable, Lost])
    }

    fn any_final_state() -> impl Strategy<Value = NodeTaskState> {
        proptest::sample::select(vec![Succeeded, Failed, Canceled, Lost])
    }

    fn any_parts() -> impl Strategy<Value = Vec<(usize, Vec<u16>, NodeTaskState)>> {
        proptest::collection::vec((0usize..4, proptest::collection::vec(0u16..6, 0..4), any_final_state()), 1..8)
    }

    fn build(parts: &[(usize, Vec<u16>, NodeTaskState)]) -> Vec<NodeTask> {
        const NODES: [&str; 4] = ["a", "b", "c", "d"];
        parts.iter().map(|(node, shards, state)| part(NODES[*node], shards, *state)).collect()
    }

    proptest! {
        /// Parts end one after the other, in any order and with any states on the way: the outcome is that of the
        /// final states.
        #[test]
        fn the_order_in_which_states_arrive_does_not_matter(
            parts in any_parts(),
            order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
            detours in proptest::collection::vec(any_state(), 8),
        ) {
            let now = T0 + Duration::seconds(1);
            let ends = build(&parts);
            let direct = { let mut task = task(ends.clone()); fold(&mut task, now); task };

            let mut stepwise = task(build(&parts));
            for part in &mut stepwise.parts {
                part.state = Enqueued;
                part.error = None;
            }
            let steps: Vec<usize> = order.into_iter().filter(|at| *at < ends.len()).collect();
            for (step, at) in steps.iter().enumerate() {
                if step + 1 < steps.len() && !detours[*at].is_final() {
                    stepwise.parts[*at].state = detours[*at];
                    fold(&mut stepwise, now);
                }
                stepwise.parts[*at] = ends[*at].clone();
                fold(&mut stepwise, now);
            }
            stepwise.uuid = direct.uuid;
            // Without dates from nodes, the first step that started the task gave it one.
            stepwise.started_at = direct.started_at;
            prop_assert_eq!(stepwise, direct);
        }

        /// Whatever happens, a shard that some replica has written keeps a replica that is not stale.
        #[test]
        fn a_written_shard_keeps_a_replica(parts in any_parts()) {
            use crate::tasks::replicas::replicas;
            use crate::tasks::stale::stale_parts;
            let task = task(build(&parts));
            let stale = stale_parts(&task);
            for (shard, nodes) in replicas(&task) {
                let left = nodes.keys().any(|node| {
                    !stale.iter().any(|part| part.node == **node && part.shards.contains(shard))
                });
                prop_assert!(left, "shard {:?} is stale everywhere", shard);
            }
        }
    }
}
