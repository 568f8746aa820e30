//! Pingora's phases, each handed on to the gateway. Nothing is decided here.

use std::sync::Arc;

use async_trait::async_trait;
use miroir::admin::AdminApp;
use miroir::gateway::peers::door::{Door, Entered};
use miroir::gateway::serving::Serving;
use miroir::gateway::{self, App, Handled, RequestContext, forward};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::own;

/// The gateway as Pingora sees it, on one listener.
pub struct Proxy {
    pub serving: Arc<Serving>,
    pub door: Door,
    /// Operators' requests come through the door of peers, too.
    pub admin: Arc<AdminApp>,
}

/// A request and the app that it goes by from its head to its log line.
pub struct Request {
    app: Arc<App>,
    ctx: RequestContext,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request { app: self.serving.app(), ctx: RequestContext::new() }
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> pingora::Result<bool> {
        let Request { app, ctx } = request;
        if self.serving.leaves() {
            session.set_keepalive(None);
        }
        if session.as_downstream().is_http2() {
            // The window of one stream may be shut while its connection goes on. With HTTP/1.1 it is the connection that is given up.
            session.as_downstream_mut().set_write_timeout(Some(app.settings().limits.client_timeout));
        }
        let handled = match self.door.enter(app, session, ctx) {
            Entered::Request => gateway::handle(app, session, ctx).await?,
            Entered::Own(path) => own::answer(app, &self.admin, session, ctx, &path).await?,
            Entered::Refused(answer) => own::refuse(session, ctx, &answer).await?,
        };
        match handled {
            Handled::Answered => Ok(true),
            Handled::Forward => Ok(false),
        }
    }

    async fn upstream_peer(&self, _: &mut Session, request: &mut Request) -> pingora::Result<Box<HttpPeer>> {
        let RequestContext { forward, times, .. } = &mut request.ctx;
        let peer = match forward.as_mut() {
            Some(forwarding) => forwarding.next_peer(times).await,
            None => None,
        };
        peer.map(Box::new).ok_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "no node left to ask"))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream_request: &mut RequestHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        let Request { app, ctx } = request;
        if let (Some(forwarding), Some(head)) = (&ctx.forward, &ctx.head) {
            let credentials = app.cluster.nodes.credentials.get();
            let key = credentials.key.as_ref().map(|key| key.expose());
            *upstream_request = forwarding.request(head, key, &ctx.trace())?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        upstream_response: &mut ResponseHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        match &mut request.ctx.forward {
            Some(forwarding) => {
                forwarding.check_answer(upstream_response)?;
                gateway::check_forwarded(&request.app)
            }
            None => Ok(()),
        }
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        upstream_response: &mut ResponseHeader,
        request: &mut Request,
    ) -> pingora::Result<()> {
        let ctx = &request.ctx;
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
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if request.ctx.forward.as_ref().is_some_and(forward::Forwarding::has_more) {
            error.set_retry(true);
        }
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Request,
        _client_reused: bool,
    ) -> Box<Error> {
        error.set_retry(gateway::goes_on(&request.app, session, &request.ctx));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, request: &mut Request) -> FailToProxy {
        FailToProxy { error_code: gateway::fail(session, &mut request.ctx, error).await, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        if own::is_quiet(&request.ctx) {
            return;
        }
        gateway::conclude(&request.app, session, &mut request.ctx, error);
    }
}
