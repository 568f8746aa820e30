//! The lease, the fence, and a server that goes away, comes back older, or is another one.

use std::time::{Duration, Instant};

use super::facts::{ended, task};
use super::line::Line;
use super::place::{candidate, lead, open_as};
use super::pooler::Pooler;
use super::server::{Postgres, database_of};
use crate::meili::task::TaskStatus;
use crate::store::leadership::{Candidate, Leader, Loss, Role, Standing, WhenLed, WhenLost, lost};
use crate::store::open::{Joined, Opened, Place};
use crate::store::trust::Moment;
use crate::store::{StoreError, TaskFilter, TaskPage, TaskRef};
use crate::tasks::entry::MiroirTask;

fn sql(address: &str, statement: &str) -> String {
    Postgres::shared().sql(database_of(address), statement)
}

fn standing(opened: &Opened) -> Standing {
    opened.leadership.watch().borrow().clone()
}

fn epoch(opened: &Opened) -> Option<i64> {
    standing(opened).leader.map(|leader| leader.epoch)
}

fn waits(name: &str) -> Candidate {
    Candidate { when_led: WhenLed::Wait, ..candidate(name) }
}

fn join(address: &str, candidate: &Candidate) -> Joined {
    Place { state: address, password: None }.join(candidate).unwrap()
}

/// Until the database says so.
async fn until(address: &str, statement: &str, answer: &str) {
    let limit = Instant::now() + Duration::from_secs(30);
    while sql(address, statement) != answer {
        assert!(Instant::now() < limit, "{statement}: {}", sql(address, statement));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// As if another gateway had found the lease at its end.
const TAKE_OVER: &str = "UPDATE miroir.leader SET epoch = epoch + 1, holder = 'other', name = 'other',
                         expires_at = clock_timestamp() + interval '10 seconds'";

#[tokio::test]
async fn a_second_gateway_is_refused_while_the_first_lives_and_starts_at_once_when_it_has_ended() {
    let address = Postgres::shared().database();
    let first = open_as(&address, "gw-a").unwrap();
    assert!(first.leadership.trust().holds());
    // The one that was refused may have been seen.
    let limit = Instant::now() + Duration::from_secs(15);
    while standing(&first).members.len() != 1 {
        assert!(Instant::now() < limit, "{:?}", standing(&first));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let known = standing(&first);
    assert_eq!(known.role, Role::Leads);
    let Some(Leader { epoch: 1, name, url: Some(url), .. }) = known.leader else { panic!("it leads") };
    assert_eq!(
        (name.as_str(), url.as_str(), known.members[0].url.as_deref()),
        ("gw-a", "http://gw-a:7702", Some(&*url))
    );
    let error = open_as(&address, "gw-b").err().unwrap();
    assert!(matches!(&error, StoreError::Lost(Loss::Led { leader }) if leader == "gw-a"), "{error}");
    first.store.insert_task(task(0)).await.unwrap();
    first.leadership.release();
    assert!(!first.leadership.trust().holds());
    let begun = Instant::now();
    let second = open_as(&address, "gw-b").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "the lease was given up, so nobody waits for its end");
    assert_eq!(second.store.task_uids(TaskFilter::default()).await.unwrap(), [0]);
    assert_eq!(epoch(&second), Some(2));
    let error = first.store.insert_task(task(1)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::GivenUp)), "{error}");
}

#[tokio::test]
async fn who_waits_knows_who_leads_and_leads_when_that_ends() {
    let address = Postgres::shared().database();
    let first = open_as(&address, "gw-a").unwrap();
    let second = join(&address, &waits("gw-b"));
    let mut seen = second.leadership().watch();
    let follows = seen.wait_for(|seen| seen.leader.is_some() && seen.members.len() == 2).await.unwrap().clone();
    assert_eq!((follows.role, follows.leader), (Role::Follows, standing(&first).leader));
    assert!(!second.leadership().trust().holds(), "who follows has no lease");
    // The leader says so in its row, so that one that vanishes is followed without more ado.
    until(&address, "SELECT cardinality(followers) FROM miroir.leader", "1").await;
    let waiting = std::thread::spawn(move || second.lead(Some(64)));
    assert!(!waiting.is_finished());
    let begun = Instant::now();
    first.leadership.release();
    let second = waiting.join().unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((standing(&second).role, epoch(&second)), (Role::Leads, Some(2)));
    assert_eq!(seen.borrow_and_update().role, Role::Leads, "and whoever watches hears of it");
}

