//! The parts of the table, which can be measured one by one.

/// What is measured in one go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The gateway alone, before nodes of recorded replies.
    Stub,
    /// Rules and programs, before the same nodes.
    Rules,
    /// Large bodies through the gateway alone, before the same nodes.
    Upload,
    /// Several gateways before the same nodes.
    Gateways,
    /// Searches of one kind.
    Kinds,
    /// Random searches of all kinds.
    Random,
    /// The cache, with and without writes.
    Cache,
    /// Every node holds everything.
    Replicas,
    /// A large upload.
    Load,
    /// Many small writes.
    Writes,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Rounds with stub nodes, and searches of each.
    pub stub: (usize, usize),
    /// Bytes of the longest upload to stub nodes, and of the others.
    pub upload: (u64, u64),
    /// Rounds with real nodes, and searches of each.
    pub real: (usize, usize),
    /// Rounds in which many clients search, and seconds of each side's turn.
    pub crowd: (usize, u64),
    /// Rounds of uploads and of small writes.
    pub writes: usize,
    /// Small writes of a round.
    pub small: usize,
    pub is_short: bool,
}

// === impl Part ===

impl Part {
    pub const ALL: [Self; 10] = [
        Self::Stub,
        Self::Rules,
        Self::Upload,
        Self::Gateways,
        Self::Kinds,
        Self::Random,
        Self::Cache,
        Self::Replicas,
        Self::Load,
        Self::Writes,
    ];

    /// As `MIROIR_SPEED_ONLY` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::Rules => "rules",
            Self::Upload => "upload",
            Self::Gateways => "gateways",
            Self::Kinds => "kinds",
            Self::Random => "random",
            Self::Cache => "cache",
            Self::Replicas => "replicas",
            Self::Load => "load",
            Self::Writes => "writes",
        }
    }

    /// True for a part that needs no real nodes.
    pub const fn has_stubs(self) -> bool {
        matches!(self, Self::Stub | Self::Rules | Self::Upload | Self::Gateways)
    }

    /// Those that `MIROIR_SPEED_ONLY` names, or all.
    pub fn chosen() -> Vec<Self> {
        let Ok(names) = std::env::var("MIROIR_SPEED_ONLY") else { return Self::ALL.to_vec() };
        let of_name = |name: &str| {
            let known = Self::ALL.into_iter().find(|part| part.name() == name.trim());
            known.unwrap_or_else(|| panic!("MIROIR_SPEED_ONLY: {name:?} is none of {}", Self::names()))
        };
        let named: Vec<Self> = names.split(',').map(of_name).collect();
        Self::ALL.into_iter().filter(|part| named.contains(part)).collect()
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

// === impl Effort ===

impl Effort {
    pub const WHOLE: Self = Self {
        stub: (9, 2000),
        upload: (500_000_000, 100_000_000),
        real: (5, 300),
        crowd: (5, 8),
        writes: 3,
        small: 2000,
        is_short: false,
    };
    pub const SHORT: Self = Self {
        stub: (5, 500),
        upload: (100_000_000, 50_000_000),
        real: (3, 60),
        crowd: (3, 2),
        writes: 1,
        small: 500,
        is_short: true,
    };

    /// A quarter of the work where `MIROIR_SPEED_SHORT` is set.
    pub fn chosen() -> Self {
        if std::env::var_os("MIROIR_SPEED_SHORT").is_some() { Self::SHORT } else { Self::WHOLE }
    }
}
