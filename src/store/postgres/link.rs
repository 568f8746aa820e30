//! A connection to the server.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::address::{Address, chain};
use super::statement::Statement;

/// All hosts may take so long together.
const CONNECT_LIMIT: Duration = Duration::from_secs(6);

/// A client with the task that drives it, on the runtime of the thread that connected.
pub struct Link {
    pub client: Client,
    /// Which server it is, where that may be known.
    pub system: Option<String>,
    driver: JoinHandle<()>,
}

/// What an error means for who asked.
pub enum Meaning {
    /// The statement is wrong, or what it would do is not allowed: another try brings the same.
    Refused,
    /// The server or the connection is gone: another try may go through.
    Broken,
}

// === impl Link ===

impl Link {
    /// The error is for people.
    pub async fn connect(address: &Address) -> Result<Self, String> {
        let connecting = async {
            let (client, connection) =
                address.config.connect(address.connector.clone()).await.map_err(|error| chain(&error))?;
            let driver = tokio::spawn(async move {
                // Who waits for an answer hears of it.
                let _ = connection.await;
            });
            let system = system(&client).await.inspect_err(|_| driver.abort())?;
            Ok(Self { client, system, driver })
        };
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {CONNECT_LIMIT:?}")),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A database cluster has a number of its own from its making, which its standbys share. Some servers tell it to nobody.
async fn system(client: &Client) -> Result<Option<String>, String> {
    let asked = Statement::plain("SELECT system_identifier::text FROM pg_control_system()");
    match asked.run(client).await {
        Ok(rows) => Ok(rows.first().map(|row| row.get(0))),
        Err(error) => match meaning(&error) {
            Meaning::Refused => Ok(None),
            Meaning::Broken => Err(chain(&error)),
        },
    }
}

/// Closed by what the server says of the whole connection, not of the statement.
pub fn meaning(error: &tokio_postgres::Error) -> Meaning {
    let Some(code) = error.code() else {
        // A value that cannot be sent is not the server's fault, but no statement here has one.
        return Meaning::Broken;
    };
    // Connection, resources, the operator's doing, conflicts between transactions; and a primary that became a standby.
    let of_connection = ["08", "53", "57", "58", "40"].iter().any(|class| code.code().starts_with(class));
    if of_connection || *code == SqlState::READ_ONLY_SQL_TRANSACTION { Meaning::Broken } else { Meaning::Refused }
}
