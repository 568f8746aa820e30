//! Changes, reads and faults at random. Whatever happens: nobody who was waited for reads by what was before, and nobody is waited for longer
//! than he was lent a view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Gateway, Leading, Line, set_state};
use crate::nodes::elsewhere::Elsewhere as _;
use crate::peers::publisher::Publisher;
use crate::peers::view::ViewNumber;
use crate::peers::{LEASE, MARGIN};
use crate::placement::topology::{NodeState, Topology};

const SEEDS: u64 = 60;
const STEPS: usize = 120;

/// A read under way at a gateway.
struct Read {
    gateway: usize,
    topology: Arc<Topology>,
    view: ViewNumber,
    /// What all gateways had heard of when it began.
    heard: Option<ViewNumber>,
}

/// What was relied on, as far as the leaders waited for it.
#[derive(Default)]
struct Relied {
    /// No request begins by an older view.
    heard: Option<ViewNumber>,
    /// None goes on by one.
    quiet: Option<ViewNumber>,
    /// How many times leaders waited, and reads counted or not.
    counts: BTreeMap<&'static str, usize>,
}

struct History {
    random: u64,
    leading: Leading,
    epoch: i64,
    leader: watch::Sender<Option<Arc<Publisher>>>,
    gateways: Arc<Vec<Gateway>>,
    reads: Arc<Mutex<Vec<Read>>>,
    relied: Arc<Mutex<Relied>>,
    waits: Vec<tokio::task::JoinHandle<()>>,
}

// === impl Relied ===

