//! One try to carry out a group of commands: all statements are sent, then all answers read, then it is committed. Where nobody waits for
//! the answers the commit is sent along: one round trip instead of two.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio_postgres::{Client, Row};

use super::address::chain;
use super::claim::{Claim, too_few};
use super::link::{Meaning, meaning};
use super::statement::{Replies, Statement};
use super::worker::{Frame, Job, Then};
use crate::store::StoreError;
use crate::store::leadership::Loss;

/// After so long without an answer the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(12);

/// Who freezes with a transaction open holds the leader's row, and nobody could take over. For one transaction only: behind a pooler
/// the connection is another's then.
const IDLE: &str = "SET LOCAL idle_in_transaction_session_timeout = '5s'";

/// What is asked is estimated far too high: to compile it takes half a second, to carry it out some milliseconds.
const NOT_COMPILED: &str = "SET LOCAL jit = off";

/// What a worker may do.
pub enum Role {
    /// Changes the state, by a claim; so many commits have been counted by it.
    Writes(Claim),
    /// Sees one moment of the state in each group.
    Reads,
}

/// What became of a group.
pub enum Outcome {
    /// It is committed, and each command has its replies.
    Done,
    /// The server refuses one of the statements; nothing was done.
    Refused(String),
    /// The one command of the group cannot go on with what it was told; nothing was done.
    Failed(StoreError),
    /// The connection is of no use any more; nothing was done.
    Broken(String),
    /// It broke while it was committed.
    InDoubt(String),
    /// The state is not this gateway's any more; nothing was done.
    Lost(Loss),
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, tokio_postgres::Error>> + Send + 'a>>;

/// A statement that was sent: its answer may be there already.
struct Sent<'a> {
    answer: Answer<'a>,
    early: Option<Result<Vec<Row>, tokio_postgres::Error>>,
}

// === impl Role ===

impl Role {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Writes(_) => "writer",
            Self::Reads => "reader",
        }
    }

    /// As [`Claim::is_at`]; readers are told by the writer.
    pub fn is_at(&self, system: Option<&String>) -> Result<(), Loss> {
        match self {
            Self::Writes(claim) => claim.is_at(system),
            Self::Reads => Ok(()),
        }
    }

    fn begin(&self) -> Vec<Statement> {
        match self {
            Self::Writes(claim) => vec![Statement::plain("BEGIN"), Statement::plain(IDLE), claim.fence()],
            Self::Reads => {
                vec![
                    Statement::plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
                    Statement::plain(NOT_COMPILED),
                ]
            }
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(error: &tokio_postgres::Error) -> Self {
        match meaning(error) {
            Meaning::Refused => Self::Refused(chain(error)),
            Meaning::Broken => Self::Broken(chain(error)),
        }
    }
}

/// Sends a statement without waiting for its answer.
fn send<'a>(client: &'a Client, statement: &'a Statement) -> Sent<'a> {
    let mut answer: Answer<'a> = Box::pin(statement.run(client));
    let waker = futures::task::noop_waker();
    let early = match answer.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    };
    Sent { answer, early }
}

async fn each_answer(sent: Vec<Sent<'_>>) -> Result<Vec<Result<Vec<Row>, Outcome>>, Outcome> {
    let mut replies = Vec::with_capacity(sent.len());
    for Sent { answer, early } in sent {
        let result = match early {
            Some(result) => result,
            None => match tokio::time::timeout(SILENCE, answer).await {
                Ok(result) => result,
                Err(_) => return Err(Outcome::Broken(format!("no answer within {SILENCE:?}"))),
            },
        };
        replies.push(result.map_err(|error| Outcome::of(&error)));
    }
    Ok(replies)
}

/// The first error if there is one: what follows has failed because of it.
async fn run_all(client: &Client, statements: &[Statement]) -> Result<Replies, Outcome> {
    let sent = statements.iter().map(|statement| send(client, statement)).collect();
    each_answer(sent).await?.into_iter().collect()
}

/// Carries out the group. `in_doubt`: its commit was sent before, over a connection that broke then; it has its replies.
pub async fn attempt(client: &Client, role: &mut Role, group: &mut [Box<dyn Job>], in_doubt: bool) -> Outcome {
    if let [job] = group
        && job.ask().frame == Frame::Alone
    {
        // One after the other, however long each takes.
        let mut replies = Vec::new();
        for statement in &job.ask().statements {
            match statement.run(client).await {
                Ok(rows) => replies.push(rows),
                Err(error) => return Outcome::of(&error),
            }
        }
        job.keep(replies);
        return Outcome::Done;
    }
    if let Role::Writes(claim) = role
        && !in_doubt
        && group.iter().all(|job| job.ask().goes_blind())
        && let Some(outcome) = at_once(client, claim, group).await
    {
        return outcome;
    }
    let outcome = in_transaction(client, role, group, in_doubt).await;
    match &outcome {
        Outcome::Done | Outcome::Broken(_) | Outcome::InDoubt(_) => {}
        Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Lost(_) => {
            if let Err(Outcome::Broken(why)) = run_all(client, &[Statement::plain("ROLLBACK")]).await {
                // Nothing of it will be committed, but the connection is not to be used again.
                tracing::debug!(%why, "a transaction could not be rolled back");
            }
        }
    }
    outcome
}

