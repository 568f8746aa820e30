//! milli's errors in Meilisearch's words: code and message.
