//! What an answer says of the change that it answers.

use serde::Deserialize;

use super::changes::Fate;
use super::client::NodeReply;
use super::error::NodeError;
use super::meaning::Meaning;

/// What became of a change that was sent to a node.
pub(super) fn fate_of(answer: &Result<NodeReply, NodeError>) -> Fate {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Accepted {
        task_uid: u32,
    }
    match Meaning::of(answer) {
        Meaning::Answer => {
            let accepted = answer.as_ref().ok().and_then(|reply| serde_json::from_slice::<Accepted>(&reply.body).ok());
            accepted.map_or(Fate::Unknown, |accepted| Fate::Queued(accepted.task_uid))
        }
        Meaning::Wrong
        | Meaning::NoSuch
        | Meaning::NotHere
        | Meaning::Unready
        | Meaning::Unauthorised
        | Meaning::Unreachable
        | Meaning::Unconnected
        | Meaning::Unsent
        | Meaning::Queued => Fate::Refused,
        Meaning::Busy
        | Meaning::Ailing
        | Meaning::Internal
        | Meaning::Broken
        | Meaning::Unanswered
        | Meaning::Foreign
        | Meaning::TimedOut
        | Meaning::Closed
        | Meaning::Garbled
        | Meaning::TooLarge => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meili::error::{Code, ResponseError};
    use crate::nodes::error::NodeErrorKind;
    use crate::placement::topology::NodeId;

    fn reply(status: u16, body: &str) -> Result<NodeReply, NodeError> {
        Ok(NodeReply { status, body: body.to_owned().into(), retry_after: None })
    }

    #[test]
    fn only_what_a_node_surely_did_not_get_is_refused() {
        let refusal = String::from_utf8(ResponseError::new(Code::InvalidSettingsStopWords, "bad").to_body()).unwrap();
        let failed = |kind| Err(NodeError::new(&NodeId::new("n"), kind));
        for (answer, fate) in [
            (reply(202, r#"{"taskUid": 7}"#), Fate::Queued(7)),
            (reply(202, "nonsense"), Fate::Unknown),
            (reply(400, &refusal), Fate::Refused),
            (reply(400, "a page of something else"), Fate::Unknown),
            (reply(503, ""), Fate::Unknown),
            (failed(NodeErrorKind::Connect("no".into())), Fate::Refused),
            (failed(NodeErrorKind::Timeout(Duration::ZERO)), Fate::Unknown),
            (failed(NodeErrorKind::Closed("broken".into())), Fate::Unknown),
        ] {
            assert_eq!(fate_of(&answer), fate, "{answer:?}");
        }
    }
}
