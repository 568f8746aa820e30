//! Bodies and query strings into types, with the engine's error texts.
//!
//! Derive `Deserr` with `error = JsonFailure<InvalidSearchQ>` on a field to give its code; `body` and `query` do the rest.
