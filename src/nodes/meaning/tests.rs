//! Every reply and failure has a meaning, and every meaning a row.

use std::time::Duration;

use super::*;

fn reply(status: u16, body: impl Into<bytes::Bytes>) -> NodeReply {
    NodeReply { status, body: body.into(), retry_after: None }
}

fn error(code: Code, message: &str) -> NodeReply {
    reply(code.status(), ResponseError::new(code, message).to_body())
}

#[test]
fn a_reply_means_what_its_status_and_the_engines_words_say() {
    let page = "<html>no such page</html>";
    for (reply, meaning) in [
        (reply(200, "{}"), Meaning::Answer),
        (reply(202, ""), Meaning::Answer),
        (reply(204, ""), Meaning::Answer),
        (error(Code::InvalidSearchFilter, "m"), Meaning::Wrong),
        (error(Code::MissingContentType, "m"), Meaning::Wrong),
        (error(Code::PayloadTooLarge, "m"), Meaning::Wrong),
        (error(Code::DocumentNotFound, "m"), Meaning::NoSuch),
        (error(Code::TaskNotFound, "m"), Meaning::NoSuch),
        (error(Code::IndexNotFound, "m"), Meaning::NotHere),
        (error(Code::NotFoundSimilarId, "m"), Meaning::NotHere),
        (error(Code::InvalidSearchFilter, "Attribute `_miroir_shard` is not filterable."), Meaning::Unready),
        (error(Code::TooManySearchRequests, "m"), Meaning::Busy),
        (reply(503, page), Meaning::Busy),
        (reply(429, page), Meaning::Busy),
        (reply(408, page), Meaning::Busy),
        (error(Code::InvalidApiKey, "m"), Meaning::Unauthorised),
        (error(Code::MissingAuthorizationHeader, "m"), Meaning::Unauthorised),
        (reply(403, page), Meaning::Unauthorised),
        (error(Code::NoSpaceLeftOnDevice, "m"), Meaning::Ailing),
        (error(Code::UnretrievableDocument, "m"), Meaning::Ailing),
        (error(Code::Internal, "m"), Meaning::Internal),
        (error(Code::DatabaseSizeLimitReached, "m"), Meaning::Broken),
        (reply(500, page), Meaning::Broken),
        (reply(502, page), Meaning::Unanswered),
        (reply(504, page), Meaning::Unanswered),
        (reply(404, page), Meaning::Foreign),
        (reply(400, "{}"), Meaning::Foreign),
        (reply(302, ""), Meaning::Foreign),
    ] {
        let said = format!("{reply:?}");
        assert_eq!(Meaning::of(&Ok(reply)), meaning, "{said}");
    }
    assert_eq!(Meaning::of_readable(&Ok(reply(200, "{")), |_| false), Meaning::Garbled);
    assert_eq!(Meaning::of_readable(&Ok(reply(503, "{")), |_| false), Meaning::Busy);
}

#[test]
fn a_failure_means_what_is_known_of_the_request() {
    let why = String::new;
    for (kind, meaning) in [
        (NodeErrorKind::Resolve(why()), Meaning::Unreachable),
        (NodeErrorKind::Connect(why()), Meaning::Unreachable),
        (NodeErrorKind::ConnectTimeout(why()), Meaning::Unconnected),
        (NodeErrorKind::Timeout(Duration::ZERO), Meaning::TimedOut),
        (NodeErrorKind::Closed(why()), Meaning::Closed),
        (NodeErrorKind::Truncated(why()), Meaning::Garbled),
        (NodeErrorKind::Malformed(why()), Meaning::Garbled),
        (NodeErrorKind::TooLarge { limit: 1 }, Meaning::TooLarge),
        (NodeErrorKind::Local(why()), Meaning::Unsent),
        (NodeErrorKind::QueueFull { waiting: 1 }, Meaning::Queued),
        (NodeErrorKind::Unfenced(why()), Meaning::Queued),
    ] {
        assert_eq!(Meaning::of_error(&kind), meaning, "{kind}");
    }
}