#[tokio::test]
async fn who_resigns_leaves_the_lease_to_others() {
    let address = Postgres::shared().database();
    let first = open_as(&address, "gw-a").unwrap();
    first.leadership.resign();
    assert!(*first.leadership.resigns().borrow());
    first.leadership.release();
    let again = join(&address, &waits("gw-a"));
    let other = lead(&address, Some(64), &waits("gw-b")).unwrap();
    assert_eq!((epoch(&other), again.leadership().watch().borrow().role.clone()), (Some(2), Role::Follows));
}

#[tokio::test]
async fn a_leader_that_vanished_alone_may_go_on_by_itself_so_a_stranger_waits_and_its_own_name_does_not() {
    let address = Postgres::shared().database();
    let vanished = open_as(&address, "gw-a").unwrap();
    // Its process is gone, and with it its renewals.
    vanished.store.insert_task(task(0)).await.unwrap();
    let vanish = "UPDATE miroir.leader SET epoch = epoch + 1, holder = 'vanished', name = 'gw-a', followers = '{}',
                  alone = 60, expires_at = clock_timestamp() - interval '1 second'";
    sql(&address, vanish);
    let stranger = join(&address, &waits("gw-b"));
    let mut seen = stranger.leadership().watch();
    seen.wait_for(|seen| seen.leader.is_some()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seen.borrow().role, Role::Follows);
    // One whom the leader knew may have promised not to take over.
    sql(&address, "UPDATE miroir.leader SET followers = '{some}'");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seen.borrow().role, Role::Follows, "whom it did not know has promised nothing");
    let again = open_as(&address, "gw-a").unwrap();
    assert_eq!((standing(&again).role, epoch(&again)), (Role::Leads, Some(3)));
    assert_eq!(sql(&address, "SELECT followers FROM miroir.leader"), "{gw-b}", "who takes over names all at once");
    // Whom the leader knew need not wait.
    again.leadership.release();
    sql(&address, &vanish.replace("'{}'", "'{gw-b}'"));
    seen.wait_for(|seen| seen.role == Role::Leads).await.unwrap();
}

#[tokio::test]
async fn an_older_leader_commits_nothing() {
    let address = Postgres::shared().database();
    let old = open_as(&address, "gw-a").unwrap();
    old.store.insert_task(task(0)).await.unwrap();
    sql(&address, TAKE_OVER);
    let error = old.store.insert_task(task(1)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Superseded { epoch: 2 })), "{error}");
    assert_eq!(lost(old.leadership.as_ref()).await, Loss::Superseded { epoch: 2 });
    let error = old.store.put_meta("a", "b".to_owned()).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(_)), "{error}");
    assert_eq!(sql(&address, "SELECT string_agg(uid::text, ',') FROM miroir.tasks"), "0");
    assert_eq!(sql(&address, "SELECT lost IS NULL FROM miroir.leader"), "t", "nothing is lost for a successor");
}

/// Its commit is sent along with the fence, so the server itself must refuse it.
#[tokio::test]
async fn an_older_leader_rewrites_nothing() {
    let address = Postgres::shared().database();
    let old = open_as(&address, "gw-a").unwrap();
    old.store.insert_task(task(0)).await.unwrap();
    sql(&address, TAKE_OVER);
    let (row, commits) = ("SELECT task FROM miroir.tasks", "SELECT commits FROM miroir.leader");
    let (before, counted) = (sql(&address, row), sql(&address, commits));
    let error = old.store.update_task(MiroirTask { acknowledged: true, ..task(0) }).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Superseded { epoch: 2 })), "{error}");
    assert_eq!((sql(&address, row), sql(&address, commits)), (before, counted));
}

#[tokio::test]
async fn lost_commits_are_noticed_by_a_commit_that_is_sent_along() {
    let address = Postgres::shared().database();
    let leader = open_as(&address, "gw-a").unwrap();
    leader.store.put_meta("a", "1".to_owned()).await.unwrap();
    leader.store.put_meta("a", "2".to_owned()).await.unwrap();
    sql(&address, "UPDATE miroir.leader SET commits = commits - 1");
    let error = leader.store.put_meta("a", "3".to_owned()).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    assert_eq!(sql(&address, "SELECT value FROM miroir.meta WHERE name = 'a'"), "2");
}

