//! Who leads, and how a gateway that follows reaches them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::meili::error::{Code, ResponseError};
use crate::peers::follower::Follower;
use crate::settings::Secret;
use crate::store::leadership::{Leader, Standing};
use crate::tls::nodes::NodeTls;

/// What a gateway goes by that follows another one.
pub struct Following {
    /// What operators call this gateway.
    pub id: String,
    standing: watch::Receiver<Standing>,
    pub(super) secret: Secret,
    pub(super) connector: Connector,
    pub(super) tls: NodeTls,
    pub(super) wait: Duration,
    follower: OnceLock<Arc<Follower>>,
}

// === impl Following ===

impl Following {
    /// `wait` is how long a request waits for a leader.
    pub fn new(id: String, standing: watch::Receiver<Standing>, secret: Secret, tls: NodeTls, wait: Duration) -> Self {
        let connector = Connector::new(Some(ConnectorOptions::new(64)));
        Self { id, standing, secret, connector, tls, wait, follower: OnceLock::new() }
    }

    /// By whose views reads go. Said once.
    pub fn goes_by(&self, follower: Arc<Follower>) {
        assert!(self.follower.set(follower).is_ok(), "the views are known already");
    }

    /// `None` before it is said.
    pub fn follower(&self) -> Option<&Arc<Follower>> {
        self.follower.get()
    }

    /// True while the leader's row names this gateway, so that it takes over as soon as the lease has ended.
    pub fn is_named(&self) -> bool {
        self.standing.borrow().named
    }

    /// The leader that is known now, and where it is.
    pub(super) fn known(&self) -> Option<(Leader, String)> {
        let standing = self.standing.borrow();
        let leader = standing.leader.clone()?;
        let url = leader.url.clone()?;
        Some((leader, url))
    }

    /// A leader that can be asked.
    ///
    /// # Errors
    ///
    /// When there is none by `until`.
    pub(super) async fn reachable(&self, until: Instant) -> Result<(Leader, String), ResponseError> {
        let mut standing = self.standing.clone();
        let leads = |standing: &Standing| standing.leader.as_ref().is_some_and(|leader| leader.url.is_some());
        let leader = match tokio::time::timeout_at(until, standing.wait_for(leads)).await {
            Ok(Ok(standing)) => standing.leader.clone().ok_or_else(no_leader)?,
            Ok(Err(_)) | Err(_) => return Err(no_leader()),
        };
        let url = leader.url.clone().ok_or_else(no_leader)?;
        Ok((leader, url))
    }

    /// Returns once `epoch` is over.
    pub(super) async fn over(&self, epoch: i64) {
        let mut standing = self.standing.clone();
        let is_over = |standing: &Standing| standing.leader.as_ref().is_none_or(|leader| leader.epoch != epoch);
        if standing.wait_for(is_over).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

/// No gateway leads for longer than a request waits for one.
pub fn no_leader() -> ResponseError {
    ResponseError::new(Code::MiroirNoLeader, "No gateway leads at the moment. Try again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::leadership::Role;

    fn following(leader: Option<Leader>) -> (watch::Sender<Standing>, Following) {
        let (tell, standing) = watch::channel(stands(leader));
        let tls = NodeTls::default();
        (tell, Following::new("b".into(), standing, Secret::new("s"), tls, Duration::from_secs(15)))
    }

    fn stands(leader: Option<Leader>) -> Standing {
        Standing { leader, ..Standing::new(Role::Follows) }
    }

    fn leads(epoch: i64, url: Option<&str>) -> Option<Leader> {
        Some(Leader { name: "a".into(), url: url.map(str::to_owned), epoch, since: String::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_waited_for() {
        let (tell, following) = following(leads(3, None));
        let until = Instant::now() + Duration::from_secs(15);
        let later = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            tell.send(stands(leads(4, Some("http://b")))).unwrap();
        };
        let (found, ()) = tokio::join!(following.reachable(until), later);
        assert_eq!(found.unwrap().1, "http://b");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (_tell, following) = following(None);
        let begun = Instant::now();
        let error = following.reachable(begun + Duration::from_secs(15)).await.unwrap_err();
        assert_eq!((error.code.as_ref(), error.status), ("miroir_no_leader", 503));
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_is_over_when_nobody_leads_or_another_does() {
        for next in [None, leads(4, None)] {
            let (tell, following) = following(leads(3, None));
            let over = following.over(3);
            tokio::pin!(over);
            assert!(tokio::time::timeout(Duration::from_secs(1), over.as_mut()).await.is_err());
            tell.send(stands(next)).unwrap();
            over.await;
        }
    }
}
