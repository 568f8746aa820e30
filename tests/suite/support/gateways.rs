//! Several gateways of one cluster, on a PostgreSQL server of the tests' own.

use serde_json::Value;

use super::client::{Client, eventually};
use super::fleet::{Fleet, FleetOptions, MIROIR};
use super::postgres::Postgres;
use super::process::{Process, free_port};

/// What all gateways of a test know.
pub const SECRET: &str = "the-secret-of-this-cluster";

/// A fleet whose first gateway is called `gw-0`, and others before the same nodes.
pub struct Gateways {
    pub fleet: Fleet,
    pub others: Vec<Gateway>,
}

/// One that came later.
pub struct Gateway {
    pub process: Process,
    pub client: Client,
    pub admin: Client,
}

// === impl Gateways ===

impl Gateways {
    /// `count` gateways; the first one leads.
    pub fn start(count: usize, options: FleetOptions) -> Self {
        let database = Postgres::shared().database();
        let more = format!("{}{}cluster_secret: {SECRET}\n", options.more, section(0, free_port()));
        let fleet = Fleet::with(FleetOptions { state: Some(database), more, ..options });
        let mut gateways = Self { fleet, others: Vec::new() };
        for place in 1..count {
            gateways.add(place, SECRET);
        }
        gateways
    }

    /// Starts another one, and waits until it follows.
    pub fn add(&mut self, place: usize, secret: &str) {
        let text = std::fs::read_to_string(&self.fleet.config).expect("the first one's configuration");
        let (port, admin, peers) = (free_port(), free_port(), free_port());
        let mut config = String::new();
        for line in text.lines() {
            let own = match line.split_once(": ") {
                Some(("listen", _)) => format!("listen: 127.0.0.1:{port}"),
                Some(("admin", _)) => format!("admin: 127.0.0.1:{admin}"),
                Some(("metrics", _)) => format!("metrics: 127.0.0.1:{}", free_port()),
                Some(("gateway", _)) => section(place, peers).trim_end().to_owned(),
                Some(("cluster_secret", _)) => format!("cluster_secret: {secret}"),
                _ => line.to_owned(),
            };
            config += &own;
            config.push('\n');
        }
        let id = format!("gw-{place}");
        let path = self.fleet.folder().join(format!("{id}.yaml"));
        std::fs::write(&path, config).expect("a configuration");
        let process = Process::start(&id, self.fleet.folder(), MIROIR, &["serve", "--config", &path.to_string_lossy()]);
        let at = |port: u16| Client::new(&format!("http://127.0.0.1:{port}"));
        let admin = at(admin).seeing_hidden();
        let admin = match &self.fleet.admin.key {
            Some(key) => admin.with_key(key),
            None => admin,
        };
        let gateway = Gateway { process, client: at(port), admin };
        if secret == SECRET {
            eventually("it follows", || follows(&gateway.admin).then_some(()));
        }
        self.others.push(gateway);
    }

    /// Clients of all of them, the first one's first.
    pub fn clients(&self) -> Vec<Client> {
        let others = self.others.iter().map(|gateway| gateway.client.clone());
        std::iter::once(self.fleet.client.clone()).chain(others).collect()
    }

    /// The id of whoever leads, as gateway `place` knows it.
    pub fn leader(&self, place: usize) -> Option<(String, i64)> {
        let admin = match place {
            0 => &self.fleet.admin,
            place => &self.others[place - 1].admin,
        };
        let leader = admin.try_send("GET", "/leader", &[], b"").ok()?.value()["leader"].clone();
        Some((leader["gateway"].as_str()?.to_owned(), leader["epoch"].as_i64()?))
    }
}

/// True once it goes by a view that is good.
fn follows(admin: &Client) -> bool {
    let view: Option<Value> = admin.try_send("GET", "/leader", &[], b"").ok().map(|reply| reply.value());
    view.is_some_and(|view| view["role"] == "follows" && view["view"]["leased"] == true)
}

fn section(place: usize, peers: u16) -> String {
    format!(
        "gateway: {{ id: gw-{place}, peer_listen: \"127.0.0.1:{peers}\", peer_url: \"http://127.0.0.1:{peers}\" }}\n"
    )
}
