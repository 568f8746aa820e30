//! Which of the writes that were passed on have come, so that one whose connection broke is carried out once and not twice.
//!
//! Whoever passed it on asks after it. While it is being carried out the answer is to wait; once its task is stored, that is the answer; and
//! where it has not come, it is *void* from then on: if its bytes still arrive, it is refused, so that it may be sent once more. For
//! example: gateway B sends write 7 over a kept connection that this gateway is closing. B asks; 7 is unknown here and becomes void; B
//! sends it again as 7, and the first bytes, if a socket has them still, come to nothing.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use super::passed::{PassedTask, Time};

/// So many void writes are remembered: more than can be in sockets.
const VOID: usize = 10_000;

/// The writes of peers.
#[derive(Default)]
pub struct Arrivals {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    under_way: HashSet<Uuid>,
    void: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

/// Until it is dropped the write counts as being carried out.
pub struct Arrival {
    arrivals: Arc<Arrivals>,
    uuid: Uuid,
}

/// What is to be done with a write that has come; its task is not stored.
pub enum Due {
    CarryOut(Arrival),
    /// Being carried out.
    Wait,
    /// Asked after before it came: whoever sent it has been told that it is not here.
    Void,
    /// Asked after, and not here.
    Unknown,
}

// === impl Arrivals ===

impl Arrivals {
    /// Notes that `task` has come, or was asked after.
    pub fn note(self: &Arc<Self>, task: PassedTask) -> Due {
        let mut state = self.state.lock();
        if state.under_way.contains(&task.uuid) {
            return Due::Wait;
        }
        match task.time {
            Time::First if state.void.contains(&task.uuid) => return Due::Void,
            Time::First | Time::Again => {}
            Time::Asked => {
                state.make_void(task.uuid);
                return Due::Unknown;
            }
        }
        state.under_way.insert(task.uuid);
        Due::CarryOut(Arrival { arrivals: Arc::clone(self), uuid: task.uuid })
    }
}

impl State {
    fn make_void(&mut self, uuid: Uuid) {
        if self.void.insert(uuid) {
            self.order.push_back(uuid);
        }
        if self.order.len() > VOID
            && let Some(oldest) = self.order.pop_front()
        {
            self.void.remove(&oldest);
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.state.lock().under_way.remove(&self.uuid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(uuid: Uuid, time: Time) -> PassedTask {
        PassedTask { uuid, time }
    }

    #[test]
    fn a_write_that_is_being_carried_out_is_waited_for() {
        let (arrivals, uuid) = (Arc::new(Arrivals::default()), Uuid::now_v7());
        let Due::CarryOut(arrival) = arrivals.note(task(uuid, Time::First)) else { panic!("it is new") };
        for time in [Time::First, Time::Again, Time::Asked] {
            assert!(matches!(arrivals.note(task(uuid, time)), Due::Wait));
        }
        drop(arrival);
        assert!(matches!(arrivals.note(task(uuid, Time::Again)), Due::CarryOut(_)));
    }

    #[test]
    fn what_was_asked_after_before_it_came_is_refused_and_may_be_sent_again() {
        let (arrivals, uuid) = (Arc::new(Arrivals::default()), Uuid::now_v7());
        assert!(matches!(arrivals.note(task(uuid, Time::Asked)), Due::Unknown));
        assert!(matches!(arrivals.note(task(uuid, Time::First)), Due::Void));
        assert!(matches!(arrivals.note(task(uuid, Time::Again)), Due::CarryOut(_)));
    }

    #[test]
    fn only_the_latest_void_writes_are_remembered() {
        let arrivals = Arc::new(Arrivals::default());
        let first = Uuid::now_v7();
        arrivals.note(task(first, Time::Asked));
        for _ in 0..VOID {
            arrivals.note(task(Uuid::now_v7(), Time::Asked));
        }
        assert!(matches!(arrivals.note(task(first, Time::First)), Due::CarryOut(_)));
        assert_eq!(arrivals.state.lock().void.len(), VOID);
    }
}
