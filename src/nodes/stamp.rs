//! By what a node's task tells who gave it: the `customMetadata` that each of Miroir's own document writes carries.

use uuid::Uuid;

use super::client::TaskStatusResponse;

/// The query parameter that becomes a task's `customMetadata`.
pub const STAMP_PARAMETER: &str = "customMetadata";
/// The stamp of documents that are copied or removed to keep replicas as they should be, on behalf of no task.
pub const COPY_STAMP: &str = "miroir-copy";
/// Before the uuid of a client's task.
const TASK: &str = "mtask-";

/// Between the stamps of writes that travel together.
const BETWEEN: char = ',';
/// Before the number of a write's documents, where it does not travel alone.
const BEFORE_COUNT: char = ':';

/// Before the number of the epoch, which stands behind all stamps where gateways are led by turns.
const EPOCH: &str = "epoch-";

/// Who gave a task to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Clients' writes, at least one.
    Tasks(Vec<Stamped>),
    /// Miroir itself, for a copy.
    Copy,
    /// Nobody that Miroir knows.
    Foreign,
}

/// A client's write that a node's task carries out, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// The task's.
    pub uuid: Uuid,
    /// How many documents are its own; `None` where it has the node's task for itself.
    pub documents: Option<u64>,
}

/// Who gave `task`, one of documents, to its node.
pub fn origin(task: &TaskStatusResponse) -> Origin {
    match task.custom_metadata.as_deref().map(|metadata| apart(metadata).0) {
        Some(COPY_STAMP) => Origin::Copy,
        Some(stamps) => match stamps.split(BETWEEN).map(read).collect() {
            Some(stamped) => Origin::Tasks(stamped),
            None => Origin::Foreign,
        },
        None => Origin::Foreign,
    }
}

/// The stamp of writes that travel together, each with how many documents it has there.
///
/// Example: `mtask-01..:1,mtask-02..:3` for two writes, of one document and of three.
pub fn together<'s>(writes: impl IntoIterator<Item = (&'s str, u64)>) -> String {
    let stamps: Vec<String> =
        writes.into_iter().map(|(stamp, documents)| format!("{stamp}{BEFORE_COUNT}{documents}")).collect();
    stamps.join(&BETWEEN.to_string())
}

/// True if a node's task with this `customMetadata` carries out the write with this stamp.
pub fn carries(metadata: &str, stamp: &str) -> bool {
    metadata.split(BETWEEN).any(|one| one.split(BEFORE_COUNT).next() == Some(stamp))
}

/// True if a node's task with this `customMetadata` carries out several writes.
pub fn is_shared(metadata: &str) -> bool {
    let (stamps, _) = apart(metadata);
    stamps.starts_with(TASK) && stamps.contains(BETWEEN)
}

/// True for a task that a gateway gave which led in another epoch than this one, or before epochs were counted.
pub fn is_of_another_epoch(task: &TaskStatusResponse, epoch: i64) -> bool {
    let given_in = task.custom_metadata.as_deref().and_then(|metadata| apart(metadata).1);
    match origin(task) {
        Origin::Tasks(_) | Origin::Copy => given_in != Some(epoch),
        // Somebody has asked the node past Miroir.
        Origin::Foreign => false,
    }
}

/// The path of a request with its epoch behind its stamp; `None` where it has no stamp.
///
/// Example: `/d?customMetadata=mtask-01..&x=1` becomes `/d?customMetadata=mtask-01..,epoch-7&x=1`.
pub(super) fn with_epoch(path: &str, epoch: i64) -> Option<String> {
    let query = path.find('?')? + 1;
    let mut at = query;
    for pair in path[query..].split('&') {
        at += pair.len();
        if pair.split_once('=').is_some_and(|(name, _)| name == STAMP_PARAMETER) {
            return Some(format!("{}{BETWEEN}{EPOCH}{epoch}{}", &path[..at], &path[at..]));
        }
        at += 1;
    }
    None
}

