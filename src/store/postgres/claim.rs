//! The leader's row: taken, renewed, counted by each group of commits, asked again when it is somebody else's.
//!
//! ```text
//! leader(id = 1, epoch, holder, name, url, since, expires_at, commits, followers, alone, resigned, lost, schema)
//! ```
//!
//! Only the database's clock counts for who may take it. Who holds it is fenced by `epoch` and `holder` alone: a commit locks the row
//! first, so what an older leader still sends finds no row and is rolled back.
//!
//! `followers` are the names of the gateways that the leader has seen when it sent its last renewal. These take over as soon as the lease
//! has ended; so when the database goes away it goes on only while they promise not to (`failsafe`), or has none. Whom it does not
//! name waits for `alone` longer, and for no longer the leader goes on.

use tokio_postgres::{Client, Row};

use super::statement::{Statement, Value};
use crate::store::failsafe::Heir;
use crate::store::leadership::{Candidate, Leader, Loss, Member, WhenLost};

/// A gateway as it shows itself at the database.
#[derive(Debug, Clone)]
pub struct Me {
    /// Another one for each process.
    pub id: String,
    pub candidate: Candidate,
}

/// A lease that was taken.
#[derive(Debug, Clone)]
pub struct Claim {
    pub epoch: i64,
    pub holder: String,
    /// How many commits were counted when it was taken.
    pub commits: i64,
    pub since: String,
    /// The server that it was taken at.
    pub system: Option<String>,
}

/// What the row says to who would take it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub leader: Leader,
    pub commits: i64,
    /// Changes with each renewal.
    pub expires_at: String,
    /// How long the lease still holds, in seconds; negative after its end.
    pub left: f64,
    /// Until who looks may take it.
    pub wait: f64,
    pub heir: Heir,
    pub lost: Option<String>,
    pub schema: i64,
}

/// How long after the end of the lease the gateway called `$1` may take it. Who has just resigned leaves it to others for a while.
const WAIT: &str =
    "CASE WHEN holder = '' THEN CASE WHEN resigned AND name = $1 THEN interval '5 seconds' ELSE interval '0' END
                         WHEN name = $1 OR $1 = ANY (followers) THEN interval '0'
                         ELSE alone * interval '1 second' END";

// === impl Me ===

impl Me {
    fn url(&self) -> Value {
        Value::MaybeText(self.candidate.url.clone())
    }

    /// Notes that this process is there, and forgets who has not been for long.
    pub fn attend(&self) -> [Statement; 2] {
        let values = vec![
            self.id.as_str().into(),
            self.candidate.name.as_str().into(),
            self.url(),
            env!("CARGO_PKG_VERSION").into(),
        ];
        [
            Statement::new(
                "INSERT INTO miroir.members (gateway, name, url, version, seen_at)
                 VALUES ($1, $2, $3, $4, clock_timestamp())
                 ON CONFLICT (gateway) DO UPDATE SET seen_at = excluded.seen_at",
                values,
            ),
            Statement::plain("DELETE FROM miroir.members WHERE seen_at < clock_timestamp() - interval '30 seconds'"),
        ]
    }

    /// This process ends.
    pub fn leave(&self) -> Statement {
        Statement::new("DELETE FROM miroir.members WHERE gateway = $1", vec![self.id.as_str().into()])
    }

    /// Takes the row if its lease has ended, and has it name all who are there. `None` if it has not.
    pub async fn take(
        &self,
        client: &Client,
        system: Option<String>,
    ) -> Result<Option<(Claim, Vec<String>)>, tokio_postgres::Error> {
        let values = vec![
            self.candidate.name.as_str().into(),
            self.id.as_str().into(),
            self.url(),
            i64::try_from(self.candidate.alone.as_secs()).unwrap_or(i64::MAX).into(),
        ];
        let take = Statement::new(
            format!(
                "UPDATE miroir.leader SET epoch = epoch + 1, name = $1, holder = $2, url = $3, since = clock_timestamp(),
                        expires_at = clock_timestamp() + interval '10 seconds', alone = $4, resigned = false,
                        followers = ARRAY(SELECT DISTINCT m.name FROM miroir.members m
                                          WHERE m.name <> $1 AND m.seen_at > clock_timestamp() - interval '10 seconds')
                 WHERE id = 1 AND expires_at + {WAIT} < clock_timestamp()
                 RETURNING epoch, commits, since::text, followers"
            ),
            values,
        );
        let rows = take.run(client).await?;
        let claim = |row: &Row| {
            let (holder, system) = (self.id.clone(), system.clone());
            (Claim { epoch: row.get(0), commits: row.get(1), since: row.get(2), holder, system }, row.get(3))
        };
        Ok(rows.first().map(claim))
    }

