//! How many hits there are, and which of them a page shows.

use serde::Serialize;

/// The part of the hits that a search asks for, in the words in which it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Paging {
    Offset {
        offset: u64,
        limit: u64,
    },
    /// Pages count from 1; page 0 exists and is empty.
    Page {
        page: u64,
        hits_per_page: u64,
    },
}

/// A page of an index whose settings allow `max_total_hits` hits to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    pub paging: Paging,
    pub max_total_hits: u64,
    /// True if the engine is known to state totals beyond that, too: 1,500 of 1,500 hits with `max_total_hits` 1,000.
    pub states_all_hits: bool,
    /// True if the engine is known to state an offset beyond that as it was asked for: 5,000 where others state 1,000.
    pub states_offset_asked: bool,
}

// === impl Paging ===

impl Paging {
    /// The first `most` hits, in the same words.
    pub fn up_to(self, most: u64) -> Self {
        match self {
            Self::Offset { .. } => Self::Offset { offset: 0, limit: most },
            Self::Page { .. } => Self::Page { page: 1, hits_per_page: most },
        }
    }
}

// === impl Window ===

impl Window {
    /// How many hits lie before the page; the engine caps this too.
    pub fn skip(&self) -> u64 {
        let offset = match self.paging {
            Paging::Offset { offset, .. } => offset,
            Paging::Page { page, hits_per_page } => page.saturating_sub(1).saturating_mul(hits_per_page),
        };
        offset.min(self.max_total_hits)
    }

    /// The offset as the answer states it.
    pub fn stated_offset(&self) -> u64 {
        match self.paging {
            Paging::Offset { offset, .. } if self.states_offset_asked => offset,
            Paging::Offset { .. } | Paging::Page { .. } => self.skip(),
        }
    }

    /// How many hits the page holds at most.
    pub fn take(&self) -> u64 {
        let limit = match self.paging {
            Paging::Offset { limit, .. } => limit,
            Paging::Page { page: 0, .. } => 0,
            Paging::Page { hits_per_page, .. } => hits_per_page,
        };
        limit.min(self.max_total_hits - self.skip())
    }

    /// How many hits each node is asked for, from its first: any of them may lie in the page.
    pub fn reach(&self) -> u64 {
        if self.take() == 0 { 0 } else { self.skip() + self.take() }
    }

    /// From the first hit to the end of the page, also where the page itself is empty.
    pub fn from_the_first(self) -> Self {
        Self { paging: self.paging.up_to(self.skip() + self.take()), ..self }
    }

    /// The total to show, from those of the nodes. Older engines cap their totals at what can be reached; one that shows
    /// more than that does not, and then the sum is not capped either.
    pub fn total(&self, totals: &[u64]) -> u64 {
        let sum = totals.iter().fold(0, |sum: u64, total| sum.saturating_add(*total));
        let capped = !self.states_all_hits && totals.iter().all(|total| *total <= self.max_total_hits);
        if capped { sum.min(self.max_total_hits) } else { sum }
    }

    /// The total to show of as many hits as were counted here.
    pub fn counted(&self, hits: usize) -> u64 {
        let hits = hits as u64;
        if self.states_all_hits { hits } else { hits.min(self.max_total_hits) }
    }

    /// Rounded up; pages of no hits are none.
    pub fn pages(total: u64, hits_per_page: u64) -> u64 {
        if hits_per_page == 0 { 0 } else { total.div_ceil(hits_per_page) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(offset: u64, limit: u64) -> Window {
        Window { paging: Paging::Offset { offset, limit }, max_total_hits: 1000, ..page(1, 1) }
    }

    fn page(page: u64, hits_per_page: u64) -> Window {
        Window {
            paging: Paging::Page { page, hits_per_page },
            max_total_hits: 1000,
            states_all_hits: false,
            states_offset_asked: false,
        }
    }

    #[test]
    fn a_window_never_reaches_past_the_most_hits() {
        let seen = |window: Window| (window.skip(), window.take(), window.reach());
        assert_eq!(seen(offset(7, 20)), (7, 20, 27));
        assert_eq!(seen(offset(990, 20)), (990, 10, 1000));
        assert_eq!(seen(offset(u64::MAX, u64::MAX)), (1000, 0, 0));
        assert_eq!(seen(page(3, 5)), (10, 5, 15));
        assert_eq!(seen(page(0, 5)), (0, 0, 0));
        assert_eq!(seen(page(u64::MAX, 7)), (1000, 0, 0));
        assert_eq!(seen(page(1, 0)), (0, 0, 0));
    }

    #[test]
    fn an_offset_beyond_the_most_hits_is_stated_as_the_engine_does() {
        assert_eq!(offset(5000, 20).stated_offset(), 1000);
        let newer = Window { states_offset_asked: true, ..offset(5000, 20) };
        assert_eq!((newer.stated_offset(), newer.skip(), newer.take()), (5000, 1000, 0));
    }

    #[test]
    fn totals_are_summed_and_capped_as_the_engine_caps_them() {
        assert_eq!(offset(0, 1).total(&[3, 4]), 7);
        assert_eq!(offset(0, 1).total(&[600, 700]), 1000);
        assert_eq!(page(1, 1).total(&[600, 1700]), 2300);
        assert_eq!(Window::pages(7, 3), 3);
        assert_eq!(Window::pages(7, 0), 0);
    }
}
