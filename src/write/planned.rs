//! One request of a write to one node, as it is planned and sent.

use crate::plan::write::Step;
use crate::tasks::entry::Purpose;

/// One request of a run, and the part of the task that it is.
pub(crate) struct Planned {
    /// Its place among the task's parts.
    pub part: usize,
    pub purpose: Purpose,
    pub step: Step,
    /// How many stamped steps of the same task the node was sent before this one; `None` where there is no stamp.
    pub stamped: Option<usize>,
}
