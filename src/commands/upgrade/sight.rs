//! The cluster as the admin API shows it, and what follows from that.

use serde_json::Value;

use super::error::UpgradeError;
use crate::commands::client::{AdminArgs, ClientError, cell};
use crate::commands::node;

/// A node as it was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub id: String,
    pub url: String,
    state: String,
    /// As it says it.
    pub version: Option<String>,
    /// Why it says none.
    pub unreachable: Option<String>,
}

/// What is to be done with a node.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// It was replaced already, and only has to come back.
    Return,
    Replace,
}

// === impl Seen ===

impl Seen {
    /// Of an answer to `GET /nodes/{id}`.
    pub fn of(node: &Value) -> Self {
        let text = |name: &str| node[name].as_str().map(str::to_owned);
        Self {
            id: cell(&node["id"]),
            url: cell(&node["url"]),
            state: cell(&node["state"]),
            version: text("version"),
            unreachable: text("unreachable"),
        }
    }

    /// True in maintenance.
    pub fn is_away(&self) -> bool {
        self.state == "maintenance"
    }

    /// What is to be done so that the node runs `to`; `all`: even if it does.
    pub fn step(&self, to: &str, all: bool) -> Step {
        let runs = self.version.as_deref() == Some(to);
        if runs && self.is_away() {
            Step::Return
        } else if runs && !all {
            Step::Nothing
        } else {
            Step::Replace
        }
    }
}

/// All nodes, each asked now for its version.
pub fn nodes(admin: &AdminArgs) -> Result<Vec<Seen>, ClientError> {
    let topology = admin.get("/topology")?;
    let ids = topology["nodes"].as_array().into_iter().flatten().map(|node| cell(&node["id"]));
    ids.map(|id| Ok(Seen::of(&admin.get(&node::path(&id))?))).collect()
}

/// Refuses what cannot end well before anything is done.
pub fn check(nodes: &[Seen], to: &str) -> Result<(), UpgradeError> {
    let wanted = numbers(to).ok_or_else(|| UpgradeError::NoVersion(to.to_owned()))?;
    for node in nodes {
        match &node.version {
            Some(version) if numbers(version).is_some_and(|runs| runs > wanted) => {
                return Err(UpgradeError::Older { node: node.id.clone(), version: version.clone() });
            }
            Some(_) => {}
            // It is being replaced.
            None if node.is_away() => {}
            None => {
                let reason = node.unreachable.clone().unwrap_or_default();
                return Err(UpgradeError::Unreachable { node: node.id.clone(), reason });
            }
        }
    }
    Ok(())
}

/// Why no node can be spared now; `None` where all are up and in sync, but for those that are `away` as they may be.
pub fn disturbance(admin: &AdminArgs, away: &[&str]) -> Result<Option<String>, ClientError> {
    let (topology, shards) = (admin.get("/topology")?, admin.get("/shards")?);
    Ok(disturbed(&topology, &shards, away))
}

fn disturbed(topology: &Value, shards: &Value, away: &[&str]) -> Option<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for node in list(&topology["nodes"]) {
        let id = cell(&node["id"]);
        if away.contains(&id.as_str()) {
            continue;
        }
        if node["state"] != "up" {
            let why = node["refused"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            return Some(format!("{id} is {}{why}", cell(&node["state"])));
        }
        if let Some(repair) = list(&node["repairs"]).first() {
            return Some(format!("index {} is repaired on {id}", cell(&repair["index"])));
        }
    }
    let is_stale =
        |shard: &Value| list(&shard["stale"]).iter().any(|missed| !away.contains(&cell(&missed["node"]).as_str()));
    let stale = list(&shards["shards"]).iter().filter(|shard| is_stale(shard)).count();
    (stale > 0).then(|| format!("{stale} shards have a replica that is not in sync"))
}

/// True for what may be otherwise soon: a gateway that does not answer, or is too busy to.
pub fn passes(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { status, .. } => *status >= 500 || *status == 429,
        ClientError::File { .. } | ClientError::NotJson { .. } => false,
    }
}

/// Example: 1, 50 and 2 of `1.50.2-rc.1`; `None` for what is no version.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let plain = version.split(['-', '+']).next()?;
    let parts: Vec<u32> = plain.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(state: &str, version: Option<&str>) -> Seen {
        let why = version.is_none().then_some("refused");
        Seen::of(&json!({"id": "a", "url": "u", "state": state, "version": version, "unreachable": why}))
    }

    #[test]
    fn a_walk_that_was_stopped_goes_on_where_it_was() {
        let step = |state, version, all| seen(state, version).step("1.50.0", all);
        assert_eq!(step("up", Some("1.49.0"), false), Step::Replace);
        assert_eq!(step("maintenance", Some("1.49.0"), false), Step::Replace, "stopped before it was replaced");
        assert_eq!(step("maintenance", None, false), Step::Replace, "or while it was");
        assert_eq!(step("maintenance", Some("1.50.0"), false), Step::Return, "or after");
        assert_eq!(step("up", Some("1.50.0"), false), Step::Nothing);
        assert_eq!(step("up", Some("1.50.0"), true), Step::Replace);
        assert_eq!(step("maintenance", Some("1.50.0"), true), Step::Return);
    }

    #[test]
    fn what_cannot_end_well_is_not_begun() {
        let said = |nodes: &[Seen], to: &str| check(nodes, to).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said(&[seen("up", Some("1.49.3")), seen("maintenance", None)], "1.50.0"), "");
        assert!(said(&[], "latest").contains("`latest` is no version"));
        assert!(said(&[seen("up", Some("1.50.1"))], "1.50.0").contains("a runs 1.50.1"));
        assert!(said(&[seen("up", Some("1.9.9"))], "1.10.0").is_empty());
        assert!(said(&[seen("down", None)], "1.50.0").contains("a does not answer (refused)"));
        assert_eq!(numbers("1.51.0-rc.2"), Some([1, 51, 0]));
        assert_eq!((numbers("1.50"), numbers("1.50.x")), (None, None));
    }

    #[test]
    fn a_node_is_spared_only_where_all_is_well() {
        let whole = json!({"shards": [{"stale": []}]});
        let of = |node: Value| json!({"nodes": [{"id": "a", "state": "up", "repairs": []}, node]});
        let well = of(json!({"id": "b", "state": "up", "repairs": []}));
        assert_eq!(disturbed(&well, &whole, &[]), None);
        let stale = json!({"shards": [{"stale": []}, {"stale": [{"node": "b"}]}]});
        assert_eq!(disturbed(&well, &stale, &[]).unwrap(), "1 shards have a replica that is not in sync");
        assert_eq!(disturbed(&well, &stale, &["b"]), None, "its turn to return comes later");
        let away = of(json!({"id": "b", "state": "maintenance", "repairs": []}));
        assert_eq!(disturbed(&away, &whole, &["b"]), None);
        assert_eq!(disturbed(&away, &whole, &[]).unwrap(), "b is maintenance");
        let joining = of(json!({"id": "b", "state": "joining", "refused": "another cluster's"}));
        assert_eq!(disturbed(&joining, &whole, &[]).unwrap(), "b is joining: another cluster's");
        let repairing = of(json!({"id": "b", "state": "up", "repairs": [{"index": "books"}]}));
        assert_eq!(disturbed(&repairing, &whole, &[]).unwrap(), "index books is repaired on b");
    }
}
