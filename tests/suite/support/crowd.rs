//! Several gateways before the nodes, over a database of their own, and a fault proxy between each two that talk.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::client::{Client, pause};
use super::fault_proxy::{FaultProxy, Mode};
use super::fleet::{Fleet, FleetOptions, MIROIR};
use super::gateways::{SECRET, fencing, section_at};
use super::postgres::Postgres;
use super::process::{Process, free_port};

/// How long they may take until all of them serve. Generous, because machines are busy.
const READY: Duration = Duration::from_secs(120);

/// How long a gateway that was told to end may take to do so.
const ENDS: Duration = Duration::from_secs(30);
/// How long an operator waits for an answer: longer than a gateway waits for a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// The gateways, and the database that they share.
pub struct Crowd {
    pub server: Postgres,
    pub gateways: Vec<Gateway>,
    /// How many ended by themselves, and were started again as a supervisor does.
    pub ended: usize,
}

/// One of the gateways, with what lies between it and others.
pub struct Gateway {
    name: String,
    folder: PathBuf,
    config: PathBuf,
    process: Process,
    pub client: Client,
    pub admin: Client,
    /// Between it and the database.
    store: FaultProxy,
    /// Between others and it.
    door: FaultProxy,
}

/// What is before a gateway, and its own lines of a configuration.
struct Place {
    store: FaultProxy,
    door: FaultProxy,
    gateway: String,
    state: String,
}

// === impl Place ===

impl Place {
    /// `own`: more keys of its section.
    fn new(number: usize, server: &Postgres, database: &str, own: &str) -> Self {
        let peers = free_port();
        let (store, door) = (FaultProxy::start(server.port), FaultProxy::start(peers));
        let gateway = section_at(number, peers, door.port, own);
        let state = database.replace(&format!(":{}/", server.port), &format!(":{}/", store.port));
        Self { store, door, gateway, state }
    }
}

// === impl Crowd ===

impl Crowd {
    /// A fleet whose clients go to any of `count` gateways.
    pub fn start(count: usize, options: FleetOptions) -> (Fleet, Self) {
        let server = Postgres::start();
        let database = server.database();
        let (own, master) = (fencing(options.node_key), options.master_key);
        let first = Place::new(0, &server, &database, own);
        let more = format!("{}{}cluster_secret: {SECRET}\n", options.more, first.gateway);
        let mut fleet = Fleet::with(FleetOptions { state: Some(first.state.clone()), more, ..options });
        let process = fleet.gateway.take().expect("the first gateway");
        let config = fleet.config.clone();
        let at = |url: &str| {
            let client = Client::with_limit(url, PATIENCE);
            master.map_or_else(|| client.clone(), |key| client.with_key(key))
        };
        let (client, admin) = (at(&fleet.client.url), at(&fleet.admin.url).seeing_hidden());
        let folder = fleet.folder().to_owned();
        let name = "gateway".to_owned();
        let Place { store, door, .. } = first;
        let mut gateways = vec![Gateway { name, folder: folder.clone(), config, process, client, admin, store, door }];
        for number in 1..count {
            let place = Place::new(number, &server, &database, own);
            let lines = |key: &str| match key {
                "gateway" => Some(place.gateway.clone()),
                "state" => Some(format!("state: {}", place.state)),
                _ => None,
            };
            let name = format!("gw-{number}");
            let (process, port, operators) = fleet.another_gateway(&name, lines);
            let at = |port: u16| at(&format!("http://127.0.0.1:{port}"));
            let (client, admin) = (at(port), at(operators).seeing_hidden());
            let config = folder.join(format!("{name}.yaml"));
            let Place { store, door, .. } = place;
            gateways.push(Gateway { name, folder: folder.clone(), config, process, client, admin, store, door });
        }
        let mut crowd = Self { server, gateways, ended: 0 };
        if let Err(reason) = crowd.await_ready() {
            panic!("{reason}");
        }
        crowd.tell_apart(&fleet);
        fleet.client = at(&fleet.client.url).of_any(crowd.urls(|gateway| &gateway.client));
        fleet.admin = at(&fleet.admin.url).seeing_hidden().of_any(crowd.urls(|gateway| &gateway.admin));
        (fleet, crowd)
    }

    fn urls(&self, of: fn(&Gateway) -> &Client) -> Vec<String> {
        self.gateways.iter().map(|gateway| of(gateway).url.clone()).collect()
    }

