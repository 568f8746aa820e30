//! SEAM: stand-in until helper C's file is merged; take C's file.

/// What plans need to know of an index.
#[derive(Debug, Clone)]
pub struct IndexInfo {}
