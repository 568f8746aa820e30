//! Routes of settings, whole and one by one.

use miroir_words::action::Action;
use miroir_words::settings::Setting;
use miroir_words::uid::IndexUid;
use serde_json::Value;

use super::{Answer, Call, blocking, empty, indexes, ok, wrong_method};
use crate::engine::IndexHandle;
use crate::error::ResponseError;
use crate::queue::task::TaskContent;
use crate::settings;

pub async fn get_all(call: Call, index: &str) -> Answer {
    read(call, index, settings::get).await
}

pub async fn update_all(mut call: Call, index: &str) -> Answer {
    let allow = may_update(&call, index)?;
    let bytes = call.json_bytes().await?;
    let (changed, index) = parsed_before_name(settings::parse_update(&bytes, call.node.engine.features()), index)?;
    change(call, index, changed, false, allow).await
}

pub async fn reset_all(call: Call, index: &str) -> Answer {
    let allow = may_update(&call, index)?;
    let index = IndexUid::parse(index)?.into_string();
    change(call, index, settings::reset(), true, allow).await
}

/// Any method on `/indexes/{uid}/settings/{name}`.
pub async fn one(mut call: Call, index: &str, name: &str) -> Answer {
    let Some(setting) = Setting::ALL.iter().copied().find(|setting| setting.route() == name) else {
        return Ok(empty(axum::http::StatusCode::NOT_FOUND));
    };
    match call.method.as_str() {
        "GET" => read(call, index, move |handle| settings::get_one(handle, setting)).await,
        "DELETE" => {
            let allow = may_update(&call, index)?;
            let index = IndexUid::parse(index)?.into_string();
            change(call, index, settings::reset_one(setting), true, allow).await
        }
        method if method == setting.update_method() => {
            let allow = may_update(&call, index)?;
            let bytes = call.json_bytes().await?;
            let (changed, index) =
                parsed_before_name(settings::parse_one(setting, &bytes, call.node.engine.features()), index)?;
            change(call, index, changed, false, allow).await
        }
        _ => Ok(wrong_method()),
    }
}

/// True when the request's key may make the index that it changes.
fn may_update(call: &Call, index: &str) -> Result<bool, ResponseError> {
    Ok(call.authorize(Action::SettingsUpdate, Some(index))?.may_create(index))
}

/// The engine reads the body before it looks at the name.
fn parsed_before_name(parsed: Result<Value, ResponseError>, index: &str) -> Result<(Value, String), ResponseError> {
    let changed = parsed?;
    Ok((changed, IndexUid::parse(index)?.into_string()))
}

async fn read(
    call: Call,
    index: &str,
    show: impl FnOnce(&IndexHandle) -> Result<Value, ResponseError> + Send + 'static,
) -> Answer {
    call.authorize(Action::SettingsGet, Some(index))?;
    let index = IndexUid::parse(index)?.into_string();
    let shown = blocking(&call.node, move |node| show(&node.engine.index(&index)?)).await?;
    Ok(ok(&shown))
}

async fn change(call: Call, index: String, changed: Value, is_deletion: bool, allow_index_creation: bool) -> Answer {
    let content = TaskContent::Settings { settings: changed, is_deletion, allow_index_creation };
    indexes::register(call, Some(index), content).await
}
