//! Several gateways of one cluster, on a PostgreSQL server of the tests' own.

use serde_json::Value;

use super::client::{Client, eventually};
use super::fleet::{Fleet, FleetOptions, MIROIR};
use super::postgres::{Postgres, database_of};
use super::process::{Process, free_port};

/// What all gateways of a test know.
pub const SECRET: &str = "the-secret-of-this-cluster";

/// A gateway's own key for nodes that take no keys.
pub const UNFENCED: &str = ", unfenced_nodes: allow";

/// A fleet whose first gateway is called `gw-0`, and others before the same nodes.
pub struct Gateways {
    pub fleet: Fleet,
    pub others: Vec<Gateway>,
    database: String,
    /// More of each one's section `gateway`.
    own: String,
    server: Server,
}

/// Where their state is.
enum Server {
    Shared,
    Own(Postgres),
}

/// One that came later.
pub struct Gateway {
    pub process: Process,
    pub client: Client,
    pub admin: Client,
    name: String,
}

// === impl Gateways ===

impl Gateways {
    /// `count` gateways; the first one leads.
    pub fn start(count: usize, options: FleetOptions) -> Self {
        Self::start_with(count, options, "")
    }

    /// As [`Gateways::start`]; `own` are more keys of each one's section, as `, drain: 1s`.
    pub fn start_with(count: usize, options: FleetOptions, own: &'static str) -> Self {
        Self::on(Server::Shared, count, options, own)
    }

    /// The same on a server that can be stopped.
    pub fn on_their_own_server(count: usize, options: FleetOptions) -> Self {
        Self::on(Server::Own(Postgres::start()), count, options, "")
    }

    fn on(server: Server, count: usize, options: FleetOptions, own: &'static str) -> Self {
        let database = server.get().database();
        let own = format!("{own}{}", fencing(options.node_key));
        let more = format!("{}{}cluster_secret: {SECRET}\n", options.more, section(0, free_port(), &own));
        let fleet = Fleet::with(FleetOptions { state: Some(database.clone()), more, ..options });
        let mut gateways = Self { fleet, others: Vec::new(), database, own, server };
        for place in 1..count {
            gateways.add(place, SECRET);
        }
        gateways
    }

    /// Starts another one, and waits until it follows.
    pub fn add(&mut self, place: usize, secret: &str) {
        let peers = free_port();
        let more = self.own.clone();
        let own = |key: &str| match key {
            "gateway" => Some(section(place, peers, &more)),
            "cluster_secret" => Some(format!("cluster_secret: {secret}")),
            _ => None,
        };
        let name = format!("gw-{place}");
        let (process, port, admin) = self.fleet.another_gateway(&name, own);
        let at = |port: u16| Client::new(&format!("http://127.0.0.1:{port}"));
        let admin = at(admin).seeing_hidden();
        let admin = match &self.fleet.admin.key {
            Some(key) => admin.with_key(key),
            None => admin,
        };
        let gateway = Gateway { process, client: at(port), admin, name };
        if secret == SECRET {
            eventually("it follows", || follows(&gateway.admin).then_some(()));
        }
        self.others.push(gateway);
        // Then each of them takes over without more ado.
        let all = self.others.len().to_string();
        eventually("the leader's row names all", || {
            let named = "SELECT cardinality(followers) FROM miroir.leader";
            (self.server.get().sql(database_of(&self.database), named) == all).then_some(())
        });
    }

    /// The process of gateway `place`.
    pub fn process(&mut self, place: usize) -> &mut Process {
        match place {
            0 => self.fleet.gateway.as_mut().expect("the first gateway"),
            place => &mut self.others[place - 1].process,
        }
    }

    /// The operators' side of gateway `place`.
    pub fn admin(&self, place: usize) -> &Client {
        match place {
            0 => &self.fleet.admin,
            place => &self.others[place - 1].admin,
        }
    }

    /// Starts one that has ended again, and waits until it follows.
    pub fn restart(&mut self, place: usize) {
        match place {
            0 => self.fleet.spawn_gateway(),
            place => {
                let gateway = &mut self.others[place - 1];
                let config = self.fleet.folder().join(format!("{}.yaml", gateway.name));
                let arguments = ["serve", "--config", &config.to_string_lossy()];
                gateway.process = Process::start(&gateway.name, self.fleet.folder(), MIROIR, &arguments);
            }
        }
        let admin = self.admin(place);
        eventually("it follows", || follows(admin).then_some(()));
    }

    /// The server of their own.
    pub fn server(&mut self) -> &mut Postgres {
        match &mut self.server {
            Server::Own(server) => server,
            Server::Shared => panic!("other tests use it as well"),
        }
    }

    /// Clients of all of them, the first one's first.
    pub fn clients(&self) -> Vec<Client> {
        let others = self.others.iter().map(|gateway| gateway.client.clone());
        std::iter::once(self.fleet.client.clone()).chain(others).collect()
    }

    /// The id of whoever leads, as gateway `place` knows it.
    pub fn leader(&self, place: usize) -> Option<(String, i64)> {
        let leader = self.admin(place).try_send("GET", "/leader", &[], b"").ok()?.value()["leader"].clone();
        Some((leader["gateway"].as_str()?.to_owned(), leader["epoch"].as_i64()?))
    }
}

// === impl Server ===

impl Server {
    fn get(&self) -> &Postgres {
        match self {
            Self::Shared => Postgres::shared(),
            Self::Own(server) => server,
        }
    }
}

/// What a gateway's section says of nodes that have `key`, or none.
pub fn fencing(key: Option<&str>) -> &'static str {
    if key.is_none() { UNFENCED } else { "" }
}

/// True once it goes by a view that is good.
fn follows(admin: &Client) -> bool {
    let view: Option<Value> = admin.try_send("GET", "/leader", &[], b"").ok().map(|reply| reply.value());
    view.is_some_and(|view| view["role"] == "follows" && view["view"]["leased"] == true)
}

fn section(place: usize, peers: u16, own: &str) -> String {
    section_at(place, peers, peers, own)
}

/// A gateway's own lines: others reach what it listens on at another port. `own`: more keys.
pub fn section_at(place: usize, listens: u16, reached: u16, own: &str) -> String {
    format!(
        "gateway: {{ id: gw-{place}, peer_listen: \"127.0.0.1:{listens}\", peer_url: \"http://127.0.0.1:{reached}\"{own} }}\n"
    )
}
