//! Who leads, and how a gateway that follows reaches them.

use std::time::Duration;

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::meili::error::{Code, ResponseError};
use crate::settings::Secret;
use crate::tls::nodes::NodeTls;

/// A gateway that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub id: String,
    /// `None` where it has no door for peers.
    pub url: Option<String>,
    /// Of its lease: it grows with each new leader.
    pub epoch: i64,
}

/// What a gateway goes by that follows another one.
pub struct Following {
    /// What operators call this gateway.
    pub id: String,
    pub leader: watch::Receiver<Option<Leader>>,
    pub(super) secret: Secret,
    pub(super) connector: Connector,
    pub(super) tls: NodeTls,
    pub(super) wait: Duration,
}

// === impl Following ===

impl Following {
    /// `wait` is how long a request waits for a leader.
    pub fn new(
        id: String,
        leader: watch::Receiver<Option<Leader>>,
        secret: Secret,
        tls: NodeTls,
        wait: Duration,
    ) -> Self {
        Self { id, leader, secret, connector: Connector::new(Some(ConnectorOptions::new(64))), tls, wait }
    }

    /// The leader that is known now.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.borrow().clone()
    }

    /// A leader that can be asked, of a later epoch than `after`.
    ///
    /// # Errors
    ///
    /// When there is none by `until`.
    pub(super) async fn reachable(&self, after: Option<i64>, until: Instant) -> Result<(Leader, String), ResponseError> {
        let mut known = self.leader.clone();
        let is_it = |leader: &Option<Leader>| {
            leader.as_ref().is_some_and(|leader| leader.url.is_some() && after.is_none_or(|after| leader.epoch > after))
        };
        let found = match tokio::time::timeout_at(until, known.wait_for(is_it)).await {
            Ok(Ok(leader)) => leader.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let leader = found.ok_or_else(no_leader)?;
        let url = leader.url.clone().ok_or_else(no_leader)?;
        Ok((leader, url))
    }

    /// Returns once `epoch` is over.
    pub(super) async fn over(&self, epoch: i64) {
        let mut known = self.leader.clone();
        let is_over = |leader: &Option<Leader>| leader.as_ref().is_none_or(|leader| leader.epoch != epoch);
        if known.wait_for(is_over).await.is_err() {
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

    fn following(leader: Option<Leader>) -> (watch::Sender<Option<Leader>>, Following) {
        let (tell, leader) = watch::channel(leader);
        let tls = NodeTls::default();
        (tell, Following::new("b".into(), leader, Secret::new("s"), tls, Duration::from_secs(15)))
    }

    fn leads(epoch: i64, url: Option<&str>) -> Option<Leader> {
        Some(Leader { id: "a".into(), url: url.map(str::to_owned), epoch })
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_waited_for_and_one_that_has_failed_is_none() {
        let (tell, following) = following(leads(3, Some("http://a")));
        let until = Instant::now() + Duration::from_secs(15);
        assert_eq!(following.reachable(None, until).await.unwrap().1, "http://a");
        let later = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            tell.send(leads(4, Some("http://b"))).unwrap();
        };
        let (found, ()) = tokio::join!(following.reachable(Some(3), until), later);
        assert_eq!(found.unwrap().0.epoch, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (_tell, following) = following(leads(3, None));
        let begun = Instant::now();
        let error = following.reachable(None, begun + Duration::from_secs(15)).await.unwrap_err();
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
            tell.send(next).unwrap();
            over.await;
        }
    }
}
