//! One case: the same documents, settings and requests for the judge and a fleet.

use serde_json::{Value, json};

use super::case::{Case, Request, Trouble, primer};
use crate::federation;
use crate::support::parity;
use crate::support::{Client, Fleet};

/// Carries the case out; the first difference is an error.
pub fn run(case: &Case, index: &str, single: &Client, fleet: &mut Fleet) -> Result<(), String> {
    let both = [single.clone(), fleet.client.clone()];
    for client in &both {
        client.done(&client.post("/indexes", &json!({"uid": index, "primaryKey": "id"})));
        client.done(&client.json("PATCH", &format!("/indexes/{index}/settings"), &case.settings));
        client.add(index, &Value::from(primer()));
        client.done(&client.delete(&format!("/indexes/{index}/documents")));
    }
    let add = |documents: &[Value]| {
        for client in both.iter().filter(|_| !documents.is_empty()) {
            client.add(index, &Value::from(documents));
        }
    };
    let (early, late) = case.documents.split_at(case.documents.len() / 2);
    add(early);
    let troubled = match case.trouble {
        Trouble::None => {
            add(late);
            None
        }
        Trouble::DeadNode { node } => {
            add(late);
            fleet.nodes[node].kill();
            Some(node)
        }
        Trouble::CopiesInProgress { node } => {
            fleet.nodes[node].kill();
            add(late);
            fleet.nodes[node].restart();
            Some(node)
        }
    };
    let outcome = case.requests.iter().try_for_each(|request| {
        compare(request, index, single, &fleet.client)
            .map_or(Ok(()), |difference| Err(format!("{request:?}\n{difference}")))
    });
    if let Some(node) = troubled {
        if matches!(case.trouble, Trouble::DeadNode { .. }) {
            fleet.nodes[node].restart();
        }
        let name = fleet.nodes[node].name.clone();
        fleet.await_state(&name, "up");
    }
    for client in &both {
        client.done(&client.delete(&format!("/indexes/{index}")));
    }
    outcome
}

fn compare(request: &Request, index: &str, single: &Client, cluster: &Client) -> Option<String> {
    match request {
        Request::Search(body) => parity::difference(single, cluster, index, body),
        Request::Federated(queries, federation) => {
            let mut body = json!({"queries": queries, "federation": federation});
            for query in body["queries"].as_array_mut().into_iter().flatten() {
                query["indexUid"] = index.into();
            }
            if let Some(facets) = federation.get("facetsByIndex") {
                body["federation"]["facetsByIndex"] = json!({ index: facets });
            }
            federation::difference(single, cluster, &body)
        }
        Request::FacetSearch(body) => {
            let path = format!("/indexes/{index}/facet-search");
            let mut inexact = false;
            let mut shown = |client: &Client| {
                let reply = client.post(&path, body);
                inexact |= reply.header("x-miroir-inexact").is_some();
                let mut value = reply.value();
                value["processingTimeMs"] = Value::Null;
                (reply.status, value)
            };
            let (want, got) = (shown(single), shown(cluster));
            (!inexact && want != got).then(|| format!("{want:?} / {got:?}"))
        }
        Request::Fetch(filter) => {
            let shown = |client: &Client| {
                let body = json!({"filter": filter, "limit": 1000});
                let reply = client.post(&format!("/indexes/{index}/documents/fetch"), &body);
                let mut value = reply.value();
                // One node lists documents in the order in which they came.
                if let Some(documents) = value["results"].as_array_mut() {
                    documents.sort_by_key(|document| document["id"].as_u64());
                }
                (reply.status, value)
            };
            let (want, got) = (shown(single), shown(cluster));
            (want != got).then(|| format!("{want:?} / {got:?}"))
        }
        Request::Stats => {
            let shown = |client: &Client| {
                let stats = client.get(&format!("/indexes/{index}/stats")).ok();
                [stats["numberOfDocuments"].clone(), stats["fieldDistribution"].clone()]
            };
            let (want, got) = (shown(single), shown(cluster));
            (want != got).then(|| format!("{want:?} / {got:?}"))
        }
    }
}