#[tokio::test]
async fn of_commands_that_are_committed_together_one_that_is_refused_takes_none_along() {
    let address = Postgres::shared().database();
    let leader = open_as(&address, "gw-a").unwrap();
    let put = |key: &'static str, value: &str| {
        let (store, value) = (leader.store.clone(), value.to_owned());
        tokio::spawn(async move { store.put_meta(key, value).await })
    };
    // PostgreSQL's texts hold no zero.
    let puts = [put("a", "1"), put("b", "2"), put("c", "zero\0"), put("d", "4")];
    let mut went = Vec::new();
    for put in puts {
        went.push(put.await.unwrap().is_ok());
    }
    assert_eq!(went, [true, true, false, true]);
    let held =
        "SELECT string_agg(name || value, ',' ORDER BY name) FROM miroir.meta WHERE name IN ('a', 'b', 'c', 'd')";
    assert_eq!(sql(&address, held), "a1,b2,d4");
    leader.store.put_meta("c", "3".to_owned()).await.unwrap();
}

/// The connection breaks when the server has committed and before its answer is there: it is carried out once all the same.
#[tokio::test]
async fn what_is_in_doubt_is_carried_out_once() {
    let address = Postgres::shared().database();
    let mut line = Line::before(Postgres::shared().port);
    let leader = open_as(&line.of(&address), "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    let commits = || sql(&address, "SELECT commits FROM miroir.leader").parse::<i64>().unwrap();
    for round in 1..=5_u32 {
        let before = commits();
        line.break_after_a_commit();
        leader.store.put_meta("a", round.to_string()).await.unwrap();
        assert_eq!(commits(), before + 1, "round {round}");
        leader.store.insert_task(task(round)).await.unwrap();
        line.break_after_a_commit();
        leader.store.update_task(MiroirTask { acknowledged: true, ..task(round) }).await.unwrap();
        line.break_after_a_commit();
        leader.store.update_task(ended(round, TaskStatus::Succeeded)).await.unwrap();
        assert_eq!((commits(), line.broken()), (before + 4, round as usize * 3), "round {round}");
    }
    assert_eq!(leader.store.get_meta("a").await.unwrap().as_deref(), Some("5"));
}

#[tokio::test]
async fn a_leader_without_work_hears_that_it_leads_no_more() {
    let address = Postgres::shared().database();
    let old = open_as(&address, "gw-a").unwrap();
    sql(&address, TAKE_OVER);
    assert_eq!(lost(old.leadership.as_ref()).await, Loss::Superseded { epoch: 2 });
}

#[tokio::test]
async fn a_state_that_lost_commits_stops_everything_until_it_is_emptied() {
    let address = Postgres::shared().database();
    let leader = open_as(&address, "gw-a").unwrap();
    for uid in 0..3 {
        leader.store.insert_task(task(uid)).await.unwrap();
    }
    sql(&address, "UPDATE miroir.leader SET commits = commits - 1");
    let error = leader.store.insert_task(task(3)).await.err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    assert!(matches!(lost(leader.leadership.as_ref()).await, Loss::Tail { .. }));
    until(&address, "SELECT lost IS NULL FROM miroir.leader", "f").await;
    drop(leader);
    let error = open_as(&address, "gw-a").err().unwrap();
    assert!(matches!(error, StoreError::Lost(Loss::Tail { .. })), "{error}");
    let recovering = Candidate { when_lost: WhenLost::Empty, ..candidate("gw-a") };
    // The lease of who noted the loss is not given up: what it had is not to go on.
    let emptied = lead(&address, Some(64), &recovering).unwrap();
    assert_eq!(emptied.store.next_task_uid().await.unwrap(), 0);
    assert_eq!(emptied.store.get_task(TaskRef::Uid(0)).await.unwrap(), None);
    emptied.leadership.release();
    open_as(&address, "gw-a").unwrap().store.insert_task(task(0)).await.unwrap();
}

#[tokio::test]
async fn who_waits_notices_a_lost_tail_and_nobody_serves_by_it() {
    let address = Postgres::shared().database();
    let leader = open_as(&address, "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    let waiting = join(&address, &waits("gw-b"));
    let mut seen = waiting.leadership().watch();
    seen.wait_for(|seen| seen.leader.is_some()).await.unwrap();
    sql(&address, "UPDATE miroir.leader SET commits = commits - 1");
    let noticed = lost(waiting.leadership().as_ref()).await;
    assert!(matches!(noticed, Loss::Tail { .. }), "{noticed}");
    assert!(matches!(lost(leader.leadership.as_ref()).await, Loss::Tail { .. }), "the leader hears of it");
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_may_stand_before_the_server() {
    let pooler = Pooler::start();
    let address = pooler.before(&Postgres::shared().database());
    let leader = open_as(&address, "gw-a").unwrap();
    let waiting = join(&address, &waits("gw-b"));
    let writes: Vec<_> = (0..200)
        .map(|uid| {
            let store = leader.store.clone();
            tokio::spawn(async move {
                store.insert_task(task(uid)).await?;
                store.list_tasks(TaskPage { limit: 3, ..TaskPage::default() }).await?;
                store.update_task(ended(uid, TaskStatus::Succeeded)).await
            })
        })
        .collect();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    let stats = leader.store.task_stats().await.unwrap();
    assert_eq!(stats.by_status.iter().map(|(_, count)| count).sum::<u64>(), 200);
    leader.leadership.release();
    let second = tokio::task::spawn_blocking(|| waiting.lead(Some(64))).await.unwrap().unwrap();
    assert_eq!(second.store.task_uids(TaskFilter::default()).await.unwrap().len(), 200);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let address = Postgres::shared().database();
    open_as(&address, "gw-a").unwrap().leadership.release();
    sql(&address, "UPDATE miroir.leader SET schema = 99");
    let error = open_as(&address, "gw-a").err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for_and_what_was_under_way_is_carried_out() {
    let mut server = Postgres::start();
    let address = server.database();
    let leader = open_as(&address, "gw-a").unwrap();
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
async fn while_the_others_promise_not_to_lead_a_leader_goes_on_without_the_server_and_they_keep_their_word() {
    let mut server = Postgres::start();
    let address = server.database();
    let leader = open_as(&address, "gw-a").unwrap();
    let second = join(&address, &waits("gw-b"));
    let mut seen = second.leadership().watch();
    assert!(!second.leadership().promise(), "it reaches the server");
    // Its name is in the row, and it knows so.
    seen.wait_for(|seen| seen.named).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.stop();
    let stopped = Instant::now();
    let mut promised = None;
    while stopped.elapsed() < Duration::from_secs(14) {
        let since = Moment::now().since_boot();
        if second.leadership().promise() {
            promised.get_or_insert(stopped.elapsed());
            leader.leadership.promised("gw-b", since);
        }
        assert!(leader.leadership.trust().holds(), "after {:?}", stopped.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(promised.is_some_and(|promised| promised > Duration::from_millis(500)), "{promised:?}");
    // Nothing is promised any more, and what was ends.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!leader.leadership.trust().holds());
    let last = Instant::now();
    assert!(second.leadership().promise());
    leader.leadership.promised("gw-b", Moment::now().since_boot());
    assert!(leader.leadership.trust().holds(), "it is good again as soon as it is promised again");
    // The leader is gone without a word, and its lease ended long ago.
    let gone = tokio::task::spawn_blocking(move || drop(leader));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.restart();
    gone.await.unwrap();
    let released = "UPDATE miroir.leader SET holder = 'gone', followers = '{gw-b}'";
    server.sql(database_of(&address), released);
    seen.wait_for(|seen| seen.role == Role::Leads).await.unwrap();
    assert!(last.elapsed() >= Duration::from_secs(5), "{:?}", last.elapsed());
}

#[tokio::test]
async fn a_server_that_comes_back_as_an_older_copy_is_not_believed() {
    let mut server = Postgres::start();
    let address = server.database();
    let leader = open_as(&address, "gw-a").unwrap();
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
    assert!(matches!(lost(leader.leadership.as_ref()).await, Loss::Tail { .. }));
}

#[tokio::test]
async fn another_server_under_the_same_address_is_not_believed() {
    let mut first = Postgres::start();
    let address = first.database();
    let leader = open_as(&address, "gw-a").unwrap();
    leader.store.insert_task(task(0)).await.unwrap();
    first.stop();
    let mut second = Postgres::start();
    second.stop();
    second.port = first.port;
    second.restart();
    second.sql("postgres", &format!("CREATE DATABASE {}", database_of(&address)));
    assert!(matches!(lost(leader.leadership.as_ref()).await, Loss::Tail { .. }));
}
