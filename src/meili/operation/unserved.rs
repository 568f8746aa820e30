//! Why a part of the API is not served.

/// By the first word of a path, and by its last where that decides. A path that is not named here has no reason but that nobody
/// has made it yet.
pub fn reason(path: &str) -> Option<&'static str> {
    let mut words = path.split('/').filter(|word| !word.is_empty());
    let (first, last) = (words.next()?, words.next_back());
    match (first, last) {
        ("chats", _) => Some("a chat searches the node that it runs on, which has only some of the documents"),
        ("indexes", Some("foreign-keys")) => Some("each node would join only the documents that it holds itself"),
        ("dynamic-search-rules", _) => Some("each node would pin only the documents that it holds itself"),
        ("network", _) => Some("Miroir connects the nodes, and they must not search each other"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_never_be_one_nodes_has_its_reason() {
        let completions = reason("/chats/{workspace_uid}/chat/completions");
        assert!(completions.unwrap().starts_with("a chat searches"));
        assert!(reason("/indexes/{index_uid}/settings/foreign-keys").unwrap().contains("join"));
        assert!(reason("/network/control").unwrap().contains("each other"));
        assert_eq!(reason("/dumps"), None);
        assert_eq!(reason("/indexes/{index_uid}/settings/embedders"), None);
    }
}
