//! Many node tasks fold into one status.

use time::OffsetDateTime;

use super::entry::MiroirTask;

/// Sets status, error, dates and counts of `task` from its parts. `now` is used where no node gave a date.
pub fn fold(task: &mut MiroirTask, now: OffsetDateTime) {
    let _ = (task, now);
    todo!()
}