    /// So that nodes' and gateways' proxies know who of them connects.
    fn tell_apart(&self, fleet: &Fleet) {
        let proxies = fleet.nodes.iter().filter_map(|node| node.proxy.as_ref());
        for proxy in proxies.chain(self.gateways.iter().map(|gateway| &gateway.door)) {
            for gateway in &self.gateways {
                proxy.tell_apart(gateway.process.pid());
            }
        }
    }

    /// A client of each.
    pub fn clients(&self) -> impl Iterator<Item = Client> {
        self.gateways.iter().map(|gateway| gateway.client.clone())
    }

    /// The place of the gateway that leads, if one says so: of the newest epoch, because one that was cut off does not know better.
    pub fn leader(&self) -> Option<usize> {
        let epoch = |gateway: &Gateway| {
            let reply = gateway.admin.try_send("GET", "/leader", &[], b"").ok().filter(|reply| reply.status == 200)?;
            let leads = reply.value();
            (leads["role"] == "leads").then(|| leads["leader"]["epoch"].as_i64())?
        };
        let leading = self.gateways.iter().enumerate().filter_map(|(place, gateway)| Some((epoch(gateway)?, place)));
        leading.max().map(|(_, place)| place)
    }

    /// Starts again what has ended by itself, and waits until each gateway serves. The error says which does not.
    pub fn await_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY;
        loop {
            let mut lacking = Vec::new();
            for gateway in &mut self.gateways {
                if gateway.process.exited().is_some() {
                    gateway.restart();
                    self.ended += 1;
                }
                match gateway.admin.try_send("GET", "/ready", &[], b"") {
                    Ok(reply) if reply.status == 200 => {}
                    Ok(reply) => lacking.push(format!("{}: {}", gateway.name, reply.text)),
                    Err(error) => lacking.push(format!("{}: {error}", gateway.name)),
                }
            }
            if lacking.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("gateways are not ready: {}", lacking.join("; ")));
            }
            pause(Duration::from_millis(25));
        }
    }

    /// Waits after faults until each gateway serves; proxies then know who is new.
    pub fn mend(&mut self, fleet: &Fleet) -> Result<(), String> {
        self.await_ready()?;
        self.tell_apart(fleet);
        Ok(())
    }

    /// What the gateway that leads hears as an operator's word. True when it steps down.
    pub fn step_down(&self, leader: usize) -> bool {
        // At any of them: one that follows passes it on.
        let at = &self.gateways[(leader + 1) % self.gateways.len()].admin;
        at.try_send("POST", "/leader/step-down", &[("Content-Type", "application/json")], b"{}")
            .is_ok_and(|reply| reply.status == 202)
    }

    /// Between a gateway and a node, one way.
    pub fn node_pair(&self, gateway: usize, node: &FaultProxy, mode: Mode) {
        node.set_for(self.gateways[gateway].process.pid(), mode);
    }

    /// Between a gateway and all the others that ask it.
    pub fn door(&self, gateway: usize, mode: Mode) {
        self.gateways[gateway].door.set(mode);
    }

    /// Between one that asks and one that is asked.
    pub fn pair(&self, asks: usize, asked: usize, mode: Mode) {
        self.gateways[asked].door.set_for(self.gateways[asks].process.pid(), mode);
    }

    /// Between a gateway and the database.
    pub fn store(&self, gateway: usize, mode: Mode) {
        self.gateways[gateway].store.set(mode);
    }

    pub fn kill(&mut self, gateway: usize) {
        self.gateways[gateway].process.kill();
    }

    pub fn signal(&self, gateway: usize, signal: &str) {
        self.gateways[gateway].process.signal(signal);
    }

    /// Starts a gateway that was killed, or told to end once it has.
    pub fn restart(&mut self, gateway: usize) -> Result<(), String> {
        let gateway = &mut self.gateways[gateway];
        let until = Instant::now() + ENDS;
        while gateway.process.exited().is_none() {
            if Instant::now() > until {
                return Err(format!("{} does not end", gateway.name));
            }
            pause(Duration::from_millis(20));
        }
        gateway.restart();
        Ok(())
    }

    /// True once a gateway has ended by itself; its exit code.
    pub fn exited(&mut self, gateway: usize) -> Option<Option<i32>> {
        self.gateways[gateway].process.exited().map(|status| status.code())
    }

    /// What each of them has printed, by its name.
    pub fn logs(&self) -> impl Iterator<Item = (&str, String)> {
        self.gateways.iter().map(|gateway| (gateway.name.as_str(), gateway.process.log()))
    }
}

// === impl Gateway ===

impl Gateway {
    fn restart(&mut self) {
        let arguments = ["serve", "--config", &self.config.to_string_lossy()];
        self.process = Process::start(&self.name, &self.folder, MIROIR, &arguments);
    }
}