impl Relied {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

// === impl History ===

impl History {
    async fn start(seed: u64) -> Self {
        let leading = Leading::start(1).await;
        let leader = watch::Sender::new(Some(Arc::clone(&leading.publisher)));
        let gateways = vec![Gateway::start("b", None, &leader).await, Gateway::start("c", None, &leader).await];
        leading.publisher.former_views_are_over().await;
        Self {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            leading,
            epoch: 1,
            leader,
            gateways: Arc::new(gateways),
            reads: Arc::default(),
            relied: Arc::default(),
            waits: Vec::new(),
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % sides
    }

    async fn step(&mut self) {
        let pause = [0, 0, 1, 5, 30, 200, 700][self.roll(7)];
        tokio::time::sleep(Duration::from_millis(pause)).await;
        match self.roll(100) {
            0..20 => self.change(),
            20..34 => self.hear(),
            34..44 => self.quiet(),
            44..68 => self.begin_read(),
            68..84 => self.end_read(),
            84..91 => self.cut(),
            91..97 => self.freeze(),
            97..99 => self.mend(),
            _ => self.next_leader().await,
        }
    }

    fn change(&mut self) {
        let node = ["n0", "n1", "n2"][self.roll(3)];
        let state = [NodeState::Up, NodeState::Repairing, NodeState::Down][self.roll(3)];
        set_state(&self.leading.cluster, node, state);
    }

    /// A leader waits until all have heard, and from then on relies on it.
    fn hear(&mut self) {
        let (publisher, trusted) = (Arc::clone(&self.leading.publisher), Arc::clone(&self.leading.trusted));
        let (gateways, relied) = (Arc::clone(&self.gateways), Arc::clone(&self.relied));
        self.waits.push(tokio::spawn(async move {
            let (began, target) = (Instant::now(), publisher.number());
            publisher.heard().await;
            // A leader that is none any more is a process that is no more.
            if !trusted.load(Ordering::SeqCst) {
                return;
            }
            assert!(began.elapsed() <= (LEASE + MARGIN) * 2, "former views, and those of now");
            for gateway in gateways.iter() {
                let (has, leased) = (gateway.follower.has(), gateway.follower.is_leased());
                assert!(!leased || has >= Some(target), "{has:?} is called good, and {target} was waited for");
            }
            let mut relied = relied.lock();
            relied.heard = relied.heard.max(Some(target));
            relied.count(if began.elapsed() < Duration::from_millis(100) { "heard at once" } else { "heard late" });
        }));
    }

    /// A leader waits until no request is older, and from then on copies over what they might have read.
    fn quiet(&mut self) {
        let (publisher, trusted) = (Arc::clone(&self.leading.publisher), Arc::clone(&self.leading.trusted));
        let relied = Arc::clone(&self.relied);
        self.waits.push(tokio::spawn(async move {
            let target = publisher.number();
            publisher.quiet().await;
            if trusted.load(Ordering::SeqCst) {
                let mut relied = relied.lock();
                relied.quiet = relied.quiet.max(Some(target));
                relied.count("quiet");
            }
        }));
    }

    fn awake(&mut self) -> Option<usize> {
        let gateway = self.roll(self.gateways.len());
        (!*self.gateways[gateway].frozen.borrow()).then_some(gateway)
    }

    fn begin_read(&mut self) {
        let Some(gateway) = self.awake() else { return };
        let own = &self.gateways[gateway];
        let Some(view) = own.follower.has().filter(|_| own.follower.is_leased()) else { return };
        let (topology, heard) = (own.cluster.nodes.topology(), self.relied.lock().heard);
        assert!(Some(view) >= heard, "a read begins by {view}, and {heard:?} was waited for");
        self.reads.lock().push(Read { gateway, topology, view, heard });
    }

    fn end_read(&mut self) {
        let Some(gateway) = self.awake() else { return };
        let mut reads = self.reads.lock();
        let Some(at) = reads.iter().position(|read| read.gateway == gateway) else { return };
        let read = reads.remove(at);
        let mut relied = self.relied.lock();
        if !self.gateways[gateway].follower.holds(&read.topology) {
            relied.count("planned again");
            return;
        }
        assert!(
            Some(read.view) >= relied.quiet,
            "a read by {} counts, and {:?} was waited for",
            read.view,
            relied.quiet
        );
        assert!(Some(read.view) >= read.heard);
        relied.count("counts");
    }

    fn cut(&mut self) {
        let line = [Line::Dumb, Line::Deaf, Line::Slow(Duration::from_millis(300)), Line::Slow(LEASE)][self.roll(4)];
        let gateway = self.roll(self.gateways.len());
        self.gateways[gateway].line.send_replace(line);
    }

    fn freeze(&mut self) {
        let gateway = self.roll(self.gateways.len());
        self.gateways[gateway].frozen.send_modify(|frozen| *frozen = !*frozen);
    }

    fn mend(&mut self) {
        for gateway in self.gateways.iter() {
            gateway.line.send_replace(Line::Well);
            gateway.frozen.send_replace(false);
        }
    }

    async fn next_leader(&mut self) {
        self.leading.trusted.store(false, Ordering::SeqCst);
        self.epoch += 1;
        self.leading = Leading::start(self.epoch).await;
        self.leader.send_replace(Some(Arc::clone(&self.leading.publisher)));
    }

    async fn end(mut self) -> BTreeMap<&'static str, usize> {
        self.mend();
        self.reads.lock().clear();
        for wait in std::mem::take(&mut self.waits) {
            wait.await.unwrap();
        }
        for gateway in self.gateways.iter() {
            gateway.until(|gateway| gateway.follower.has() == Some(self.leading.publisher.number())).await;
            assert!(gateway.follower.is_leased());
        }
        let relied = self.relied.lock();
        relied.counts.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn no_read_goes_by_a_view_that_is_dead() {
    let seeds = match std::env::var("MIROIR_PEERS_SEED") {
        Ok(seed) => seed.parse().unwrap()..=seed.parse().unwrap(),
        Err(_) => 1..=SEEDS,
    };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in seeds.clone() {
        let mut history = History::start(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        for (what, count) in history.end().await {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
    if seeds.count() > 10 {
        for what in ["heard at once", "heard late", "quiet", "planned again", "counts"] {
            assert!(counts.get(what).is_some_and(|count| *count > 20), "too little happens: {counts:?}");
        }
    }
}
