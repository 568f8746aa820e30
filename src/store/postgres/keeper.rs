//! The thread that keeps a gateway's seat at the database: who waits looks whether the lease has ended, who leads renews it. Only the
//! database's clock says who may take it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::Runtime;

use super::address::{Address, chain};
use super::claim::{Claim, Me, Seen, note_loss, noted, same_system, too_few};
use super::known::Known;
use super::link::Link;
use super::schema;
use crate::store::failsafe::{Heir, LEASE};
use crate::store::leadership::{Leader, Loss, Member, Role, Standing, WhenLed, WhenLost};
use crate::store::trust::Moment;

const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often who waits for a lease looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// While the server does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// What is asked at once may take so long, the connection aside.
const LIMIT: Duration = Duration::from_secs(4);
/// So often it is tried at the end to note that the state lost commits.
const NOTES: u32 = 3;
const RELEASE_LIMIT: Duration = Duration::from_millis(900);

/// What the thread is told.
pub enum Order {
    /// To ask at once whose the lease is.
    Look,
    /// To give the lease up; whoever `resigned` does not come back for it at once.
    Release { resigned: bool },
}

/// The thread.
pub struct Keeper {
    address: Address,
    runtime: Runtime,
    link: Option<Link>,
    me: Me,
    known: Arc<Known>,
    at: At,
    /// Which server it is.
    system: Option<String>,
    /// Whether it was said that the server cannot be reached.
    told_away: bool,
    /// When it was last noted that this gateway is there.
    attended: Option<Moment>,
    /// When the server answered again that had been away.
    back: Option<Moment>,
}

/// Where the gateway stands.
enum At {
    Waiting {
        /// As the row was first, and as it was last.
        first: Option<Seen>,
        last: Option<Seen>,
    },
    Leading {
        claim: Claim,
        /// The names of other gateways, as the next renewal has the row say.
        others: Vec<String>,
    },
}

/// What came of asking the server.
enum Asked {
    /// To be asked again after so long.
    Again(Duration),
    Lost(Loss),
    Away(String),
}

/// How a lease was taken.
struct Taken {
    sent: Moment,
    heir: Heir,
    /// Whom the row names now.
    others: Vec<String>,
    members: Vec<Member>,
}

/// What who waits was told.
enum Look {
    Waits(Seen, Vec<Member>),
    Taken(Claim, Taken),
}

// === impl Keeper ===

impl Keeper {
    /// One that waits, over a connection that was made.
    pub fn new(address: Address, runtime: Runtime, link: Link, me: Me, known: Arc<Known>) -> Self {
        let (system, at) = (link.system.clone(), At::Waiting { first: None, last: None });
        Self { address, runtime, link: Some(link), me, known, at, system, told_away: false, attended: None, back: None }
    }

