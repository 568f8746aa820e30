//! Differences that are known and open, each narrow and with its reason. Taking an entry away makes the generator strict there.

use super::compare::Difference;
use super::step::Step;

#[derive(Debug)]
pub struct Allowance {
    pub name: &'static str,
    pub reason: &'static str,
    applies: fn(&Step, &Difference) -> bool,
}

/// A sequence that meets one ends there, because what follows builds on what differs.
pub const ALLOWED: &[Allowance] = &[];

pub fn find(step: &Step, difference: &Difference) -> Option<&'static Allowance> {
    ALLOWED.iter().find(|allowance| (allowance.applies)(step, difference))
}
