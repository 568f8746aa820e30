//! What becomes of what a rule is about, where the rule cannot do what it should.

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    Refuse,
    /// The rule is passed over.
    Skip,
}
