//! For how long the nodes are asked again what they cannot answer now: one that has just died, a restart, a gateway that has not
//! looked at its nodes yet.

use std::time::Duration;

use tokio::time::Instant;

use super::error::WorkError;
use crate::meili::error::{Code, ResponseError};
use crate::nodes::meaning::Meaning;

const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long one question has been asked for.
pub struct Patience {
    until: Instant,
    pause: Duration,
}

// === impl Patience ===

impl Patience {
    /// Half a minute from now on.
    pub fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: FIRST_PAUSE }
    }

    /// Returns when it is time to ask again; `error` itself where that would change nothing, or was done for long enough.
    pub async fn again(&mut self, error: WorkError) -> Result<(), WorkError> {
        let passes = matches!(&error, WorkError::Refused(refused) if !Meaning::of_refusal(refused).is_judgement());
        if !passes || Instant::now() + self.pause > self.until {
            return Err(error);
        }
        tracing::debug!(%error, "asked again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// No node could be reached.
pub fn no_node() -> WorkError {
    ResponseError::new(Code::MiroirNodeUnavailable, "No node that could answer can be reached.").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_again_for_half_a_minute_and_the_rest_never() {
        let (begin, mut patience, mut asked) = (Instant::now(), Patience::new(), 0);
        while patience.again(no_node()).await.is_ok() {
            asked += 1;
        }
        let spent = begin.elapsed();
        assert!(asked > 15 && spent <= PATIENCE && spent + LONGEST_PAUSE > PATIENCE, "{asked} {spent:?}");
        let refused = ResponseError::new(Code::IndexNotFound, "Index `a` not found.").into();
        assert!(Patience::new().again(refused).await.is_err());
        assert_eq!(begin.elapsed(), spent);
    }
}
