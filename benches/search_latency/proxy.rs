//! A proxy that does nothing but pass on: what Pingora itself costs.

use async_trait::async_trait;
use pingora::server::Server;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Plain {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.upstream, false, String::new())))
    }
}

/// Starts a proxy on `listen` to `upstream`, both as `host:port`. It ends with the program.
pub fn start(listen: &str, upstream: &str) {
    let mut server = Server::new(None).expect("a server with Pingora's defaults");
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Plain { upstream: upstream.to_owned() });
    service.add_tcp(listen);
    server.add_service(service);
    std::thread::spawn(move || server.run_forever());
}
