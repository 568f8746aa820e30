//! What a gateway says of a request that it passes on, beside what the client said.

use core::net::IpAddr;

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

/// Whom the request is from.
pub const CLIENT: &str = "x-miroir-peer-client";
/// The id that the task of a write is to have, and which time it is that the write is sent.
pub const TASK: &str = "x-miroir-peer-task";
/// Whether `traceparent` is a span of the gateway's own.
pub const TRACE: &str = "x-miroir-peer-trace";

const RECORDED: &str = "recorded";

/// A request that a peer has passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// `None` where the peer did not know it.
    pub client: Option<IpAddr>,
    /// Of a write.
    pub task: Option<PassedTask>,
    pub trace: PassedTrace,
}

/// Whose the `traceparent` of a request that was passed on is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedTrace {
    /// The client's, if there is one.
    Clients,
    /// The peer has chosen the request, and its span is the parent of ours.
    Recorded,
}

/// The task of a write that was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedTask {
    pub uuid: Uuid,
    pub time: Time,
}

/// Which time a write is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    First,
    /// A leader broke off before it answered. Whoever leads now carries the write out unless it has its task.
    Again,
    /// Only what has become of it is asked, without its body.
    Asked,
}

// === impl Passed ===

impl Passed {
    /// As the headers have it.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().ok());
        let client = match text(CLIENT) {
            None => None,
            Some(text) => Some(text?.parse().ok()?),
        };
        let task = match text(TASK) {
            None => None,
            Some(text) => Some(PassedTask::parse(text?)?),
        };
        let trace = match text(TRACE) {
            None => PassedTrace::Clients,
            Some(text) => (text? == RECORDED).then_some(PassedTrace::Recorded)?,
        };
        Some(Self { client, task, trace })
    }

    /// The values of the headers, as far as there are any.
    pub fn headers(&self) -> [(&'static str, Option<String>); 3] {
        let trace = match self.trace {
            PassedTrace::Clients => None,
            PassedTrace::Recorded => Some(RECORDED.to_owned()),
        };
        [
            (CLIENT, self.client.map(|client| client.to_string())),
            (TASK, self.task.map(|task| task.text())),
            (TRACE, trace),
        ]
    }

    /// True for what only a gateway says; of a client it is not passed on.
    pub fn is_said_by(name: &HeaderName) -> bool {
        name == CLIENT || name == TASK || name == TRACE
    }
}

// === impl PassedTask ===

impl PassedTask {
    fn parse(text: &str) -> Option<Self> {
        let (uuid, time) = text.split_once(' ')?;
        let time = match time {
            "first" => Time::First,
            "again" => Time::Again,
            "asked" => Time::Asked,
            _ => return None,
        };
        Some(Self { uuid: uuid.parse().ok()?, time })
    }

    fn text(&self) -> String {
        let time = match self.time {
            Time::First => "first",
            Time::Again => "again",
            Time::Asked => "asked",
        };
        format!("{} {time}", self.uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        let uuid = Uuid::now_v7();
        for time in [Time::First, Time::Again, Time::Asked] {
            let client = Some("10.0.0.9".parse().unwrap());
            let said = Passed { client, task: Some(PassedTask { uuid, time }), trace: PassedTrace::Recorded };
            let mut headers = HeaderMap::new();
            for (name, value) in said.headers() {
                assert!(Passed::is_said_by(&HeaderName::from_static(name)), "{name}");
                headers.insert(name, value.unwrap().parse().unwrap());
            }
            assert_eq!(Passed::read(&headers), Some(said));
        }
        let nothing = Passed { client: None, task: None, trace: PassedTrace::Clients };
        assert_eq!(Passed::read(&HeaderMap::new()), Some(nothing));
        assert!(nothing.headers().iter().all(|(_, value)| value.is_none()));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        for (name, value) in [
            (CLIENT, "somebody"),
            (TASK, "1 first"),
            (TASK, "01890a5d-ac96-774b-bcce-b302099a8057 now"),
            (TRACE, "perhaps"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(Passed::read(&headers), None, "{name}: {value}");
        }
    }
}
