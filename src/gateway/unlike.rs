//! Filters with `field != value` that all nodes understand alike ([`crate::plan::unlike`]). A request without one costs a look for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem::find;

use super::filters::Filters;
use crate::ledger::Ledger;
use crate::meili::operation::Operation;
use crate::nodes::client::Trace;
use crate::placement::topology::Topology;
use crate::plan::{Request, unlike};

/// Path and query, and the body, where some node would understand a filter of the request otherwise than another.
pub async fn alike(
    ledger: &Ledger,
    topology: &Topology,
    request: &Request<'_>,
    trace: &Trace,
) -> Option<(String, Bytes)> {
    let Operation::Read(read) = request.operation else { return None };
    if !may_compare(request.target, request.body) {
        return None;
    }
    let mut filters = Filters::of(read, request.target, request.body)?;
    let mut named: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for filter in &filters.filters {
        named.entry(&filter.index).or_default().extend(unlike::fields(&filter.filter));
    }
    let mut uneven: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, mut fields) in named {
        fields.sort_unstable();
        fields.dedup();
        if !fields.is_empty() && ledger.registry.exists(index) {
            let knowledge = ledger.knowledge(topology, index, &fields, trace).await;
            uneven.insert(index.to_owned(), knowledge.uneven);
        }
    }
    uneven.retain(|_, fields| !fields.is_empty());
    let mut changes = false;
    for filter in &mut filters.filters {
        let Some(fields) = uneven.get(&filter.index) else { continue };
        let alike = unlike::alike(&filter.filter, fields);
        // What is wrong with a filter is said of what the client wrote.
        if alike != filter.filter && !ledger.is_refused(topology, &filter.index, &filter.filter, trace).await {
            filter.filter = alike;
            changes = true;
        }
    }
    changes.then(|| filters.written(request.target, &Bytes::copy_from_slice(request.body)))
}

/// False for a request in which no filter compares so.
fn may_compare(target: &str, body: &[u8]) -> bool {
    let in_query = || find(target.as_bytes(), b"filter=").is_some() && (target.contains('!') || target.contains("%21"));
    find(body, b"!=").is_some() || in_query()
}