    /// Keeps the seat until it is given up.
    pub fn keep(mut self, orders: &Receiver<Order>) {
        let mut wait = Duration::ZERO;
        loop {
            match orders.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) | Ok(Order::Look) => {}
                Ok(Order::Release { resigned }) => return self.release(resigned),
                Err(RecvTimeoutError::Disconnected) => return self.release(false),
            }
            if let Some(loss) = self.known.loss() {
                if !self.note(&loss) {
                    wait = RETRY;
                    continue;
                }
                let resigned = loop {
                    match orders.recv() {
                        Ok(Order::Look) => {}
                        Ok(Order::Release { resigned }) => break resigned,
                        Err(_) => break false,
                    }
                };
                return self.release(resigned);
            }
            let asked = match self.at {
                At::Waiting { .. } => self.look(),
                At::Leading { .. } => self.renew(),
            };
            wait = match asked {
                Asked::Again(wait) => wait,
                Asked::Lost(loss) => {
                    self.known.lose(loss);
                    Duration::ZERO
                }
                Asked::Away(why) => {
                    self.link = None;
                    if !std::mem::replace(&mut self.told_away, true) {
                        tracing::error!(%why, "the database of the state cannot be reached: the lease is not renewed");
                    }
                    RETRY
                }
            };
        }
    }

    /// Asks the server, over the connection that is there or a new one.
    fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(&Link, &Me) -> Result<Result<T, Loss>, tokio_postgres::Error>,
    ) -> Result<T, Asked> {
        let (link, address, me, system) = (&mut self.link, &self.address, &self.me, &self.system);
        let asked = self.runtime.block_on(async {
            let link = match link {
                Some(link) if !link.client.is_closed() => link,
                _ => link.insert(Link::connect(address).await.map_err(Asked::Away)?),
            };
            same_system(system.as_ref(), link.system.as_ref()).map_err(Asked::Lost)?;
            match tokio::time::timeout(LIMIT, question(link, me)).await {
                Ok(Ok(Ok(answer))) => Ok(answer),
                Ok(Ok(Err(loss))) => Err(Asked::Lost(loss)),
                Ok(Err(error)) => Err(Asked::Away(chain(&error))),
                Err(_) => Err(Asked::Away(format!("no answer within {LIMIT:?}"))),
            }
        });
        if asked.is_ok() && std::mem::take(&mut self.told_away) {
            self.back = Some(Moment::now());
            tracing::info!("the database of the state can be reached again");
        }
        asked
    }

    /// Takes the lease if it has ended.
    fn look(&mut self) -> Asked {
        let At::Waiting { first, last } = &self.at else { return Asked::Again(Duration::ZERO) };
        let (first, last) = (first.clone(), last.clone());
        let asked_at = Moment::now();
        let attends = self.attended.is_none_or(|attended| asked_at > attended + RENEW_EVERY);
        let known = Arc::clone(&self.known);
        let asked = self.ask(async |link, me| {
            let Some(seen) = me.look(&link.client).await? else {
                return Ok(Err(Loss::Tail { why: "it has no leader's row".to_owned() }));
            };
            if let Some(loss) = refusal(&seen, last.as_ref(), first.as_ref(), me) {
                return Ok(Err(loss));
            }
            if attends {
                for statement in me.attend() {
                    statement.run(&link.client).await?;
                }
            }
            let members = me.members(&link.client).await?.into_iter().map(|(_, member)| member).collect();
            let sent = Moment::now();
            // Who has promised not to lead lets the lease lie: it may yet be renewed.
            if seen.wait < 0.0
                && sent.since_boot() >= known.word.lock().may_lead_at(seen.heir)
                && let Some((claim, others)) = me.take(&link.client, link.system.clone()).await?
            {
                return Ok(Ok(Look::Taken(claim, Taken { sent, heir: seen.heir, others, members })));
            }
            Ok(Ok(Look::Waits(seen, members)))
        });
        if attends && asked.is_ok() {
            self.attended = Some(asked_at);
        }
        if asked.is_ok() {
            self.known.word.lock().reached(asked_at.since_boot());
        }
        match asked {
            Ok(Look::Taken(claim, taken)) => {
                self.lead(claim, taken);
                Asked::Again(Duration::ZERO)
            }
            Ok(Look::Waits(seen, members)) => self.wait(seen, members),
            Err(asked) => asked,
        }
    }

    fn wait(&mut self, seen: Seen, members: Vec<Member>) -> Asked {
        let At::Waiting { first, last } = &mut self.at else { return Asked::Again(Duration::ZERO) };
        if first.is_none() {
            tracing::info!(leader = %seen.leader.name, seconds = seen.left.max(0.0), "waiting for the end of the leader's lease");
        }
        let was_alone = last.as_ref().is_some_and(|last| last.left < 0.0);
        if seen.left < 0.0 && seen.wait > 1.0 && !was_alone {
            tracing::warn!(
                leader = %seen.leader.name, seconds = seen.wait,
                "the leader has vanished, and may be answering searches by itself: waiting for the end of that. If it is dead, \
                 a gateway with its `gateway.id` need not wait"
            );
        }
        let led = (seen.leader.epoch > 0).then(|| seen.leader.clone());
        // Negative where this gateway has promised not to take it yet.
        let pause = if seen.wait < 0.0 { 1.0 } else { seen.wait.max(0.01) };
        let pause = LOOK_EVERY.min(Duration::from_secs_f64(pause.min(1.0)));
        let named = seen.heir != Heir::Stranger;
        *last = Some(seen.clone());
        first.get_or_insert(seen);
        self.known.note(Standing { role: Role::Follows, leader: led, members, named });
        Asked::Again(pause)
    }

    fn lead(&mut self, claim: Claim, taken: Taken) {
        let Taken { sent, heir, others, members } = taken;
        // Looked at again and again: a machine may be suspended meanwhile.
        let leads_at = self.known.word.lock().win(heir);
        while Moment::now().since_boot() < leads_at {
            let left = leads_at.saturating_sub(Moment::now().since_boot());
            self.runtime.block_on(async { tokio::time::sleep(left).await });
        }
        tracing::info!(epoch = claim.epoch, "this gateway leads");
        let leader = Some(self.as_leader(&claim));
        let standing = Standing { role: Role::Leads, leader, members, named: true };
        self.known.lead(claim.clone(), standing, |promises| promises.renewed(sent.since_boot(), &others, &others));
        self.at = At::Leading { claim, others };
    }

    fn as_leader(&self, claim: &Claim) -> Leader {
        Leader {
            epoch: claim.epoch,
            name: self.me.candidate.name.clone(),
            url: self.me.candidate.url.clone(),
            since: claim.since.clone(),
        }
    }

    fn renew(&mut self) -> Asked {
        let At::Leading { claim, others } = &self.at else { return Asked::Again(Duration::ZERO) };
        let (claim, told) = (claim.clone(), others.clone());
        // From now on the row may name them.
        self.known.trusts(|promises| promises.renewing(&told));
        let sent = Moment::now();
        let made = self.known.commits();
        let asked = self.ask(async |link, me| {
            let renewed = claim.renewal(&told, me.candidate.when_lost).run(&link.client).await?;
            let Some(counted) = renewed.first().map(|row| row.get::<_, i64>(0)) else {
                return claim.diagnose(&link.client).await.map(Err);
            };
            if counted < made {
                return Ok(Err(too_few(counted, made)));
            }
            for statement in me.attend() {
                statement.run(&link.client).await?;
            }
            me.members(&link.client).await.map(Ok)
        });
        let all = match asked {
            Ok(all) => all,
            Err(asked) => return asked,
        };
        let mut others: Vec<String> = all.iter().map(|(_, member)| member.name.clone()).collect();
        // While the server was away nobody could show itself there.
        if self.back.is_some_and(|back| Moment::now() < back + LEASE) {
            others.extend(told.iter().cloned());
        }
        // A process before this one may still be seen.
        others.retain(|name| *name != self.me.candidate.name);
        others.sort();
        others.dedup();
        self.known.trusts(|promises| promises.renewed(sent.since_boot(), &told, &others));
        let members = all.into_iter().map(|(_, member)| member).collect();
        self.known.note(Standing { role: Role::Leads, leader: Some(self.as_leader(&claim)), members, named: true });
        // At once, where the row does not say yet who is there.
        let pause = if told == others { RENEW_EVERY } else { Duration::ZERO };
        self.at = At::Leading { claim, others };
        Asked::Again(pause)
    }

    /// True when nothing is to be noted any more. Only a lost tail is: what is older than it was must not be served by, whoever
    /// starts next.
    fn note(&mut self, loss: &Loss) -> bool {
        let Loss::Tail { why } = loss else { return true };
        // Also in another database that stands under the same address now.
        self.system = None;
        let noted = self.ask(async |link, _| note_loss(why).run(&link.client).await.map(Ok));
        if let Err(Asked::Away(error)) = &noted {
            tracing::error!(%error, "that the state lost its last commits cannot be noted in it");
            self.link = None;
        }
        noted.is_ok()
    }

    /// For who comes next. A failure costs them the rest of the lease.
    fn release(mut self, resigned: bool) {
        self.known.lose(Loss::GivenUp);
        if let Some(loss @ Loss::Tail { .. }) = self.known.loss() {
            let _ = (0..NOTES).any(|_| self.note(&loss));
            return;
        }
        let claim = match &self.at {
            At::Leading { claim, .. } => Some(claim.clone()),
            At::Waiting { .. } => None,
        };
        let (address, kept, me) = (&self.address, self.link.take(), &self.me);
        let statements = claim.map(|claim| claim.release(resigned)).into_iter().chain([me.leave()]);
        self.runtime.block_on(async {
            let link = match kept {
                Some(link) if !link.client.is_closed() => link,
                _ => match Link::connect(address).await {
                    Ok(link) => link,
                    Err(_) => return,
                },
            };
            for statement in statements {
                let _ = tokio::time::timeout(RELEASE_LIMIT, statement.run(&link.client)).await;
            }
        });
    }
}

/// Why a gateway that sees the row so does not wait for it.
fn refusal(seen: &Seen, last: Option<&Seen>, first: Option<&Seen>, me: &Me) -> Option<Loss> {
    if seen.schema > schema::known() {
        return Some(Loss::Newer { found: seen.schema, known: schema::known() });
    }
    match (&seen.lost, me.candidate.when_lost) {
        (Some(why), WhenLost::Refuse) => return Some(noted(why.clone())),
        (Some(_), WhenLost::Empty) | (None, WhenLost::Refuse | WhenLost::Empty) => {}
    }
    if let Some(Err(loss)) = last.map(|last| seen.follows(last)) {
        return Some(loss);
    }
    // A lease that is renewed while one looks belongs to somebody who lives.
    let is_renewed = first.is_some_and(|first| first.expires_at != seen.expires_at);
    (is_renewed && me.candidate.when_led == WhenLed::Refuse).then(|| Loss::Led { leader: seen.leader.name.clone() })
}