/// The stamps, and the epoch behind them.
fn apart(metadata: &str) -> (&str, Option<i64>) {
    let Some((stamps, last)) = metadata.rsplit_once(BETWEEN) else { return (metadata, None) };
    match last.strip_prefix(EPOCH).and_then(|epoch| epoch.parse().ok()) {
        Some(epoch) => (stamps, Some(epoch)),
        None => (metadata, None),
    }
}

fn read(stamp: &str) -> Option<Stamped> {
    let (uuid, documents) = match stamp.strip_prefix(TASK)?.split_once(BEFORE_COUNT) {
        Some((uuid, documents)) => (uuid, Some(documents.parse().ok()?)),
        None => (stamp.strip_prefix(TASK)?, None),
    };
    Some(Stamped { uuid: Uuid::parse_str(uuid).ok()?, documents })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(stamp: Option<&str>) -> TaskStatusResponse {
        serde_json::from_value(serde_json::json!({
            "uid": 1, "status": "succeeded", "type": "documentDeletion", "customMetadata": stamp,
        }))
        .unwrap()
    }

    #[test]
    fn a_stamp_tells_where_a_task_came_from() {
        let uuid = Uuid::now_v7();
        let alone = Origin::Tasks(vec![Stamped { uuid, documents: None }]);
        assert_eq!(origin(&task(Some(&format!("mtask-{uuid}")))), alone);
        assert_eq!(origin(&task(Some(COPY_STAMP))), Origin::Copy);
        assert_eq!(origin(&task(Some("mine"))), Origin::Foreign);
        assert_eq!(origin(&task(Some(&format!("mtask-{uuid},mine")))), Origin::Foreign);
        assert_eq!(origin(&task(None)), Origin::Foreign);
    }

    #[test]
    fn writes_that_travel_together_are_told_apart() {
        let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
        let [first, second] = [one, other].map(|uuid| format!("mtask-{uuid}"));
        let metadata = together([(first.as_str(), 1), (second.as_str(), 3)]);
        let stamped = vec![Stamped { uuid: one, documents: Some(1) }, Stamped { uuid: other, documents: Some(3) }];
        assert_eq!(origin(&task(Some(&metadata))), Origin::Tasks(stamped));
        assert!(carries(&metadata, &first) && carries(&metadata, &second) && carries(&first, &first));
        assert!(!carries(&metadata, &format!("mtask-{}", Uuid::now_v7())) && !carries(&first, &second));
        assert!(is_shared(&metadata) && !is_shared(&first) && !is_shared("mine,yours"));
    }

    #[test]
    fn a_stamp_tells_in_which_epoch_a_task_was_given() {
        let uuid = Uuid::now_v7();
        let alone = format!("mtask-{uuid}");
        let path = with_epoch(&format!("/d?primaryKey=id&customMetadata={alone}&x=1"), 7);
        assert_eq!(path, Some(format!("/d?primaryKey=id&customMetadata={alone},epoch-7&x=1")));
        assert_eq!(with_epoch("/d?customMetadata=s", 7).as_deref(), Some("/d?customMetadata=s,epoch-7"));
        assert_eq!((with_epoch("/d?primaryKey=customMetadata", 7), with_epoch("/d", 7)), (None, None));

        let marked = format!("{alone},epoch-7");
        assert_eq!(origin(&task(Some(&marked))), Origin::Tasks(vec![Stamped { uuid, documents: None }]));
        assert_eq!(origin(&task(Some("miroir-copy,epoch-7"))), Origin::Copy);
        assert!(carries(&marked, &alone) && !is_shared(&marked) && is_shared(&format!("{alone}:1,{alone}:2,epoch-7")));
        for (metadata, is_late) in [
            (Some(marked.as_str()), false),
            (Some("miroir-copy,epoch-7"), false),
            (Some(alone.as_str()), true),
            (Some("miroir-copy"), true),
            (Some("miroir-copy,epoch-6"), true),
            (Some("mine,epoch-6"), false),
            (Some("mine"), false),
            (None, false),
        ] {
            assert_eq!(is_of_another_epoch(&task(metadata), 7), is_late, "{metadata:?}");
        }
    }
}
