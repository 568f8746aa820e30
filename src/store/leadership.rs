//! Who may change the state, and until when that may be trusted. Of the gateways on one PostgreSQL server one leads, by a lease; a
//! state file has one gateway, which always does.

use std::time::Duration;

use tokio::sync::watch;

use super::trust::Trust;

/// What to do where another gateway leads already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLed {
    /// End.
    Refuse,
    /// Lead when its lease has ended.
    Wait,
}

/// What to do with a state that lost its last commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLost {
    /// Leave it alone.
    Refuse,
    /// Empty it: what it should hold is found out from the nodes next.
    Empty,
}

/// How a gateway shows itself to the others, and what it comes for.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What operators call it. Two that live at the same time have two names: one that is started under the name of a leader that
    /// has vanished is taken for that leader, started again.
    pub name: String,
    /// Where the other gateways reach it.
    pub url: Option<String>,
    /// How long it goes on by what it knows when the database goes away while no other gateway is there. One that comes later waits
    /// so much longer before it takes over.
    pub alone: Duration,
    pub when_led: WhenLed,
    pub when_lost: WhenLost,
}

/// Why nothing of this process may be seen any more. It is to end at once: whoever leads now has decided what became of the
/// writes that were under way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("another gateway leads since epoch {epoch}")]
    Superseded { epoch: i64 },
    #[error("the lease was given up")]
    GivenUp,
    /// It came to change what nobody else uses.
    #[error("gateway `{leader}` leads, by the lease that it renews at the database")]
    Led { leader: String },
    /// The tables are those of a newer program.
    #[error("state has schema version {found}, this version of miroir knows up to {known}")]
    Newer { found: i64, known: i64 },
    /// By `miroir state move`.
    #[error("the state was moved to {to}: `state` is to name that now")]
    Moved { to: String },
    #[error(
        "the state lost its last commits ({why}): its server came back older than it was. Nothing is served by it until \
         `miroir recover` has compared the nodes"
    )]
    Tail { why: String },
}

/// A gateway that was seen at the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub url: Option<String>,
    pub version: String,
}

/// The gateway that leads, or has led last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Greater with each gateway that takes over.
    pub epoch: i64,
    pub name: String,
    pub url: Option<String>,
    pub since: String,
}

/// What this gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The only one: the state is its own.
    Only,
    /// It leads, by a lease. [`Leadership::trust`] says until when it may go by that.
    Leads,
    /// It may not change the state, and takes over when nobody leads.
    Follows,
    /// Nothing: it is to end.
    Ended(Loss),
}

/// Who leads, as last seen, and what this gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    /// `None` where the state is a file, and before any gateway has led.
    pub leader: Option<Leader>,
    /// The gateways that were at the database in the last ten seconds, this one with them.
    pub members: Vec<Member>,
    /// This gateway takes over as soon as the lease has ended, because the leader's row names it; and the leader goes on without the
    /// database only where this one promises not to. True of the leader.
    pub named: bool,
}

/// A gateway's place among those that use one state.
pub trait Leadership: Send + Sync + 'static {
    /// Brings each change of what is known.
    fn watch(&self) -> watch::Receiver<Standing>;
    /// Until when this process may act, and answer, by what it knows as the leader.
    fn trust(&self) -> &Trust;
    /// Promises not to lead for a while, because the database is not reached; false where nothing is promised. To be told to the leader
    /// afterwards: [`super::failsafe`].
    fn promise(&self) -> bool;
    /// `gateway` has promised so, `since` the machine has run for so long, or later.
    fn promised(&self, gateway: &str, since: Duration);
    /// Something speaks against the lease: nothing is trusted until the database has said that it is this gateway's still.
    fn doubt(&self);
    /// Asks this gateway to end in favour of another: [`Leadership::resigns`] says so to who ends it.
    fn resign(&self);
    /// True once it was asked to.
    fn resigns(&self) -> watch::Receiver<bool>;
    /// Gives the lease up, so that the next gateway need not wait for its end; nothing is trusted from then on. Blocks.
    fn release(&self);
}

/// The place of a state file's gateway.
pub struct Only {
    trust: Trust,
    standing: watch::Sender<Standing>,
    resigns: watch::Sender<bool>,
}

// === impl Standing ===

impl Standing {
    /// Nobody has led yet, as far as is known.
    pub fn new(role: Role) -> Self {
        Self { role, leader: None, members: Vec::new(), named: false }
    }

    /// Why this gateway is to end.
    pub fn loss(&self) -> Option<&Loss> {
        match &self.role {
            Role::Ended(loss) => Some(loss),
            Role::Only | Role::Leads | Role::Follows => None,
        }
    }
}

// === impl Only ===

impl Default for Only {
    fn default() -> Self {
        let standing = watch::Sender::new(Standing::new(Role::Only));
        Self { trust: Trust::always(), standing, resigns: watch::Sender::new(false) }
    }
}

impl Leadership for Only {
    fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn trust(&self) -> &Trust {
        &self.trust
    }

    fn promise(&self) -> bool {
        false
    }

    fn promised(&self, _gateway: &str, _since: Duration) {}

    /// Nobody else can have it.
    fn doubt(&self) {}

    /// There is nobody in whose favour.
    fn resign(&self) {}

    fn resigns(&self) -> watch::Receiver<bool> {
        self.resigns.subscribe()
    }

    fn release(&self) {}
}

/// Returns when `leadership` says that this process is to end.
pub async fn lost(leadership: &dyn Leadership) -> Loss {
    let mut standing = leadership.watch();
    let lost = standing.wait_for(|standing| standing.loss().is_some()).await;
    match lost.ok().and_then(|standing| standing.loss().cloned()) {
        Some(loss) => loss,
        // Who could say so is gone, and so is the store.
        None => std::future::pending().await,
    }
}
