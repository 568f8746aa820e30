//! SEAM: stand-in until helper B's spool is merged; take B's file.

/// A write's bytes, in memory or in a temporary file.
#[derive(Debug, Clone)]
pub struct Spool {}
