//! The views that followers go by, over HTTP: `POST /_peer/view` at the leader.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::door::OWN;
use super::following::Following;
use super::passed::{Passed, PassedTrace};
use super::upstream::{self, Body, Message, Missed};
use crate::gateway::app::App;
use crate::peers::talk::{Answer, AskLeader, NoAnswer, Question};

/// Behind [`OWN`].
pub const VIEW: &str = "view";

/// Asks whoever leads.
pub struct Asker(pub Arc<Following>);

#[async_trait]
impl AskLeader for Asker {
    async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let following = &self.0;
        let (leader, url) = following.known().ok_or_else(|| NoAnswer("no leader is known".to_owned()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let target = format!("{OWN}{VIEW}");
        let passed = Passed { client: None, task: None, trace: PassedTrace::Clients };
        let message = Message { method: &http::Method::POST, target: &target, headers: &headers, passed };
        let body = serde_json::to_vec(question).map_err(|error| NoAnswer(error.to_string()))?;
        let asked = upstream::ask(following, (&leader, &url), &message, Body::Whole(Bytes::from(body))).await;
        let mut answering = match asked {
            Ok(answering) => answering,
            Err(Missed::Foreign(protocol)) => return Ok(Answer::OtherProtocol { protocol }),
            Err(Missed::Unsent(reason) | Missed::Broken(reason)) => return Err(NoAnswer(reason)),
            Err(Missed::Client(error)) => return Err(NoAnswer(error.message)),
        };
        let mut body = Vec::new();
        while let Some(chunk) = answering.next(following).await.map_err(NoAnswer)? {
            body.extend_from_slice(&chunk);
        }
        answering.keep(following).await;
        serde_json::from_slice(&body).map_err(|error| NoAnswer(error.to_string()))
    }
}

/// The answer to a follower's question. `None` where this gateway lends no views.
pub async fn answer(app: &App, question: &[u8]) -> Option<Result<Vec<u8>, serde_json::Error>> {
    let publisher = app.publisher.get()?;
    let question: Question = match serde_json::from_slice(question) {
        Ok(question) => question,
        Err(error) => return Some(Err(error)),
    };
    Some(serde_json::to_vec(&publisher.answer(question).await))
}