    /// The row as everybody sees it, and how long this gateway would have to wait.
    pub async fn look(&self, client: &Client) -> Result<Option<Seen>, tokio_postgres::Error> {
        let look = Statement::new(
            format!(
                "SELECT epoch, name, url, since::text, commits, expires_at::text,
                        extract(epoch FROM expires_at - clock_timestamp())::float8,
                        extract(epoch FROM expires_at + {WAIT} - clock_timestamp())::float8, lost, schema,
                        holder = '', $1 = ANY (followers)
                 FROM miroir.leader WHERE id = 1"
            ),
            vec![self.candidate.name.as_str().into()],
        );
        let read = |row: &Row| Seen {
            leader: Leader { epoch: row.get(0), name: row.get(1), url: row.get(2), since: row.get(3) },
            commits: row.get(4),
            expires_at: row.get(5),
            left: row.get(6),
            wait: row.get(7),
            lost: row.get(8),
            schema: row.get(9),
            heir: match (row.get(10), row.get(11)) {
                (true, _) => Heir::OfNobody,
                (false, true) => Heir::Named,
                (false, false) => Heir::Stranger,
            },
        };
        Ok(look.run(client).await?.first().map(read))
    }

    /// The gateways that are there, with what tells each process from the others.
    pub async fn members(&self, client: &Client) -> Result<Vec<(String, Member)>, tokio_postgres::Error> {
        let seen = Statement::plain(
            "SELECT gateway, name, url, version FROM miroir.members
             WHERE seen_at > clock_timestamp() - interval '10 seconds' ORDER BY name, gateway",
        );
        let read = |row: &Row| (row.get(0), Member { name: row.get(1), url: row.get(2), version: row.get(3) });
        Ok(seen.run(client).await?.iter().map(read).collect())
    }
}

// === impl Claim ===

impl Claim {
    /// Locks the row for a group of commits, and counts it. No row: see [`Claim::diagnose`].
    pub fn fence(&self) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET commits = commits + 1 WHERE id = 1 AND epoch = $1 AND holder = $2 AND lost IS NULL
             RETURNING commits",
            vec![self.epoch.into(), self.holder.as_str().into()],
        )
    }

    /// As [`Claim::fence`], but it fails, and the transaction with it, where it would not count one commit more than this claim has made.
    /// So the end of the transaction can be sent along.
    pub fn wall(&self) -> Statement {
        Statement::new(
            "WITH counted AS (UPDATE miroir.leader SET commits = commits + 1
                              WHERE id = 1 AND epoch = $1 AND holder = $2 AND commits = $3 AND lost IS NULL RETURNING 1)
             SELECT 1 / count(*) FROM counted",
            vec![self.epoch.into(), self.holder.as_str().into(), self.commits.into()],
        )
    }

    /// Another ten seconds from now. Who empties a state that lost its last commits renews it all the same.
    pub fn renewal(&self, followers: &[String], when_lost: WhenLost) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET expires_at = clock_timestamp() + interval '10 seconds', followers = $3
             WHERE id = 1 AND epoch = $1 AND holder = $2 AND (lost IS NULL OR $4) RETURNING commits",
            vec![
                self.epoch.into(),
                self.holder.as_str().into(),
                Value::texts(followers.iter().map(String::as_str)),
                Value::Bool(when_lost == WhenLost::Empty),
            ],
        )
    }

    /// Whoever comes next need not wait. Nothing can be committed by this claim from then on.
    pub fn release(&self, resigned: bool) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET expires_at = clock_timestamp() - interval '1 second', holder = '', resigned = $3
             WHERE id = 1 AND epoch = $1 AND holder = $2",
            vec![self.epoch.into(), self.holder.as_str().into(), Value::Bool(resigned)],
        )
    }

    /// Why the row is not this claim's any more.
    pub async fn diagnose(&self, client: &Client) -> Result<Loss, tokio_postgres::Error> {
        let rows = Statement::plain("SELECT epoch, holder, lost FROM miroir.leader WHERE id = 1").run(client).await?;
        Ok(self.judge(rows.first().map(|row| (row.get(0), row.get(1), row.get(2)))))
    }

    fn judge(&self, row: Option<(i64, String, Option<String>)>) -> Loss {
        match row {
            None => tail("it has no leader's row".to_owned()),
            Some((_, _, Some(why))) => noted(why),
            Some((epoch, _, None)) if epoch > self.epoch => Loss::Superseded { epoch },
            Some((epoch, _, None)) if epoch < self.epoch => {
                tail(format!("its epoch is {epoch}, and {} was committed", self.epoch))
            }
            Some((_, holder, None)) if holder.is_empty() => Loss::GivenUp,
            Some((epoch, _, None)) => tail(format!("epoch {epoch} is another gateway's in it")),
        }
    }

    /// Another server's number means another database under the same address.
    pub fn is_at(&self, system: Option<&String>) -> Result<(), Loss> {
        same_system(self.system.as_ref(), system)
    }
}

