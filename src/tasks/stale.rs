//! Which replicas a finished task leaves behind.

use super::entry::{MiroirTask, NodeTask};

/// The parts of a final task that were not carried out although another replica carried them out: their replicas
/// are stale. A part without shards means the whole index on that node.
pub fn stale_parts(task: &MiroirTask) -> Vec<&NodeTask> {
    let _ = task;
    todo!()
}
