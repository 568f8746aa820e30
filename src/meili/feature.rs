//! Experimental features that open routes which the gateway itself answers: whether they are on, the nodes say.

use super::error::{Code, ResponseError};

/// A feature that a route asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    Metrics,
    TaskDocuments,
    TasksStreaming,
    TaskCompaction,
    Logs,
    /// Of each group of routes of chats, which word their refusals differently.
    Chats(Chats),
}

/// What is done with chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chats {
    List,
    Show,
    Delete,
    Settings,
}

/// What a route of the gateway's is where the nodes' engine does not know its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It takes nodes that have it, or has never been without it.
    Refused,
    /// There: it is the gateway's alone, and nobody can have switched it off.
    Served,
}

// === impl Feature ===

impl Feature {
    /// Its name in `GET /experimental-features`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::TaskDocuments => "getTaskDocumentsRoute",
            Self::TasksStreaming => "tasksStreamingRoute",
            Self::TaskCompaction => "taskQueueCompactionRoute",
            Self::Logs => "logsRoute",
            Self::Chats(_) => "chatCompletions",
        }
    }

    /// See [`Unknown`].
    pub fn unknown(self) -> Unknown {
        match self {
            Self::Metrics | Self::TaskDocuments | Self::Logs | Self::Chats(_) => Unknown::Refused,
            Self::TasksStreaming | Self::TaskCompaction => Unknown::Served,
        }
    }

    /// What the engine answers while it is off.
    pub fn refusal(self) -> ResponseError {
        let (action, feature, discussion) = match self {
            Self::Metrics => ("Getting metrics", "metrics", "https://github.com/meilisearch/product/discussions/625"),
            Self::TaskDocuments => (
                "Getting the documents of an enqueued task",
                "get task documents route",
                "https://github.com/orgs/meilisearch/discussions/808",
            ),
            Self::TasksStreaming => (
                "Using the `/tasks/stream` and `/batches/stream` routes",
                "tasks streaming route",
                "https://github.com/orgs/meilisearch/discussions/889",
            ),
            Self::TaskCompaction => (
                "Using the /tasks/compact route",
                "task queue compaction route",
                "https://github.com/orgs/meilisearch/discussions/883",
            ),
            Self::Logs => (
                "Modifying logs through the `/logs/*` routes",
                "logs route",
                "https://github.com/orgs/meilisearch/discussions/721",
            ),
            Self::Chats(chats) => {
                (chats.doing(), "chat completions", "https://github.com/orgs/meilisearch/discussions/835")
            }
        };
        let message = format!("{action} requires enabling the `{feature}` experimental feature. See {discussion}");
        ResponseError::new(Code::FeatureNotEnabled, message)
    }
}

// === impl Chats ===

impl Chats {
    fn doing(self) -> &'static str {
        match self {
            Self::List => "listing the chats",
            Self::Show => "displaying a chat",
            Self::Delete => "deleting a chat",
            Self::Settings => "using the /chats/settings route",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_off_is_refused_in_the_engines_words() {
        let error = Feature::Metrics.refusal();
        assert_eq!((error.status, error.code.as_str()), (400, "feature_not_enabled"));
        assert_eq!(
            error.message,
            "Getting metrics requires enabling the `metrics` experimental feature. See \
             https://github.com/meilisearch/product/discussions/625"
        );
    }
}
