//! The leader's row: taken, counted by each group of commits, asked again when it is somebody else's.
//!
//! ```text
//! leader(id = 1, epoch, holder, name, since, expires_at, commits, lost, schema)
//! ```
//!
//! Only the database's clock counts for who may take it. Who holds it is fenced by `epoch` and `holder` alone: a commit locks the row
//! first, so what an older leader still sends finds no row and is rolled back.

use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::statement::Statement;
use crate::store::leadership::Loss;

/// How long a lease holds after it was renewed. In the statements too.
pub const LEASE: std::time::Duration = std::time::Duration::from_secs(10);

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
pub struct Seen {
    pub name: String,
    pub expires_at: String,
    /// How long the lease still holds, in seconds; negative after its end.
    pub left: f64,
    pub lost: Option<String>,
    pub schema: i64,
}

// === impl Claim ===

impl Claim {
    /// Takes the row if its lease has ended. `None` if it has not.
    pub async fn take(
        client: &Client,
        name: &str,
        system: Option<String>,
    ) -> Result<Option<Self>, tokio_postgres::Error> {
        let holder = Uuid::new_v4().to_string();
        let take = Statement::new(
            "UPDATE miroir.leader SET epoch = epoch + 1, holder = $1, name = $2, since = clock_timestamp(),
                    expires_at = clock_timestamp() + interval '10 seconds'
             WHERE id = 1 AND expires_at < clock_timestamp() RETURNING epoch, commits, since::text",
            vec![holder.as_str().into(), name.into()],
        );
        let rows = take.run(client).await?;
        Ok(rows.first().map(|row| Self { epoch: row.get(0), commits: row.get(1), since: row.get(2), holder, system }))
    }

    /// Locks the row for a group of commits, and counts it. No row: see [`Claim::diagnose`].
    pub fn fence(&self) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET commits = commits + 1 WHERE id = 1 AND epoch = $1 AND holder = $2 AND lost IS NULL
             RETURNING commits",
            vec![self.epoch.into(), self.holder.as_str().into()],
        )
    }

    /// Another [`LEASE`] from now.
    pub fn renewal(&self) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET expires_at = clock_timestamp() + interval '10 seconds'
             WHERE id = 1 AND epoch = $1 AND holder = $2 AND lost IS NULL RETURNING commits",
            vec![self.epoch.into(), self.holder.as_str().into()],
        )
    }

    /// Whoever comes next need not wait. Nothing can be committed by this claim from then on.
    pub fn release(&self) -> Statement {
        Statement::new(
            "UPDATE miroir.leader SET expires_at = clock_timestamp() - interval '1 second', holder = ''
             WHERE id = 1 AND epoch = $1 AND holder = $2",
            vec![self.epoch.into(), self.holder.as_str().into()],
        )
    }

    /// Notes that the state lacks commits, so that nobody serves by it, whoever starts next.
    pub fn lose(&self, why: &str) -> Statement {
        Statement::new("UPDATE miroir.leader SET lost = coalesce(lost, $1) WHERE id = 1", vec![why.into()])
    }

    /// Why the row is not this claim's any more.
    pub async fn diagnose(&self, client: &Client) -> Result<Loss, tokio_postgres::Error> {
        let rows = Statement::plain("SELECT epoch, holder, lost FROM miroir.leader WHERE id = 1").run(client).await?;
        Ok(self.judge(rows.first().map(|row| (row.get(0), row.get(1), row.get(2)))))
    }

    fn judge(&self, row: Option<(i64, String, Option<String>)>) -> Loss {
        let tail = |why: String| Loss::Tail { why };
        match row {
            None => tail("it has no leader's row".to_owned()),
            Some((_, _, Some(why))) => tail(why),
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
        match (&self.system, system) {
            (Some(mine), Some(other)) if mine != other => {
                Err(Loss::Tail { why: format!("it is of system {other} now, and was of {mine}") })
            }
            _ => Ok(()),
        }
    }
}

// === impl Seen ===

impl Seen {
    /// The row as everybody sees it.
    pub async fn look(client: &Client) -> Result<Option<Self>, tokio_postgres::Error> {
        let look = Statement::plain(
            "SELECT name, expires_at::text, extract(epoch FROM expires_at - clock_timestamp())::float8, lost, schema
             FROM miroir.leader WHERE id = 1",
        );
        let read = |row: &Row| Self {
            name: row.get(0),
            expires_at: row.get(1),
            left: row.get(2),
            lost: row.get(3),
            schema: row.get(4),
        };
        Ok(look.run(client).await?.first().map(read))
    }
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
        // A server that tells its number to nobody is not suspected.
        assert_eq!(claim.is_at(None), Ok(()));
        assert!(matches!(claim.is_at(Some(&"2".to_owned())), Err(Loss::Tail { .. })));
    }
}
