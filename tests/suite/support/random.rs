//! Random choices from a seed that can be printed and given again.

/// A linear congruential generator: the same on every machine.
#[derive(Debug, Clone)]
pub struct Dice(u64);

// === impl Dice ===

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Another sequence, for a part of the work that rolls at its own pace.
    pub fn branch(&self, name: u64) -> Self {
        Self::new(self.0 ^ name.wrapping_mul(0xA24B_AED4_963E_E407))
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides as u64) as usize
    }

    /// From `low` up to and with `high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll((high - low + 1) as usize) as u64
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// `most` different ones, or all, in random order.
    pub fn some<T: Clone>(&mut self, of: &[T], most: usize) -> Vec<T> {
        let mut left = of.to_vec();
        let mut taken = Vec::new();
        while taken.len() < most && !left.is_empty() {
            taken.push(left.swap_remove(self.roll(left.len())));
        }
        taken
    }
}
