//! Several gateways of one cluster, on a PostgreSQL server of the tests' own.

use serde_json::Value;

use super::client::{Client, eventually};
use super::fleet::{Fleet, FleetOptions};
use super::postgres::{Postgres, database_of};
use super::process::{Process, free_port};

/// What all gateways of a test know.
pub const SECRET: &str = "the-secret-of-this-cluster";

/// For nodes without keys.
const UNFENCED: &str = ", unfenced_nodes: allow";

/// A fleet whose first gateway is called `gw-0`, and others before the same nodes.
pub struct Gateways {
    pub fleet: Fleet,
    pub others: Vec<Gateway>,
    database: String,
    unfenced: &'static str,
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
        let unfenced = if options.node_key.is_none() { UNFENCED } else { "" };
        let more = format!("{}{}cluster_secret: {SECRET}\n", options.more, section(0, free_port(), unfenced));
        let fleet = Fleet::with(FleetOptions { state: Some(database.clone()), more, ..options });
        let mut gateways = Self { fleet, others: Vec::new(), database, unfenced };
        for place in 1..count {
            gateways.add(place, SECRET);
        }
        gateways
    }

    /// Starts another one, and waits until it follows.
    pub fn add(&mut self, place: usize, secret: &str) {
        let peers = free_port();
        let own = |key: &str| match key {
            "gateway" => Some(section(place, peers, self.unfenced)),
            "cluster_secret" => Some(format!("cluster_secret: {secret}")),
            _ => None,
        };
        let (process, port, admin) = self.fleet.another_gateway(&format!("gw-{place}"), own);
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
        // Then each of them takes over without more ado.
        let all = self.others.len().to_string();
        eventually("the leader's row names all", || {
            let named = "SELECT cardinality(followers) FROM miroir.leader";
            (Postgres::shared().sql(database_of(&self.database), named) == all).then_some(())
        });
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

fn section(place: usize, peers: u16, more: &str) -> String {
    format!(
        "gateway: {{ id: gw-{place}, peer_listen: \"127.0.0.1:{peers}\", peer_url: \"http://127.0.0.1:{peers}\"{more} }}\n"
    )
}
