//! Who is waited for, and for how long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Gateway, Leading, Line};
use crate::nodes::elsewhere::Elsewhere as _;
use crate::peers::former::Former;
use crate::peers::publisher::Publisher;
use crate::peers::talk::{Answer, PROTOCOL, Question};
use crate::peers::view::ViewNumber;
use crate::peers::{LEASE, MARGIN};

const MOMENT: Duration = Duration::from_millis(50);

type Leader = watch::Sender<Option<Arc<Publisher>>>;

async fn three() -> (Leading, Leader, Gateway, Gateway) {
    let leading = Leading::start(1).await;
    let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
    let (b, c) = (Gateway::start("b", None, &leader).await, Gateway::start("c", None, &leader).await);
    for gateway in [&b, &c] {
        gateway.until(|gateway| gateway.follower.is_leased()).await;
    }
    leading.publisher.former_views_are_over().await;
    // Each has asked since.
    tokio::time::sleep(LEASE).await;
    (leading, leader, b, c)
}

async fn time_of(work: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    work.await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn where_nothing_has_changed_nobody_waits() {
    let (leading, _leader, b, _c) = three().await;
    assert_eq!(time_of(leading.publisher.heard()).await, Duration::ZERO);
    b.line.send_replace(Line::Dumb);
    assert_eq!(time_of(leading.publisher.heard()).await, Duration::ZERO, "it has heard of all there is");
}

#[tokio::test(start_paused = true)]
async fn followers_hear_of_a_change_at_once() {
    let (leading, _leader, b, c) = three().await;
    leading.change();
    assert!(time_of(leading.publisher.heard()).await < MOMENT);
    let now = Some(leading.publisher.number());
    assert!(b.follower.has() == now && c.follower.has() == now);
    assert!(time_of(leading.publisher.quiet()).await < MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_cut_off_is_waited_for_until_its_lease_is_over() {
    for line in [Line::Dumb, Line::Deaf] {
        let (leading, _leader, b, c) = three().await;
        b.line.send_replace(line);
        leading.change();
        let took = time_of(leading.publisher.heard()).await;
        assert!(took > LEASE - Duration::from_millis(1200) && took <= LEASE + MARGIN, "{took:?}");
        assert!(!b.follower.is_leased(), "{line:?}: it does not call its view good any more");
        assert!(!b.follower.holds(&b.cluster.nodes.topology()));
        assert!(c.follower.is_leased() && c.follower.has() == Some(leading.publisher.number()));
        leading.change();
        let took = time_of(leading.publisher.heard()).await;
        // One answer was on its way, and may have lent it the view of before this change. It was lent nothing since.
        assert!(took <= Duration::from_millis(1200), "it is waited for once: {took:?}");
        b.line.send_replace(Line::Well);
        b.until(|gateway| gateway.follower.is_leased()).await;
        assert_eq!(b.follower.has(), Some(leading.publisher.number()));
        assert!(time_of(leading.publisher.quiet()).await < MOMENT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_follower_uses_nothing_that_it_read_before() {
    let (leading, _leader, b, _c) = three().await;
    let planned = b.cluster.nodes.topology();
    b.frozen.send_replace(true);
    leading.change();
    assert!(time_of(leading.publisher.quiet()).await <= LEASE + MARGIN);
    b.frozen.send_replace(false);
    assert!(!b.follower.holds(&planned), "it wakes, and its lease is over");
    b.until(|gateway| gateway.follower.is_leased()).await;
    assert!(!b.follower.holds(&planned), "what is good now is another view");
    assert!(b.follower.holds(&b.cluster.nodes.topology()));
}

#[tokio::test(start_paused = true)]
async fn a_short_sleep_costs_nothing() {
    let (leading, _leader, b, _c) = three().await;
    let planned = b.cluster.nodes.topology();
    b.frozen.send_replace(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    b.frozen.send_replace(false);
    leading.change();
    leading.publisher.heard().await;
    assert!(b.follower.holds(&planned), "no lease has lapsed");
}

#[tokio::test(start_paused = true)]
async fn quiet_waits_for_a_request_of_a_follower_that_goes_by_an_older_view() {
    let (leading, _leader, b, _c) = three().await;
    let planned = b.cluster.nodes.topology();
    leading.change();
    leading.publisher.heard().await;
    let publisher = Arc::clone(&leading.publisher);
    let quiet = tokio::spawn(async move { time_of(publisher.quiet()).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!quiet.is_finished() && b.follower.holds(&planned));
    drop(planned);
    let took = quiet.await.unwrap();
    assert!(took < Duration::from_secs(10) + MOMENT, "its end is told soon: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_longer_than_reads_may_is_given_up_by_both_sides() {
    let (leading, _leader, b, _c) = three().await;
    let planned = b.cluster.nodes.topology();
    leading.change();
    let longest = b.cluster.nodes.longest_read();
    let took = time_of(leading.publisher.quiet()).await;
    assert!(took > longest && took < longest + MARGIN + MOMENT, "{took:?}");
    assert!(b.follower.is_leased() && !b.follower.holds(&planned));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_waits_for_views_of_those_before_it() {
    let (old, leader, b, c) = three().await;
    let planned = b.cluster.nodes.topology();
    // B does not hear of the new leader, nor of the end of the old one.
    b.line.send_replace(Line::Dumb);
    old.trusted.store(false, Ordering::SeqCst);
    let new = Leading::start(2).await;
    leader.send_replace(Some(Arc::clone(&new.publisher)));
    c.until(|gateway| gateway.follower.has().is_some_and(|has| has.epoch == 2)).await;
    assert!(c.follower.is_leased(), "it goes on by the new one");
    new.publisher.heard().await;
    assert!(!b.follower.holds(&planned) && !b.follower.is_leased());
    b.line.send_replace(Line::Well);
    b.until(|gateway| gateway.follower.is_leased()).await;
    assert!(!b.follower.holds(&planned), "what was planned before goes by a leader that is gone");
    assert_eq!(b.follower.has(), Some(new.publisher.number()));
    assert!(time_of(new.publisher.heard()).await < MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_who_has_views_waits_only_for_them() {
    let (old, leader, b, c) = three().await;
    let planned = b.cluster.nodes.topology();
    let store = Arc::clone(&old.cluster.ledger.store);
    old.publisher.resign().await.unwrap();
    old.change();
    let (_, question) = b.follower.question();
    let answer = old.publisher.answer(question).await;
    assert!(matches!(answer, Answer::NotLeading | Answer::Again), "nothing is lent any more: {answer:?}");
    old.trusted.store(false, Ordering::SeqCst);
    let new = Leading::after(2, Former::load(store.as_ref(), 2).await.unwrap()).await;
    leader.send_replace(Some(Arc::clone(&new.publisher)));
    let took = time_of(new.publisher.former_views_are_over()).await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    for gateway in [&b, &c] {
        // However long the new leader took to begin.
        gateway.until(|gateway| gateway.follower.has() >= Some(ViewNumber { epoch: 2, n: 0 })).await;
        assert!(gateway.follower.is_leased());
    }
    new.change();
    new.publisher.heard().await;
    let quiet = time_of(new.publisher.quiet());
    drop(planned);
    assert!(quiet.await < MOMENT);
}

#[tokio::test(start_paused = true)]
async fn a_leader_of_the_past_lends_nothing() {
    let (old, leader, b, c) = three().await;
    let new = Leading::start(2).await;
    leader.send_replace(Some(Arc::clone(&new.publisher)));
    b.until(|gateway| gateway.follower.has().is_some_and(|has| has.epoch == 2)).await;
    let (_, question) = b.follower.question();
    assert_eq!(old.publisher.answer(question).await, Answer::NotLeading, "who asks knows a later one");
    old.trusted.store(false, Ordering::SeqCst);
    // Of a process that it does not know.
    let (_, question) = c.follower.question();
    let mut question = Question { process: Uuid::from_u128(7), has: None, ..question };
    assert_eq!(old.publisher.answer(question.clone()).await, Answer::NotLeading, "its lease is over");
    question.protocol = PROTOCOL + 1;
    let other = new.publisher.answer(question).await;
    assert_eq!(other, Answer::OtherProtocol { protocol: PROTOCOL });
}

#[tokio::test(start_paused = true)]
async fn a_long_way_to_the_leader_shortens_no_lease_of_the_leaders_book() {
    let (leading, _leader, b, _c) = three().await;
    b.line.send_replace(Line::Slow(Duration::from_millis(250)));
    tokio::time::sleep(LEASE * 2).await;
    assert!(b.follower.is_leased(), "it asks in time");
    b.line.send_replace(Line::Slow(Duration::from_secs(2)));
    leading.change();
    let took = time_of(leading.publisher.heard()).await;
    assert!(took <= LEASE + MARGIN, "{took:?}");
    assert!(!b.follower.is_leased() || b.follower.has() == Some(leading.publisher.number()));
}