// === impl Seen ===

impl Seen {
    /// What was seen once does not go away again, unless the server lost it.
    pub fn follows(&self, before: &Self) -> Result<(), Loss> {
        let (now, then) = ((self.leader.epoch, self.commits), (before.leader.epoch, before.commits));
        if now.0 >= then.0 && now.1 >= then.1 {
            return Ok(());
        }
        Err(tail(format!("it is at commit {} of epoch {}, and was at {} of {}", now.1, now.0, then.1, then.0)))
    }
}

/// Notes that the state lacks commits, so that nobody serves by it, whoever starts next.
pub fn note_loss(why: &str) -> Statement {
    Statement::new("UPDATE miroir.leader SET lost = coalesce(lost, $1) WHERE id = 1", vec![why.into()])
}

/// A server that tells its number to nobody is not suspected.
pub fn same_system(before: Option<&String>, now: Option<&String>) -> Result<(), Loss> {
    match (before, now) {
        (Some(before), Some(now)) if before != now => {
            Err(tail(format!("it is of system {now} now, and was of {before}")))
        }
        _ => Ok(()),
    }
}

/// Commits that were made are not counted.
pub fn too_few(counted: i64, made: i64) -> Loss {
    tail(format!("its leader's row counts {counted} commits, and {made} were made"))
}

/// What [`MOVED`] stands before: where to.
pub const MOVED: &str = "moved to ";

/// Notes that the state is somewhere else now, so that nobody serves by what is left. A row if the claim of `epoch` was given up, and
/// nobody has led since.
pub fn note_moved(to: &str, epoch: i64) -> Statement {
    Statement::new(
        "UPDATE miroir.leader SET lost = $1 WHERE id = 1 AND epoch = $2 AND holder = '' AND lost IS NULL RETURNING 1",
        vec![format!("{MOVED}{to}").into(), epoch.into()],
    )
}

/// What a note in the row means for who reads it.
pub fn noted(why: String) -> Loss {
    match why.strip_prefix(MOVED) {
        Some(to) => Loss::Moved { to: to.to_owned() },
        None => tail(why),
    }
}

fn tail(why: String) -> Loss {
    Loss::Tail { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        let system = Some("1".to_owned());
        Claim { epoch: 7, holder: "me".to_owned(), commits: 3, since: String::new(), system }
    }

    fn found(epoch: i64, holder: &str) -> Option<(i64, String, Option<String>)> {
        Some((epoch, holder.to_owned(), None))
    }

    #[test]
    fn a_row_of_another_tells_a_successor_from_a_past() {
        assert_eq!(claim().judge(found(8, "you")), Loss::Superseded { epoch: 8 });
        assert_eq!(claim().judge(found(7, "")), Loss::GivenUp);
        for past in [None, found(6, "you"), found(7, "you"), Some((7, "me".to_owned(), Some("said".to_owned())))] {
            assert!(matches!(claim().judge(past.clone()), Loss::Tail { .. }), "{past:?}");
        }
    }

    #[test]
    fn another_server_is_another_state() {
        let claim = claim();
        assert_eq!(claim.is_at(Some(&"1".to_owned())), Ok(()));
        assert_eq!(claim.is_at(None), Ok(()));
        assert!(matches!(claim.is_at(Some(&"2".to_owned())), Err(Loss::Tail { .. })));
    }

    #[test]
    fn who_waits_notices_that_commits_are_gone() {
        let seen = |epoch, commits| Seen {
            leader: Leader { epoch, name: String::new(), url: None, since: String::new() },
            commits,
            expires_at: String::new(),
            left: 0.0,
            wait: 0.0,
            heir: Heir::Stranger,
            lost: None,
            schema: 1,
        };
        assert_eq!(seen(2, 9).follows(&seen(2, 9)), Ok(()));
        assert_eq!(seen(3, 9).follows(&seen(2, 9)), Ok(()));
        assert!(seen(2, 8).follows(&seen(2, 9)).is_err());
        assert!(seen(1, 20).follows(&seen(2, 9)).is_err());
        assert!(seen(3, 8).follows(&seen(2, 9)).is_err(), "somebody took over what had lost its tail");
    }
}
