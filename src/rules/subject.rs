//! Who asks for what, as conditions and templates see it.

use core::net::IpAddr;

use http::HeaderMap;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Who asks.
#[derive(Debug)]
pub struct Caller<'a> {
    /// Of the API key, also of the one that a tenant token was signed with; none with the master key.
    pub key: Option<Uuid>,
    /// What the tenant token says, all of it; none without a token.
    pub claims: Option<Map<String, Value>>,
    /// Where the request comes from.
    pub address: Option<IpAddr>,
    pub headers: &'a HeaderMap,
}

/// One thing that is asked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub caller: &'a Caller<'a>,
    pub deed: &'a str,
    /// The index that is asked, or the first of several.
    pub index: Option<&'a str>,
    /// All indexes that a request names, where it is not about one.
    pub others: &'a [String],
    /// How many searches a request has.
    pub queries: usize,
    /// Of a search, or what is like one.
    pub parameters: Option<&'a Map<String, Value>>,
}

// === impl Subject ===

impl<'a> Subject<'a> {
    /// About one index, or none.
    pub fn of(caller: &'a Caller<'a>, deed: &'a str, index: Option<&'a str>) -> Self {
        Self { caller, deed, index, others: &[], queries: 0, parameters: None }
    }

    /// All that are named.
    pub fn indexes(&self) -> impl Iterator<Item = &'a str> {
        self.index.into_iter().chain(self.others.iter().map(String::as_str))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A caller with a tenant token; its headers live as long as the test.
    pub fn caller(claims: Value, address: &str, headers: &[(&str, &str)]) -> Caller<'static> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Caller {
            key: None,
            claims: claims.as_object().cloned(),
            address: address.parse().ok(),
            headers: Box::leak(Box::new(map)),
        }
    }
}
