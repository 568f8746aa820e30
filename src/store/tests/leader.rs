//! The lease, the fence, and a server that goes away, comes back older, or is another one.

use std::time::{Duration, Instant};

use super::facts::task;
use super::place::open_as;
use super::server::{Postgres, database_of};
use crate::store::leadership::{Candidate, Loss, Standing, WhenLed, WhenLost};
use crate::store::open::Place;
use crate::store::{StoreError, TaskFilter, TaskRef};

const MEMBERS: &str = "SELECT name FROM miroir.members";

fn sql(address: &str, statement: &str) -> String {
    Postgres::shared().sql(database_of(address), statement)
}

/// As if another gateway had found the lease at its end.
const TAKE_OVER: &str = "UPDATE miroir.leader SET epoch = epoch + 1, holder = 'other', name = 'other',
                         expires_at = clock_timestamp() + interval '10 seconds'";

#[tokio::test]
async fn a_second_gateway_is_refused_while_the_first_lives_and_starts_at_once_when_it_has_ended() {
    let address = Postgres::shared().database();
    let first = open_as(&address, 64, "gw-a").unwrap();
    let error = open_as(&address, 64, "gw-b").err().unwrap();
    assert!(matches!(&error, StoreError::Led { leader } if leader == "gw-a"), "{error}");
    first.store.insert_task(task(0)).await.unwrap();
    let Standing::Leads { epoch: 1, good: true, .. } = first.leadership.standing() else { panic!("it leads") };
    assert!(sql(&address, MEMBERS).contains("gw-a"));
    drop(first);
    let begun = Instant::now();
    let second = open_as(&address, 64, "gw-b").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "the lease was given up, so nobody waits for its end");
    assert_eq!(second.store.task_uids(TaskFilter::default()).await.unwrap(), [0]);
    let Standing::Leads { epoch: 2, .. } = second.leadership.standing() else { panic!("it leads") };
}

#[tokio::test]
async fn who_is_to_wait_leads_when_the_leader_ends() {
    let address = Postgres::shared().database();
    let first = open_as(&address, 64, "gw-a").unwrap();
    let waiting = std::thread::spawn({
        let address = address.clone();
        move || {
            let candidate = Candidate { name: "gw-b".to_owned(), when_led: WhenLed::Wait, when_lost: WhenLost::Refuse };
            Place { state: &address, password: None }.open(64, &candidate).map(|opened| opened.leadership.standing())
        }
    });
    while !sql(&address, MEMBERS).contains("gw-b") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!waiting.is_finished());
    drop(first);
    assert!(matches!(waiting.join().unwrap().unwrap(), Standing::Leads { epoch: 2, .. }));
}

#[tokio::test]
async fn an_older_leader_commits_nothing() {
    let address = Postgres::shared().database();
    let old = open_as(&address, 64, "gw-a").unwrap();
    old.store.insert_task(task(0)).await.unwrap();
    sql(&address, TAKE_OVER);
    let error = old.store.insert_task(task(1)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Superseded { epoch: 2 })), "{error}");
    assert_eq!(old.leadership.lost().await, Loss::Superseded { epoch: 2 });
    let error = old.store.put_meta("a", "b".to_owned()).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert_eq!(sql(&address, "SELECT string_agg(uid::text, ',') FROM miroir.tasks"), "0");
    assert_eq!(sql(&address, "SELECT lost IS NULL FROM miroir.leader"), "t", "nothing is lost for a successor");
}

#[tokio::test]
async fn a_leader_without_work_hears_that_it_leads_no_more() {
    let address = Postgres::shared().database();
    let old = open_as(&address, 64, "gw-a").unwrap();
    sql(&address, TAKE_OVER);
    assert_eq!(old.leadership.lost().await, Loss::Superseded { epoch: 2 });
}

#[tokio::test]
async fn a_state_that_lost_commits_stops_everything_until_it_is_emptied() {
    let address = Postgres::shared().database();
    let leader = open_as(&address, 64, "gw-a").unwrap();
    for uid in 0..3 {
        leader.store.insert_task(task(uid)).await.unwrap();
    }
    sql(&address, "UPDATE miroir.leader SET commits = commits - 1");
    let error = leader.store.insert_task(task(3)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    assert!(matches!(leader.leadership.lost().await, Loss::Tail { .. }));
    while sql(&address, "SELECT lost IS NULL FROM miroir.leader") == "t" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(leader);
    let error = open_as(&address, 64, "gw-a").err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    let recovering = Candidate { name: "gw-a".to_owned(), when_led: WhenLed::Refuse, when_lost: WhenLost::Empty };
    // The lease of who noted the loss is not given up: what it had is not to go on.
    let emptied = Place { state: &address, password: None }.open(64, &recovering).unwrap();
    assert_eq!(emptied.store.next_task_uid().await.unwrap(), 0);
    assert_eq!(emptied.store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
    drop(emptied);
    open_as(&address, 64, "gw-a").unwrap().store.insert_task(task(0)).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let address = Postgres::shared().database();
    drop(open_as(&address, 64, "gw-a").unwrap());
    sql(&address, "UPDATE miroir.leader SET schema = 99");
    let error = open_as(&address, 64, "gw-a").err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_what_was_under_way_is_carried_out() {
    let mut server = Postgres::start();
    let address = server.database();
    let leader = open_as(&address, 64, "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    server.stop();
    let error = leader.store.insert_task(task(1)).await.err().unwrap();
    assert!(matches!(error, StoreError::Away(_)), "{error}");
    let error = leader.store.get_task(TaskRef::Uid(0)).await.err().unwrap();
    assert!(matches!(error, StoreError::Away(_)), "{error}");
    // It belongs to a write that nodes have heard of.
    let under_way = tokio::spawn({
        let store = leader.store.clone();
        async move { store.put_meta("a", "b".to_owned()).await }
    });
    server.restart();
    under_way.await.unwrap().unwrap();
    assert_eq!(leader.store.get_meta("a").await.unwrap().as_deref(), Some("b"));
    leader.store.insert_task(task(1)).await.unwrap();
    assert_eq!(leader.store.task_uids(TaskFilter::default()).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn a_server_that_comes_back_as_an_older_copy_is_not_believed() {
    let mut server = Postgres::start();
    let address = server.database();
    let leader = open_as(&address, 64, "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    server.stop();
    server.copy_data("data", "older");
    server.restart();
    leader.store.insert_task(task(1)).await.unwrap();
    server.stop();
    server.copy_data("older", "data");
    server.restart();
    let error = leader.store.insert_task(task(2)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    assert!(matches!(leader.leadership.lost().await, Loss::Tail { .. }));
}

#[tokio::test]
async fn another_server_under_the_same_address_is_not_believed() {
    let mut first = Postgres::start();
    let address = first.database();
    let leader = open_as(&address, 64, "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    first.stop();
    let mut second = Postgres::start();
    second.stop();
    second.port = first.port;
    second.restart();
    second.sql("postgres", &format!("CREATE DATABASE {}", database_of(&address)));
    assert!(matches!(leader.leadership.lost().await, Loss::Tail { .. }));
}
