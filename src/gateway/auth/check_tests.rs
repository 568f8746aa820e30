//! Who gets in, and how those are answered who do not.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::super::tenant::tests::token;
use super::*;
use crate::meili::key::Key;
use crate::meili::pattern::IndexPattern;
use crate::settings::Secret;
use crate::store::sqlite::SqliteStore;

const MASTER: &str = "a master key of some length";

async fn ring(master: Option<&str>) -> (Keyring, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&format!("sqlite:{}", folder.path().join("s.db").display()), 8).unwrap();
    (Keyring::open(Arc::new(store), master.map(Secret::new)).await.unwrap(), folder)
}

fn key(actions: &[Action], indexes: &[&str]) -> Key {
    let mut key = Key::defaults(now()).remove(0);
    key.actions = actions.to_vec();
    key.indexes = indexes.iter().map(|text| IndexPattern::parse(text).unwrap()).collect();
    key
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn without_a_master_key_all_but_the_keys_is_open() {
    let (ring, _folder) = ring(None).await;
    assert!(check(&ring, None, Action::DocumentsAdd, Some("a"), now()).is_ok());
    let error = check(&ring, None, Action::KeysGet, None, now()).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (401, "missing_master_key"));
}

#[tokio::test]
async fn no_header_is_401_and_a_wrong_key_403() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let error = check(&ring, None, Action::Search, Some("a"), now()).unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (401, "missing_authorization_header"));
    let error = check(&ring, Some("nonsense"), Action::Search, Some("a"), now()).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (403, "The provided API key is invalid."));
    assert!(check(&ring, Some(MASTER), Action::KeysGet, None, now()).unwrap().is_unrestricted());
}

#[test]
fn only_a_bearer_is_read() {
    assert_eq!(bearer(None), Ok(None));
    assert_eq!(bearer(Some(b"Bearer a b")), Ok(Some("a b")));
    assert_eq!(bearer(Some(b"Basic abc")).unwrap_err().code, "missing_authorization_header");
    assert_eq!(bearer(Some(b"Bearer")).unwrap_err().code, "invalid_api_key");
}

#[tokio::test]
async fn the_default_search_key_searches_and_does_no_more() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let keys = ring.list();
    assert_eq!(keys.len(), 4, "search, admin, admin that only reads, chat");
    let search = keys.iter().find(|held| held.key.actions == [Action::Search]).unwrap();
    assert!(check(&ring, Some(search.secret.expose()), Action::Search, Some("a"), now()).is_ok());
    assert!(check(&ring, Some(search.secret.expose()), Action::DocumentsGet, Some("a"), now()).is_err());
}

#[tokio::test]
async fn a_key_of_some_indexes_names_them_when_it_refuses() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let held = ring.add(key(&[Action::Any], &["movies", "books_*"])).await.unwrap().unwrap();
    let access = check(&ring, Some(held.secret.expose()), Action::StatsGet, None, now()).unwrap();
    assert!(access.allows("books_fr") && !access.allows("songs"));
    assert_eq!(access.tasks(), crate::tasks::filter::IndexAccess::Only(vec!["movies".into(), "books_*".into()]));
    let error = check(&ring, Some(held.secret.expose()), Action::Search, Some("songs"), now()).unwrap_err();
    assert_eq!(
        error.message,
        "The API key cannot acces the index `songs`, authorized indexes are [\"books_*\", \"movies\"]."
    );
}

#[tokio::test]
async fn a_key_of_some_indexes_does_nothing_that_concerns_none() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let some = ring.add(key(&[Action::Any], &["movies", "books_*"])).await.unwrap().unwrap();
    let all = ring.add(key(&[Action::Any], &["movies", "*"])).await.unwrap().unwrap();
    let may = |secret: &str, action| check(&ring, Some(secret), action, None, now()).is_ok();
    let global =
        [Action::KeysGet, Action::KeysCreate, Action::DumpsCreate, Action::ExperimentalUpdate, Action::Version];
    for action in global.into_iter().chain([Action::TasksCompact, Action::MetricsGet, Action::WebhooksCreate]) {
        assert!(!may(some.secret.expose(), action) && may(all.secret.expose(), action), "{}", action.as_str());
    }
    for action in [Action::IndexesGet, Action::TasksGet, Action::StatsGet, Action::IndexesSwap, Action::Search] {
        assert!(may(some.secret.expose(), action), "{}", action.as_str());
    }
}

#[tokio::test]
async fn a_tenant_token_narrows_its_key_and_is_for_searching_only() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let held = ring.add(key(&[Action::Search, Action::DocumentsGet], &["movies"])).await.unwrap().unwrap();
    let claims = json!({"searchRules": {"*": {"filter": "tenant = 1"}}, "apiKeyUid": held.key.uid, "exp": null});
    let good = token(Algorithm::HS256, held.secret.expose(), &claims);
    let access = check(&ring, Some(&good), Action::Search, Some("movies"), now()).unwrap();
    assert_eq!(access.rules.unwrap().filter("movies"), Some(&json!("tenant = 1")));
    assert!(check(&ring, Some(&good), Action::DocumentsGet, Some("movies"), now()).is_err());
    let error = check(&ring, Some(&good), Action::Search, Some("songs"), now()).unwrap_err();
    assert_eq!(error.message, "The API key used to generate this tenant token cannot acces the index `songs`.");
    let forged = token(Algorithm::HS256, "not the secret", &claims);
    let error = check(&ring, Some(&forged), Action::Search, Some("movies"), now()).unwrap_err();
    assert_eq!(error.message, "Could not decode tenant token, InvalidSignature.");
}

#[tokio::test]
async fn a_deleted_key_opens_nothing_and_neither_do_its_tokens() {
    let (ring, _folder) = ring(Some(MASTER)).await;
    let held = ring.add(key(&[Action::Search], &["*"])).await.unwrap().unwrap();
    let claims = json!({"searchRules": ["*"], "apiKeyUid": held.key.uid});
    let tenant = token(Algorithm::HS256, held.secret.expose(), &claims);
    assert!(check(&ring, Some(&tenant), Action::Search, Some("a"), now()).is_ok());
    assert!(ring.remove(held.key.uid).await.unwrap());
    assert!(check(&ring, Some(&tenant), Action::Search, Some("a"), now()).is_err());
    assert!(check(&ring, Some(held.secret.expose()), Action::Search, Some("a"), now()).is_err());
}
