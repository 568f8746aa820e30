//! What requests about workspaces of chats say.

use serde::Serialize;

use crate::meili::error::{Code, ResponseError};
use crate::meili::query::QueryMap;
use crate::meili::unknown;

const PARAMETERS: [&str; 2] = ["offset", "limit"];

/// A page of workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ChatPage {
    pub offset: u64,
    pub limit: u64,
}

/// The query of `GET /chats`.
pub fn page(query: &str) -> Result<ChatPage, ResponseError> {
    let mut page = ChatPage { offset: 0, limit: 20 };
    for (name, value) in QueryMap::parse(query).iter() {
        let (place, code) = match name {
            "offset" => (&mut page.offset, Code::InvalidIndexOffset),
            "limit" => (&mut page.limit, Code::InvalidIndexLimit),
            _ => return Err(unknown::parameter(name, &PARAMETERS)),
        };
        *place = value.parse().map_err(|_| {
            let reason = format!("could not parse `{value}` as a positive integer");
            ResponseError::new(code, format!("Invalid value in parameter `{name}`: {reason}"))
        })?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_and_refused_as_the_engine_does() {
        assert_eq!(page("").unwrap(), ChatPage { offset: 0, limit: 20 });
        assert_eq!(page("limit=3&offset=1").unwrap(), ChatPage { offset: 1, limit: 3 });
        let refused = |query| page(query).map_err(|error| (error.code, error.message)).unwrap_err();
        assert_eq!(
            refused("limit=x"),
            (
                "invalid_index_limit".to_owned(),
                "Invalid value in parameter `limit`: could not parse `x` as a positive integer".to_owned()
            )
        );
        assert_eq!(refused("nope=1").1, "Unknown parameter `nope`: expected one of `offset`, `limit`");
    }
}
