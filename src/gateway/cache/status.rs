//! How an answer came about, as the header `Cache-Status` says it (RFC 9211).

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// It was there.
    Hit,
    /// Nodes were asked.
    Forwarded { why: Forward, then: Then },
}

/// Why nodes were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// The same was not asked before, or its answer had to go.
    Missing,
    /// The answer is of before a change.
    Stale,
    /// The client wants it so: `Cache-Control`.
    Request,
    /// Answers to this are not kept at the moment, or never.
    Bypass(Bypass),
}

/// Why no answer is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// A change of the index is under way.
    Changing,
    /// The index is excepted by the configuration.
    Excepted,
    /// There is no such index.
    Unknown,
    /// What is asked is too long to be kept.
    Long,
    /// Documents of other indexes are shown, which may change by themselves.
    Joined,
}

/// What became of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Stored,
    /// It was given to this client alone.
    Nothing,
    /// It is the answer to an equal request that was under way.
    Collapsed,
}

// === impl CacheStatus ===

impl CacheStatus {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        use Forward::{Bypass as Passed, Missing, Request, Stale};
        match self {
            Self::Hit => "Miroir; hit",
            Self::Forwarded { why: Missing, then: Then::Stored } => "Miroir; fwd=uri-miss; stored",
            Self::Forwarded { why: Missing, then: Then::Collapsed } => "Miroir; fwd=uri-miss; collapsed",
            Self::Forwarded { why: Missing, then: Then::Nothing } => "Miroir; fwd=uri-miss",
            Self::Forwarded { why: Stale, then: Then::Stored } => "Miroir; fwd=stale; stored",
            Self::Forwarded { why: Stale, then: Then::Collapsed } => "Miroir; fwd=stale; collapsed",
            Self::Forwarded { why: Stale, then: Then::Nothing } => "Miroir; fwd=stale",
            Self::Forwarded { why: Request, then: Then::Stored } => "Miroir; fwd=request; stored",
            Self::Forwarded { why: Request, then: Then::Collapsed | Then::Nothing } => "Miroir; fwd=request",
            Self::Forwarded { why: Passed(Bypass::Changing), .. } => "Miroir; fwd=bypass; detail=changing",
            Self::Forwarded { why: Passed(Bypass::Excepted), .. } => "Miroir; fwd=bypass; detail=excepted",
            Self::Forwarded { why: Passed(Bypass::Unknown), .. } => "Miroir; fwd=bypass; detail=unknown",
            Self::Forwarded { why: Passed(Bypass::Long), .. } => "Miroir; fwd=bypass; detail=long",
            Self::Forwarded { why: Passed(Bypass::Joined), .. } => "Miroir; fwd=bypass; detail=joined",
        }
    }
}

// === impl Bypass ===

impl Bypass {
    /// Every reason: each label starts at zero.
    pub const ALL: &'static [Bypass] = &[Self::Changing, Self::Excepted, Self::Unknown, Self::Long, Self::Joined];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changing => "changing",
            Self::Excepted => "excepted",
            Self::Unknown => "unknown",
            Self::Long => "long",
            Self::Joined => "joined",
        }
    }
}
