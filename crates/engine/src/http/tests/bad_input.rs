//! Bad input, refused in the engine's words.

use serde_json::json;

use super::Server;

#[test]
#[allow(clippy::too_many_lines, reason = "a table: one entry after the other")]
fn bad_input_is_refused_in_the_engines_words() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.task("POST", "/indexes", &json!({"uid": "x"}));
    let name = "`a b` is not a valid index uid. Index uid can be an integer or a string containing only alphanumeric \
                characters, hyphens (-) and underscores (_), and can not be more than 512 bytes.";
    let json_type = Some("application/json");
    let table: &[(&str, &str, Option<&str>, &str, u16, &str, &str)] = &[
        (
            "POST",
            "/indexes",
            None,
            "{}",
            415,
            "missing_content_type",
            "A Content-Type header is missing. Accepted values for the Content-Type header are: `application/json`",
        ),
        (
            "POST",
            "/indexes",
            Some("text/plain"),
            "{}",
            415,
            "invalid_content_type",
            "The Content-Type `text/plain` is invalid. Accepted values for the Content-Type header are: `application/json`",
        ),
        ("POST", "/indexes", json_type, "", 400, "missing_payload", "A json payload is missing."),
        (
            "POST",
            "/indexes",
            json_type,
            "{",
            400,
            "malformed_payload",
            "The json payload provided is malformed. `EOF while parsing an object at line 1 column 1`.",
        ),
        ("POST", "/indexes", json_type, "{}", 400, "missing_index_uid", "Missing field `uid`"),
        (
            "POST",
            "/indexes",
            json_type,
            "{\"uid\": 7}",
            400,
            "invalid_index_uid",
            "Invalid value type at `.uid`: expected a string, but found a positive integer: `7`",
        ),
        (
            "POST",
            "/indexes",
            json_type,
            "{\"uid\": \"x\", \"doggo\": 1}",
            400,
            "bad_request",
            "Unknown field `doggo`: expected one of `uid`, `primaryKey`",
        ),
        (
            "PATCH",
            "/indexes/x",
            json_type,
            "{\"createdAt\": 1}",
            400,
            "immutable_index_created_at",
            "Immutable field `createdAt`: expected one of `primaryKey`",
        ),
        (
            "POST",
            "/indexes/x/fields",
            json_type,
            "{\"limit\": \"x\"}",
            400,
            "invalid_index_limit",
            "Invalid value type at `.limit`: expected a positive integer, but found a string: `\"x\"`",
        ),
        (
            "POST",
            "/indexes/x/fields",
            json_type,
            "{\"offset\": true}",
            400,
            "invalid_index_offset",
            "Invalid value type at `.offset`: expected a positive integer, but found a boolean: `true`",
        ),
        (
            "POST",
            "/indexes/x/fields",
            json_type,
            "{\"filter\": 1}",
            400,
            "invalid_index_fields_filter",
            "Invalid value type at `.filter`: expected an object, but found a positive integer: `1`",
        ),
        (
            "POST",
            "/indexes/x/fields",
            json_type,
            "{\"filter\": {\"sortable\": 1}}",
            400,
            "invalid_index_fields_filter_sortable",
            "Invalid value type at `.filter.sortable`: expected a boolean, but found a positive integer: `1`",
        ),
        ("GET", "/indexes/a%20b", None, "", 400, "invalid_index_uid", name),
        ("GET", "/indexes/nope", None, "", 404, "index_not_found", "Index `nope` not found."),
        ("GET", "/indexes/nope/documents/1", None, "", 404, "index_not_found", "Index `nope` not found."),
        ("GET", "/indexes/x/documents/1", None, "", 404, "document_not_found", "Document `1` not found."),
        (
            "GET",
            "/indexes?limit=doggo",
            None,
            "",
            400,
            "invalid_index_limit",
            "Invalid value in parameter `limit`: could not parse `doggo` as a positive integer",
        ),
        (
            "POST",
            "/indexes/x/documents",
            None,
            "[]",
            415,
            "missing_content_type",
            "A Content-Type header is missing. Accepted values for the Content-Type header are: `application/json`, `application/x-ndjson`, `text/csv`",
        ),
        (
            "POST",
            "/indexes/x/documents",
            Some("text/plain"),
            "[]",
            415,
            "invalid_content_type",
            "The Content-Type `text/plain` is invalid. Accepted values for the Content-Type header are: `application/json`, `application/x-ndjson`, `text/csv`",
        ),
        ("POST", "/indexes/x/documents", json_type, "", 400, "missing_payload", "A json payload is missing."),
        ("POST", "/indexes/x/documents", Some("text/csv"), "", 400, "missing_payload", "A csv payload is missing."),
        (
            "POST",
            "/indexes/x/documents",
            Some("application/x-ndjson"),
            "{\"id\": 1}\n{id: 2}",
            400,
            "malformed_payload",
            "The `ndjson` payload provided is malformed. `Couldn't serialize document value: key must be a string at line 2 column 2`.",
        ),
        (
            "POST",
            "/indexes/x/documents?csvDelimiter=doggo",
            Some("text/csv"),
            "a",
            400,
            "invalid_document_csv_delimiter",
            "Invalid value in parameter `csvDelimiter`: expected a string of one character, but found the following string of 5 characters: `doggo`",
        ),
        (
            "POST",
            "/indexes/x/documents?csvDelimiter=%F0%9F%8D%B0",
            Some("text/csv"),
            "a",
            400,
            "invalid_document_csv_delimiter",
            "csv delimiter must be an ascii character. Found: `🍰`",
        ),
        (
            "POST",
            "/indexes/x/documents/delete-batch",
            json_type,
            "{}",
            400,
            "bad_request",
            "Json deserialize error: invalid type: map, expected a sequence at line 1 column 0",
        ),
        (
            "POST",
            "/indexes/x/documents/delete",
            json_type,
            "{}",
            400,
            "missing_document_filter",
            "Missing field `filter`",
        ),
        (
            "POST",
            "/indexes/x/documents/edit",
            json_type,
            "{\"function\": \"\"}",
            400,
            "feature_not_enabled",
            "Using the documents edit route requires enabling the `edit documents by function` experimental feature. See https://github.com/orgs/meilisearch/discussions/762",
        ),
        (
            "GET",
            "/tasks/doggo",
            None,
            "",
            400,
            "invalid_task_uids",
            "Task uid `doggo` is invalid. It should only contain numeric characters.",
        ),
        ("GET", "/tasks/77", None, "", 404, "task_not_found", "Task `77` not found."),
        (
            "GET",
            "/tasks?uids=1,dogo",
            None,
            "",
            400,
            "invalid_task_uids",
            "Invalid value in parameter `uids[1]`: could not parse `dogo` as a positive integer",
        ),
        (
            "GET",
            "/tasks?statuses=doggo",
            None,
            "",
            400,
            "invalid_task_statuses",
            "Invalid value in parameter `statuses`: `doggo` is not a valid task status. Available statuses are `enqueued`, `processing`, `succeeded`, `failed`, `canceled`.",
        ),
        (
            "GET",
            "/tasks?types=doggo",
            None,
            "",
            400,
            "invalid_task_types",
            "Invalid value in parameter `types`: `doggo` is not a valid task type. Available types are `documentAdditionOrUpdate`, `documentEdition`, `documentDeletion`, `settingsUpdate`, `indexCreation`, `indexDeletion`, `indexUpdate`, `indexSwap`, `taskCancelation`, `taskDeletion`, `dumpCreation`, `snapshotCreation`, `upgradeDatabase`.",
        ),
        (
            "GET",
            "/tasks?reverse=*",
            None,
            "",
            400,
            "invalid_task_reverse",
            "Invalid value in parameter `reverse`: could not parse `*` as a boolean, expected either `true` or `false`",
        ),
        (
            "GET",
            "/tasks?afterEnqueuedAt=doggo",
            None,
            "",
            400,
            "invalid_task_after_enqueued_at",
            "Invalid value in parameter `afterEnqueuedAt`: `doggo` is an invalid date-time. It should follow the YYYY-MM-DD or RFC 3339 date-time format.",
        ),
        (
            "POST",
            "/tasks/cancel",
            None,
            "",
            400,
            "missing_task_filters",
            "Query parameters to filter the tasks to cancel are missing. Available query parameters are: `uids`, `indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, `beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`.",
        ),
        (
            "DELETE",
            "/tasks?limit=1",
            None,
            "",
            400,
            "bad_request",
            "Unknown parameter `limit`: expected one of `uids`, `batchUids`, `canceledBy`, `types`, `statuses`, `indexUids`, `afterEnqueuedAt`, `beforeEnqueuedAt`, `afterStartedAt`, `beforeStartedAt`, `afterFinishedAt`, `beforeFinishedAt`",
        ),
        ("GET", "/batches/77", None, "", 404, "batch_not_found", "Batch `77` not found."),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{\"indexes\": [\"a\"]}]",
            400,
            "invalid_swap_indexes",
            "Two indexes must be given for each swap. The list `[\"a\"]` contains 1 indexes.",
        ),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{\"indexes\": [\"a\", \"a\"]}]",
            400,
            "invalid_swap_duplicate_index_found",
            "Indexes must be declared only once during a swap. `a` was specified several times.",
        ),
        (
            "POST",
            "/swap-indexes",
            json_type,
            "[{}]",
            400,
            "missing_swap_indexes",
            "Missing field `indexes` inside `[0]`",
        ),
        (
            "GET",
            "/keys",
            None,
            "",
            401,
            "missing_master_key",
            "Meilisearch is running without a master key. To access this API endpoint, you must have set a master key at launch.",
        ),
        (
            "PATCH",
            "/experimental-features",
            json_type,
            "{\"doggo\": true}",
            400,
            "bad_request",
            "Unknown field `doggo`: expected one of `metrics`, `logsRoute`, `editDocumentsByFunction`, `containsFilter`, `network`, `getTaskDocumentsRoute`, `compositeEmbedders`, `chatCompletions`",
        ),
        ("GET", "/indexes/x/search?doggo=1", None, "", 400, "bad_request", ""),
        (
            "POST",
            "/indexes/x/search",
            json_type,
            "{\"limit\": \"many\"}",
            400,
            "invalid_search_limit",
            "Invalid value type at `.limit`: expected a positive integer, but found a string: `\"many\"`",
        ),
        ("POST", "/indexes/x/search", json_type, "{\"filter\": \"color = red\"}", 400, "invalid_search_filter", ""),
    ];
    for (method, path, content_type, body, status, code, message) in table {
        let headers: Vec<(&str, &str)> = content_type.iter().map(|name| ("content-type", *name)).collect();
        let bytes = (*method != "GET" && *method != "DELETE").then_some(body.as_bytes());
        let reply = server.send(method, path, &headers, bytes);
        let shown = (reply.status, reply.body["code"].as_str().unwrap_or_default().to_owned());
        assert_eq!(shown, (*status, (*code).to_owned()), "{method} {path} {body}: {}", reply.body);
        if !message.is_empty() {
            assert_eq!(reply.body["message"], *message, "{method} {path} {body}");
        }
        assert_eq!(reply.body["link"], format!("https://docs.meilisearch.com/errors#{code}"));
    }
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405_without_a_body() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let table = [
        ("GET", "/doggo", 404),
        ("GET", "/indexes/x/doggo", 404),
        ("GET", "/tasks/1/2/3", 404),
        ("POST", "/health", 405),
        ("PUT", "/indexes", 405),
        ("POST", "/indexes/x", 405),
        ("GET", "/indexes/x/documents/delete-batch", 405),
        ("GET", "/tasks/cancel", 405),
        ("POST", "/indexes/x/documents/1", 405),
    ];
    for (method, path, status) in table {
        let body = (method != "GET").then_some(b"".as_slice());
        let reply = server.send(method, path, &[], body);
        assert_eq!((reply.status, reply.body), (status, json!("")), "{method} {path}");
    }
    assert_eq!(server.get("/health/"), json!({"status": "available"}));
    assert_eq!(server.get("/version")["pkgVersion"], "1.15.1");
}
