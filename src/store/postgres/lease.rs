//! The lease: renewed on a thread and a connection of its own, so that no long commit delays it. Only the database's clock says
//! who may take it; what this process trusts itself by is a clock that goes on while the machine is suspended.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::address::{Address, chain};
use super::claim::{Claim, LEASE};
use super::link::Link;
use super::statement::Statement;
use crate::store::StoreError;
use crate::store::leadership::{Leadership, Loss, Member, Standing};

const RENEW_EVERY: Duration = Duration::from_secs(2);
/// While the server does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// One renewal may take so long, the connection aside.
const RENEW_LIMIT: Duration = Duration::from_secs(4);
/// The end of the lease as its holder sees it comes so much earlier.
const MARGIN: Duration = Duration::from_secs(2);
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// A lease that is held.
pub struct Lease {
    loss: Arc<watch::Sender<Option<Loss>>>,
    shared: Arc<Shared>,
    /// Dropped to end the thread.
    stop: Mutex<Option<Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    claim: Claim,
    name: String,
    members: Mutex<Vec<Member>>,
    /// By [`now`]: until when nobody else can have taken the lease.
    good_until: Mutex<Duration>,
}

/// The thread.
struct Keeper {
    address: Address,
    runtime: Runtime,
    link: Option<Link>,
    shared: Arc<Shared>,
    loss: Arc<watch::Sender<Option<Loss>>>,
    told_alone: bool,
}

/// What came of a try to renew.
enum Renewal {
    Renewed,
    Lost(Loss),
    Away(String),
}

/// Since some moment in the past, by a clock that a suspended machine does not stop and that nobody sets.
fn now() -> Duration {
    // The first number is the time since the machine was started, time asleep with it.
    let uptime = std::fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()));
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_else(elsewhere)
}

/// Where there is no such file, a clock that may stop while the machine sleeps.
fn elsewhere() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

// === impl Lease ===

impl Lease {
    /// Renews `claim`, which was taken not before `taken`, by the clock of [`since_start`].
    pub fn hold(
        address: Address,
        claim: Claim,
        name: &str,
        taken: Duration,
        loss: Arc<watch::Sender<Option<Loss>>>,
    ) -> Result<Arc<Self>, StoreError> {
        let shared = Arc::new(Shared {
            claim,
            name: name.to_owned(),
            members: Mutex::default(),
            good_until: Mutex::new(taken + LEASE.saturating_sub(MARGIN)),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::Thread)?;
        let keeper = Keeper {
            address,
            runtime,
            link: None,
            shared: Arc::clone(&shared),
            loss: Arc::clone(&loss),
            told_alone: false,
        };
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("miroir-lease".to_owned())
            .spawn(move || keeper.keep(&stopped))
            .map_err(StoreError::Thread)?;
        Ok(Arc::new(Self { loss, shared, stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)) }))
    }
}

/// The clock that leases are trusted by.
pub fn since_start() -> Duration {
    now()
}

