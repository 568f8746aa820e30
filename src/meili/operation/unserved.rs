//! Why a part of the API is not served.

/// By the first word of a path. One that is not named here has no reason but that nobody has made it yet.
pub fn reason(path: &str) -> Option<&'static str> {
    match path.split('/').find(|word| !word.is_empty())? {
        "chats" => Some("a chat searches the node that it runs on, which has only some of the documents"),
        "network" => Some("Miroir connects the nodes, and they must not search each other"),
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
        assert!(reason("/network/control").unwrap().contains("each other"));
        assert_eq!(reason("/dumps"), None);
        assert_eq!(reason("/indexes/{index_uid}/settings/embedders"), None);
    }
}
