//! Pingora's phases, each handed on to the gateway. Nothing is decided here.

use std::sync::Arc;

use async_trait::async_trait;
use miroir::gateway::{self, App, Handled, RequestContext, forward};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

/// The gateway as Pingora sees it.
pub struct Proxy(pub Arc<App>);

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> pingora::Result<bool> {
        match gateway::handle(&self.0, session, ctx).await? {
            Handled::Answered => Ok(true),
            Handled::Forward => Ok(false),
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut RequestContext) -> pingora::Result<Box<HttpPeer>> {
        let peer = match ctx.forward.as_mut() {
            Some(forwarding) => forwarding.next_peer().await,
            None => None,
        };
        peer.map(Box::new).ok_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "no node left to ask"))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        if let (Some(forwarding), Some(head)) = (&ctx.forward, &ctx.head) {
            let key = self.0.cluster.nodes.credentials.key.as_ref().map(|key| key.expose());
            *upstream_request = forwarding.request(head, key, &ctx.trace())?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        match &mut ctx.forward {
            Some(forwarding) => {
                forwarding.check_answer(upstream_response)?;
                gateway::check_forwarded(&self.0)
            }
            None => Ok(()),
        }
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        upstream_response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        match &ctx.head {
            Some(head) => {
                forward::clean_answer(upstream_response, ctx.request_id())?;
                ctx.add_headers(head, upstream_response)
            }
            None => Ok(()),
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if ctx.forward.as_ref().is_some_and(forward::Forwarding::has_more) {
            error.set_retry(true);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut RequestContext,
        _client_reused: bool,
    ) -> Box<Error> {
        error.set_retry(gateway::goes_on(&self.0, session, ctx));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut RequestContext) -> FailToProxy {
        FailToProxy { error_code: gateway::fail(session, ctx, error).await, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut RequestContext) {
        gateway::conclude(&self.0, session, ctx, error);
    }
}
