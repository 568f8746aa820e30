//! Routes about the node as a whole.

use axum::response::Response;
use deserr::Deserr;
use miroir_words::action::Action;
use serde_json::json;

use super::extract::{JsonRefusal, from_json};
use super::{Answer, Call, blocking, ok};
use crate::error::ResponseError;

/// The engine's release that this node answers as.
pub const ENGINE_VERSION: &str = "1.15.1";

/// Its major and minor number.
pub const ENGINE_RELEASE: (u32, u32) = (1, 15);

/// The body of `PATCH /experimental-features`.
#[derive(Debug, Deserr)]
#[deserr(error = JsonRefusal, rename_all = camelCase, deny_unknown_fields)]
struct FeaturesUpdate {
    #[deserr(default)]
    metrics: Option<bool>,
    #[deserr(default)]
    logs_route: Option<bool>,
    #[deserr(default)]
    edit_documents_by_function: Option<bool>,
    #[deserr(default)]
    contains_filter: Option<bool>,
    #[deserr(default)]
    network: Option<bool>,
    #[deserr(default)]
    get_task_documents_route: Option<bool>,
    #[deserr(default)]
    composite_embedders: Option<bool>,
    #[deserr(default)]
    chat_completions: Option<bool>,
}

pub fn health() -> Answer {
    Ok(ok(&json!({"status": "available"})))
}

pub fn version(call: &Call) -> Answer {
    call.authorize(Action::Version, None)?;
    Ok(ok(&json!({"commitSha": "unknown", "commitDate": "unknown", "pkgVersion": ENGINE_VERSION})))
}

pub async fn stats(call: Call) -> Answer {
    let access = call.authorize(Action::StatsGet, None)?;
    let stats = blocking(&call.node, move |node| {
        let running = node.queue.running_index();
        let queue_size = node.queue.store.size()?;
        node.engine.stats(&|index| access.sees(index), running.as_deref(), (queue_size, queue_size))
    })
    .await?;
    Ok(ok(&stats))
}

pub fn features(call: &Call) -> Answer {
    call.authorize(Action::ExperimentalGet, None)?;
    Ok(shown(call))
}

pub async fn update_features(mut call: Call) -> Answer {
    call.authorize(Action::ExperimentalUpdate, None)?;
    let update: FeaturesUpdate = from_json(call.json_value().await?)?;
    blocking(&call.node, move |node| {
        node.features.change(|features| {
            let set = |field: &mut bool, value: Option<bool>| *field = value.unwrap_or(*field);
            set(&mut features.metrics, update.metrics);
            set(&mut features.logs_route, update.logs_route);
            set(&mut features.edit_documents_by_function, update.edit_documents_by_function);
            set(&mut features.contains_filter, update.contains_filter);
            set(&mut features.network, update.network);
            set(&mut features.get_task_documents_route, update.get_task_documents_route);
            set(&mut features.composite_embedders, update.composite_embedders);
            set(&mut features.chat_completions, update.chat_completions);
        })?;
        node.engine.set_features(node.features.get().for_engine());
        Ok(())
    })
    .await?;
    Ok(shown(&call))
}

fn shown(call: &Call) -> Response {
    ok(&json!(call.node.features.get()))
}

/// The refusal of something behind an experimental feature that is off.
pub fn feature_off(action: &str, feature: &str, link: &str) -> ResponseError {
    ResponseError::new(
        crate::error::Code::FeatureNotEnabled,
        format!("{action} requires enabling the `{feature}` experimental feature. See {link}"),
    )
}