/// Sends the whole transaction. `None` where the claim does not hold: nothing was done, and the long way says why.
async fn at_once(client: &Client, claim: &mut Claim, group: &[Box<dyn Job>]) -> Option<Outcome> {
    let begin = [Statement::plain("BEGIN"), Statement::plain(IDLE), claim.wall()];
    let (wall, end) = (begin.len() - 1, Statement::plain("COMMIT"));
    let all = begin.iter().chain(group.iter().flat_map(|job| &job.ask().statements)).chain([&end]);
    let sent: Vec<Sent<'_>> = all.map(|statement| send(client, statement)).collect();
    let last = sent.len() - 1;
    let answers = match each_answer(sent).await {
        Ok(answers) => answers,
        Err(Outcome::Broken(why)) => return Some(Outcome::InDoubt(why)),
        Err(other) => return Some(other),
    };
    // What follows the first error has failed because of it, but for the commit, which says no word of it.
    match answers.into_iter().enumerate().find_map(|(place, answer)| Some((place, answer.err()?))) {
        None => {
            claim.commits += 1;
            Some(Outcome::Done)
        }
        Some((place, Outcome::Refused(_))) if place == wall => None,
        Some((_, Outcome::Broken(why))) => Some(Outcome::InDoubt(why)),
        Some((place, Outcome::Refused(why))) if place == last => Some(Outcome::InDoubt(why)),
        Some((_, other)) => Some(other),
    }
}

async fn in_transaction(client: &Client, role: &mut Role, group: &mut [Box<dyn Job>], in_doubt: bool) -> Outcome {
    let (counted, replies) = match opened(client, role, group).await {
        Ok(opened) => opened,
        Err(outcome) => return outcome,
    };
    // Before anything that a statement was refused for: by another's commits, or by this group's own, which are there already.
    match (&mut *role, counted) {
        (Role::Writes(claim), None) => {
            // In another transaction: this one may be spoilt.
            return match run_all(client, &[Statement::plain("ROLLBACK")]).await {
                Ok(_) => claim.diagnose(client).await.map_or_else(|error| Outcome::of(&error), Outcome::Lost),
                Err(outcome) => outcome,
            };
        }
        (Role::Writes(claim), Some(count)) if in_doubt && count == claim.commits + 2 => {
            // What was sent before is committed; only its count goes on, not this one's.
            claim.commits += 1;
            // Should it fail, the next group finds the connection broken.
            let _ = run_all(client, &[Statement::plain("ROLLBACK")]).await;
            return Outcome::Done;
        }
        (Role::Writes(claim), Some(count)) if count != claim.commits + 1 => {
            return Outcome::Lost(too_few(count - 1, claim.commits));
        }
        (Role::Writes(_) | Role::Reads, _) => {}
    }
    let carried_out = match replies {
        Ok(replies) => carried_out(client, group, replies).await,
        Err(outcome) => Err(outcome),
    };
    match carried_out {
        Ok(all) => group.iter_mut().zip(all).for_each(|(job, replies)| job.keep(replies)),
        Err(outcome) => return outcome,
    }
    match run_all(client, &[Statement::plain("COMMIT")]).await {
        Ok(_) => {
            if let Role::Writes(claim) = role {
                claim.commits += 1;
            }
            Outcome::Done
        }
        Err(Outcome::Broken(why) | Outcome::Refused(why)) => match role {
            Role::Writes(_) => Outcome::InDoubt(why),
            Role::Reads => Outcome::Broken(why),
        },
        Err(other) => other,
    }
}

/// What the fence has counted; and the replies of the commands at the head of the group that depend on nothing, which are sent
/// along with the begin.
async fn opened(
    client: &Client,
    role: &Role,
    group: &[Box<dyn Job>],
) -> Result<(Option<i64>, Result<Vec<Replies>, Outcome>), Outcome> {
    let begin = role.begin();
    let head: Vec<&[Statement]> =
        group.iter().take_while(|job| job.ask().then.is_none()).map(|job| &job.ask().statements[..]).collect();
    let sent: Vec<Sent<'_>> =
        begin.iter().chain(head.iter().copied().flatten()).map(|statement| send(client, statement)).collect();
    let mut replies = each_answer(sent).await?.into_iter();
    let begun: Replies = replies.by_ref().take(begin.len()).collect::<Result<_, _>>()?;
    let counted = begun.last().and_then(|rows| rows.first()).map(|row| row.get(0));
    let own = |statements: &&[Statement]| replies.by_ref().take(statements.len()).collect::<Result<Replies, _>>();
    Ok((counted, head.iter().map(own).collect()))
}

/// The rest of the group, in order. One that depends on replies has the transaction to itself while it asks.
async fn carried_out(client: &Client, group: &[Box<dyn Job>], mut done: Vec<Replies>) -> Result<Vec<Replies>, Outcome> {
    while let Some(job) = group.get(done.len()) {
        let replies = run_all(client, &job.ask().statements).await?;
        if let Some(then) = &job.ask().then {
            follow(client, then, &replies, group.len()).await?;
        }
        done.push(replies);
    }
    Ok(done)
}

async fn follow(client: &Client, then: &Then, first: &Replies, group: usize) -> Result<(), Outcome> {
    // Alone it may say why; among others it is tried again alone.
    let failed = |error: StoreError| {
        if group == 1 { Outcome::Failed(error) } else { Outcome::Refused(error.to_string()) }
    };
    let mut next = then(first).map_err(failed)?;
    while !next.is_empty() {
        let replies = run_all(client, &next).await?;
        next = then(&replies).map_err(failed)?;
    }
    Ok(())
}
