use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::gateway::head::Head;
use crate::meili::operation::Read as ReadOperation;
use crate::nodes::changes::Changes;
use crate::placement::shard::{ShardId, ShardSet};

fn cache(size: u64) -> Cache {
    let metrics = CacheMetrics::register(&prometheus::Registry::new()).unwrap();
    Cache::new(CacheSettings { size, largest_answer: 1000, except: Vec::new(), replies: 0 }, metrics)
}

fn question_with(body: &str, headers: &[(&'static str, &str)]) -> Option<Question> {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let path = "/indexes/a/search";
    let head = Head::new(http::Method::POST, &path.parse().unwrap(), map);
    let operation = ReadOperation::SearchPost { index: "a".into() }.into();
    Question::of(&operation, &head, path, &Bytes::from(body.to_owned()))
}

fn question(body: &str) -> Question {
    question_with(body, &[]).unwrap()
}

/// Of no index, so that nothing but [`Changes::replanned`] and features could end it.
fn moment(changes: &Changes) -> Moment {
    changes.moment(&[], &[]).unwrap()
}

fn turn(cache: &Cache, question: Question, changes: &Changes) -> Turn {
    let moment = moment(changes);
    let lead = cache.flights.lead(&question, 1, &moment);
    Turn { question, why: Forward::Missing, read: Some(Read { began: Instant::now(), epoch: 1, moment, lead }) }
}

fn answer(body: &str) -> Answer {
    Answer::bytes(200, Bytes::from(body.to_owned()))
}

fn stored(cache: &Cache, answer: Answer, worth: Worth) -> bool {
    let turn = turn(cache, question("{}"), &Changes::default());
    let answer = cache.end(turn, Ok(answer), worth).unwrap();
    let found = cache.find(&question("{}"), 1).is_ok();
    assert_eq!(answer.cache.unwrap().as_str().ends_with("stored"), found);
    found
}

#[test]
fn whole_answers_that_last_are_kept() {
    let long = "x".repeat(1001);
    let lacking = Answer { degraded: [ShardId(1)].into_iter().collect::<ShardSet>(), ..answer("a") };
    for (answer, worth, kept) in [
        (answer("a"), Worth::Lasts, true),
        (answer("a"), Worth::LastsIfWithin(Duration::from_secs(3600)), true),
        (answer("a"), Worth::LastsIfWithin(Duration::ZERO), false),
        (answer("a"), Worth::Once, false),
        (answer(&long), Worth::Lasts, false),
        (lacking, Worth::Lasts, false),
        (Answer::empty(404), Worth::Lasts, false),
    ] {
        assert_eq!(stored(&cache(1 << 20), answer.clone(), worth), kept, "{answer:?} {worth:?}");
    }
}

#[test]
fn an_answer_is_shown_in_its_epoch_to_who_asks_the_same() {
    let (cache, changes) = (cache(1 << 20), Changes::default());
    cache.end(turn(&cache, question("{}"), &changes), Ok(answer("a")), Worth::Lasts).unwrap();
    assert_eq!(cache.find(&question("{}"), 1).unwrap().body, "a");
    assert_eq!(cache.find(&question("{}"), 2).unwrap_err(), Forward::Stale);
    assert_eq!(cache.find(&question("{ }"), 1).unwrap_err(), Forward::Missing);
    assert_eq!(question_with("{}", &[("meili-include-metadata", "true")]), None, "each answer has a name of its own");
    let headers = [("cache-control", "no-cache")];
    assert_eq!(cache.find(&question_with("{}", &headers).unwrap(), 1).unwrap_err(), Forward::Request);
}

#[test]
fn an_answer_that_was_read_across_a_change_is_not_kept() {
    let (cache, changes) = (cache(1 << 20), Changes::default());
    let turn = turn(&cache, question("{}"), &changes);
    changes.everything_changes();
    cache.end(turn, Ok(answer("a")), Worth::Lasts).unwrap();
    assert_eq!(cache.find(&question("{}"), 1).unwrap_err(), Forward::Missing);
}

#[test]
fn answers_take_no_more_than_they_may() {
    let cache = cache(100_000);
    let changes = Changes::default();
    for number in 0..2000 {
        let turn = turn(&cache, question(&number.to_string()), &changes);
        cache.end(turn, Ok(answer(&"x".repeat(number % 900))), Worth::Lasts).unwrap();
        assert!(cache.kept.weight() <= cache.kept.capacity());
    }
    assert!(cache.kept.capacity() < 200_000 && cache.metrics.evictions.get() > 1000);
    assert_eq!(u64::try_from(cache.metrics.bytes.get()).unwrap(), cache.kept.weight());
}

#[tokio::test]
async fn who_asks_the_same_meanwhile_gets_the_same_answer() {
    let (cache, changes) = (cache(1 << 20), Changes::default());
    let turn = turn(&cache, question("{}"), &changes);
    assert!(cache.flights.under_way(&question("{ }"), 1).is_none(), "that is another question");
    assert!(cache.flights.under_way(&question("{}"), 2).is_none(), "another topology");
    let follower = cache.flights.under_way(&question("{}"), 1).unwrap();
    assert!(cache.flights.lead(&question("{}"), 1, &moment(&changes)).is_none());
    cache.end(turn, Ok(answer("a")), Worth::Once).unwrap();
    assert_eq!(follower.ends().await.unwrap().unwrap().body, "a");
    assert!(cache.flights.under_way(&question("{}"), 1).is_none());
}

#[tokio::test]
async fn a_read_that_is_given_up_sets_the_others_free() {
    let (cache, changes) = (cache(1 << 20), Changes::default());
    let turn = turn(&cache, question("{}"), &changes);
    let follower = cache.flights.under_way(&question("{}"), 1).unwrap();
    drop(turn);
    assert!(follower.ends().await.is_none());
    assert!(cache.flights.lead(&question("{}"), 1, &moment(&changes)).is_some());
}

#[test]
fn nobody_joins_a_read_that_began_before_a_change() {
    let (cache, changes) = (cache(1 << 20), Changes::default());
    let old = turn(&cache, question("{}"), &changes);
    changes.everything_changes();
    assert!(cache.flights.under_way(&question("{}"), 1).is_none());
    let _new = turn(&cache, question("{}"), &changes);
    drop(old);
    assert!(cache.flights.under_way(&question("{}"), 1).is_some(), "the end of the older one takes none away");
}

#[test]
fn each_way_that_an_answer_came_about_has_words_of_its_own() {
    let mut words: BTreeMap<&str, CacheStatus> = BTreeMap::new();
    let whys = [Forward::Missing, Forward::Stale].into_iter();
    let bypasses = Bypass::ALL.iter().map(|reason| (Forward::Bypass(*reason), Then::Nothing));
    let all =
        whys.flat_map(|why| [Then::Stored, Then::Nothing, Then::Collapsed].map(|then| (why, then))).chain(bypasses);
    for (why, then) in all {
        let status = CacheStatus::Forwarded { why, then };
        assert_eq!(words.insert(status.as_str(), status), None);
    }
}
