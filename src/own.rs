//! What gateways ask of each other, beside the requests that they pass on: views, and operators' requests.

use std::sync::Arc;

use http::Uri;
use miroir::admin::AdminApp;
use miroir::gateway::peers::views;
use miroir::gateway::respond::Answer;
use miroir::gateway::{App, Handled, RequestContext};
use pingora::apps::http_app::ServeHttp as _;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

/// A question after a view is short.
const LONGEST_QUESTION: usize = 64 << 10;
/// The route of such a request in logs and metrics.
const ROUTE: &str = "peer";

/// Answers the request for `path`, which a peer has made.
pub async fn answer(
    app: &App,
    admin: &Arc<AdminApp>,
    session: &mut Session,
    ctx: &mut RequestContext,
    path: &str,
) -> pingora::Result<Handled> {
    ctx.route = ROUTE;
    if path == views::VIEW {
        return view(app, session, ctx).await;
    }
    let Some(operators) = path.strip_prefix("admin") else {
        return refuse(session, ctx, &Answer::empty(404)).await;
    };
    let query = session.req_header().uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(uri) = format!("{operators}{query}").parse::<Uri>() else {
        return refuse(session, ctx, &Answer::empty(404)).await;
    };
    let downstream = session.as_downstream_mut();
    downstream.req_header_mut().set_uri(uri);
    let (head, body) = admin.response(downstream).await.into_parts();
    let mut header = ResponseHeader::from(head);
    for (name, value) in &ctx.headers {
        header.insert_header(name.clone(), value.clone())?;
    }
    session.write_response_header(Box::new(header), body.is_empty()).await?;
    if !body.is_empty() {
        session.write_response_body(Some(body.into()), true).await?;
    }
    Ok(Handled::Answered)
}

async fn view(app: &App, session: &mut Session, ctx: &mut RequestContext) -> pingora::Result<Handled> {
    let mut question = Vec::new();
    while let Some(chunk) = session.read_request_body().await? {
        question.extend_from_slice(&chunk);
        if question.len() > LONGEST_QUESTION {
            return refuse(session, ctx, &Answer::empty(413)).await;
        }
    }
    let answer = match views::answer(app, &question).await {
        Some(Ok(answer)) => answer,
        Some(Err(_)) => return refuse(session, ctx, &Answer::empty(400)).await,
        None => return refuse(session, ctx, &Answer::empty(421)).await,
    };
    let mut header = ResponseHeader::build(200, Some(4))?;
    header.insert_header(http::header::CONTENT_TYPE, "application/json")?;
    header.insert_header(http::header::CONTENT_LENGTH, answer.len())?;
    for (name, value) in &ctx.headers {
        header.insert_header(name.clone(), value.clone())?;
    }
    session.write_response_header(Box::new(header), false).await?;
    session.write_response_body(Some(answer.into()), true).await?;
    Ok(Handled::Answered)
}

/// Turns a request away.
pub async fn refuse(session: &mut Session, ctx: &mut RequestContext, answer: &Answer) -> pingora::Result<Handled> {
    ctx.route = ROUTE;
    let mut header = ResponseHeader::build(answer.status, Some(4))?;
    header.insert_header(http::header::CONTENT_LENGTH, answer.body.len())?;
    for (name, value) in &ctx.headers {
        header.insert_header(name.clone(), value.clone())?;
    }
    // What it sends beside its head is not read.
    session.as_downstream_mut().set_keepalive(None);
    session.write_response_header(Box::new(header), answer.body.is_empty()).await?;
    if !answer.body.is_empty() {
        session.write_response_body(Some(answer.body.clone()), true).await?;
    }
    Ok(Handled::Answered)
}

/// True for what would fill the log: gateways ask each other all the time.
pub fn is_quiet(ctx: &RequestContext) -> bool {
    ctx.route == ROUTE
}