#[test]
fn an_error_alone_is_read_as_the_reply_that_carries_it() {
    for code in Code::ALL {
        let alone = ResponseError::new(*code, "m");
        assert_eq!(Meaning::of_refusal(&alone), Meaning::of_reply(&error(*code, "m")), "{code:?}");
    }
}

/// A forward reads no bodies. Wherever the whole reply would be an answer or a node's trouble, the head says so too.
#[test]
fn a_head_alone_is_read_as_the_whole_reply_is() {
    let json: Option<&[u8]> = Some(b"application/json");
    for code in Code::ALL {
        let whole = Meaning::of_reply(&error(*code, "m"));
        let head = Meaning::of_head(code.status(), json);
        // What it cannot tell: an internal error with the status of a wrong request.
        if *code != Code::UnretrievableDocument {
            assert_eq!(head.policy().forward, whole.policy().forward, "{code:?}: {head:?}, {whole:?}");
        }
    }
    assert_eq!(Meaning::of_head(200, json), Meaning::Answer);
    assert_eq!(Meaning::of_head(204, None), Meaning::Answer);
    assert_eq!(Meaning::of_head(200, Some(b"text/html")), Meaning::Foreign);
    assert_eq!(Meaning::of_head(404, None), Meaning::Foreign);
    assert_eq!(Meaning::of_head(302, json), Meaning::Foreign);
}

#[test]
fn the_table_is_as_it_was_agreed() {
    let header = format!("{:?}", ["read", "price", "circuit", "write", "change", "forward", "health", "repair"]);
    let mut table = format!("{:<13}{header}\n", "");
    for meaning in Meaning::ALL {
        let Policy { read, price, circuit, write, change, forward, health, repair } = meaning.policy();
        let row = format!("{read:?} {price:?} {circuit:?} {write:?} {change:?} {forward:?} {health:?} {repair:?}");
        table += &format!("{:<13}{row}\n", format!("{meaning:?}"));
    }
    let agreed = r#"             ["read", "price", "circuit", "write", "change", "forward", "health", "repair"]
Answer       Use Retry Good Taken Queued Relay Heard Index
Wrong        Relay Retry Good Refused Refused Relay Heard Index
NoSuch       Relay Retry Good Refused Refused Relay Heard Index
NotHere      OtherReplicaOrRelay Free Good Refused Refused Relay Heard Index
Unready      OtherReplica Retry Good Hopeless Refused NextNode Heard Index
Busy         OtherReplica Retry Busy Busy Unknown NextNode Heard Index
Unauthorised OtherReplica Retry Bad Hopeless Refused NextNode Heard Index
Ailing       OtherReplica Retry Bad Hopeless Unknown NextNode Heard Index
Internal     OtherReplicaUnlessAgreed Retry Bad Hopeless Unknown NextNode Heard Index
Broken       OtherReplica Retry Bad Hopeless Unknown NextNode Heard Index
Unanswered   OtherReplica Retry Bad Unanswered Unknown NextNode Heard Index
Foreign      OtherReplica Retry Bad Hopeless Unknown NextNode Heard Index
Unreachable  OtherReplica Free Nothing NotSent Refused NextNode Gone Node
Unconnected  OtherReplica Free Nothing NotSent Refused NextNode Nothing Index
TimedOut     OutOfTime Retry Nothing MaybeApplied Unknown NextNode Nothing Index
Closed       OtherReplica Free Bad MaybeApplied Unknown NextNode Nothing Node
Garbled      OtherReplica Retry Bad MaybeApplied Unknown NextNode Nothing Index
TooLarge     OtherReplica Retry Bad Hopeless Unknown NextNode Nothing Index
Unsent       OtherReplica Free Nothing Hopeless Refused NextNode Nothing Index
Queued       OtherReplica Free Nothing NotSent Refused NextNode Nothing Index
"#;
    assert_eq!(table, agreed);
}