#[async_trait]
impl Leadership for Lease {
    async fn lost(&self) -> Loss {
        let mut losses = self.loss.subscribe();
        // An error: who could say so is gone, and so is the store.
        let lost = losses.wait_for(Option::is_some).await.map(|loss| loss.clone());
        match lost {
            Ok(Some(loss)) => loss,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn standing(&self) -> Standing {
        Standing::Leads {
            epoch: self.shared.claim.epoch,
            since: self.shared.claim.since.clone(),
            members: self.shared.members.lock().clone(),
            good: now() < *self.shared.good_until.lock(),
        }
    }

    fn release(&self) {
        drop(self.stop.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

// === impl Keeper ===

impl Keeper {
    fn keep(mut self, stopped: &Receiver<()>) {
        let mut wait = Duration::ZERO;
        loop {
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return self.release(),
            }
            let loss = self.loss.borrow().clone();
            if let Some(loss) = loss {
                if !self.note(&loss) {
                    wait = RETRY;
                    continue;
                }
                // Only to be released now, which does nothing.
                let _ = stopped.recv();
                return;
            }
            wait = match self.renew() {
                Renewal::Renewed => RENEW_EVERY,
                Renewal::Lost(loss) => {
                    self.lose(loss);
                    Duration::ZERO
                }
                Renewal::Away(why) => {
                    self.link = None;
                    self.be_away(&why);
                    RETRY
                }
            };
        }
    }

    fn renew(&mut self) -> Renewal {
        let sent = now();
        let claim = &self.shared.claim;
        let name = &self.shared.name;
        let link = &mut self.link;
        let address = &self.address;
        let renewed: Result<Result<Vec<Member>, Loss>, String> = self.runtime.block_on(async {
            let link = match link {
                Some(link) if !link.client.is_closed() => link,
                _ => link.insert(Link::connect(address).await?),
            };
            if let Err(loss) = claim.is_at(link.system.as_ref()) {
                return Ok(Err(loss));
            }
            let asked = async {
                if claim.renewal().run(&link.client).await?.is_empty() {
                    return claim.diagnose(&link.client).await.map(Err);
                }
                for statement in membership(&claim.holder, name) {
                    statement.run(&link.client).await?;
                }
                members(&link.client).await.map(Ok)
            };
            match tokio::time::timeout(RENEW_LIMIT, asked).await {
                Ok(renewed) => renewed.map_err(|error| chain(&error)),
                Err(_) => Err(format!("no answer within {RENEW_LIMIT:?}")),
            }
        });
        match renewed {
            Ok(Ok(members)) => {
                *self.shared.members.lock() = members;
                *self.shared.good_until.lock() = sent + LEASE.saturating_sub(MARGIN);
                if std::mem::take(&mut self.told_alone) {
                    tracing::info!("the lease is renewed again");
                }
                Renewal::Renewed
            }
            Ok(Err(loss)) => Renewal::Lost(loss),
            Err(why) => Renewal::Away(why),
        }
    }

    /// The lease has an end also where the server cannot be asked. Who is alone goes on with what needs no commit: nobody has been
    /// seen who could take over, and no write is acknowledged meanwhile.
    fn be_away(&mut self, why: &str) {
        if now() < *self.shared.good_until.lock() {
            return;
        }
        let alone = self.shared.members.lock().len() <= 1;
        if !alone {
            self.lose(Loss::Expired);
        } else if !std::mem::replace(&mut self.told_alone, true) {
            tracing::error!(%why, "the lease cannot be renewed; searches go on, as no other gateway has been seen");
        }
    }

    fn lose(&self, loss: Loss) {
        self.loss.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(loss);
            first
        });
    }

    /// True when nothing is to be noted any more. Only a lost tail is: what is older than it was must not be served by, whoever
    /// starts next.
    fn note(&mut self, loss: &Loss) -> bool {
        let Loss::Tail { why } = loss else { return true };
        let (link, address, claim) = (&mut self.link, &self.address, &self.shared.claim);
        let noted: Result<(), String> = self.runtime.block_on(async {
            let link = match link {
                Some(link) if !link.client.is_closed() => link,
                _ => link.insert(Link::connect(address).await?),
            };
            let note = claim.lose(why);
            match tokio::time::timeout(RENEW_LIMIT, note.run(&link.client)).await {
                Ok(noted) => noted.map(drop).map_err(|error| chain(&error)),
                Err(_) => Err(format!("no answer within {RENEW_LIMIT:?}")),
            }
        });
        if let Err(error) = &noted {
            tracing::error!(%error, "that the state lost its last commits cannot be noted in it");
            self.link = None;
        }
        noted.is_ok()
    }

    /// For who comes next. A failure costs them the rest of the lease.
    fn release(mut self) {
        let (claim, address, kept) = (&self.shared.claim, &self.address, self.link.take());
        let statements = [claim.release(), leave(&claim.holder)];
        self.runtime.block_on(async {
            let link = match kept {
                Some(link) if !link.client.is_closed() => link,
                _ => match Link::connect(address).await {
                    Ok(link) => link,
                    Err(_) => return,
                },
            };
            for statement in &statements {
                let _ = tokio::time::timeout(RELEASE_LIMIT, statement.run(&link.client)).await;
            }
        });
    }
}

/// Notes that this process is there, and forgets who has not been for long.
pub fn membership(gateway: &str, name: &str) -> [Statement; 2] {
    [
        Statement::new(
            "INSERT INTO miroir.members (gateway, name, version, seen_at) VALUES ($1, $2, $3, clock_timestamp())
             ON CONFLICT (gateway) DO UPDATE SET seen_at = excluded.seen_at",
            vec![gateway.into(), name.into(), env!("CARGO_PKG_VERSION").into()],
        ),
        Statement::plain("DELETE FROM miroir.members WHERE seen_at < clock_timestamp() - interval '30 seconds'"),
    ]
}

/// This process ends.
pub fn leave(gateway: &str) -> Statement {
    Statement::new("DELETE FROM miroir.members WHERE gateway = $1", vec![gateway.into()])
}

async fn members(client: &tokio_postgres::Client) -> Result<Vec<Member>, tokio_postgres::Error> {
    let seen = Statement::plain(
        "SELECT name, version FROM miroir.members
         WHERE seen_at > clock_timestamp() - interval '10 seconds' ORDER BY name, gateway",
    );
    let rows = seen.run(client).await?;
    Ok(rows.iter().map(|row| Member { name: row.get(0), version: row.get(1) }).collect())
}
