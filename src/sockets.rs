//! Listening sockets that a service manager opened before this process and keeps open after it (systemd's socket activation): clients
//! that come while no process is there wait in their queue, and none is refused.
//!
//! The state belongs to one process at a time, so the next one cannot begin before this one has ended, and neither could hand its
//! sockets to the other. Somebody has to hold them in between.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::apps::ServerApp;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as Listening;
use tokio::sync::watch;

/// Sockets that were given to this process, by their addresses.
#[derive(Debug, Default)]
pub struct Sockets(HashMap<SocketAddr, TcpListener>);

/// A listener, on the socket that it was given or on one that it opens.
pub struct Listener<A> {
    service: Listening<A>,
    given: Option<ListenFds>,
    /// When it takes no more connections, where that is before the end of the server.
    closes: Option<watch::Receiver<bool>>,
}

/// Sockets of no use.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("the sockets that the service manager has opened cannot be used: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the service manager has opened a socket for {0}, where nothing is configured to listen")]
    Strange(SocketAddr),
    #[error("the service manager has opened two sockets for {0}")]
    Twice(SocketAddr),
}

// === impl Sockets ===

impl Sockets {
    /// Takes what `LISTEN_FDS` names. Called once, at the start of the process.
    ///
    /// # Errors
    ///
    /// When one is no listening socket of TCP.
    pub fn given() -> Result<Self, SocketError> {
        let mut sockets = HashMap::new();
        for fd in sd_notify::listen_fds()? {
            #[expect(
                unsafe_code,
                reason = "by the protocol it was opened for this process, and nobody else here knows it"
            )]
            let socket = unsafe { TcpListener::from_raw_fd(fd) };
            let address = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            if sockets.insert(address, socket).is_some() {
                return Err(SocketError::Twice(address));
            }
        }
        Ok(Self(sockets))
    }

    /// Whether `address` can be listened on. Pingora would only log that it cannot, and run on deaf.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn check(&self, address: SocketAddr) -> io::Result<()> {
        if self.0.contains_key(&address) { Ok(()) } else { TcpListener::bind(address).map(drop) }
    }

    /// What listens on `address`: what was given, or what Pingora opens.
    pub fn listener<A>(&mut self, service: Listening<A>, address: SocketAddr) -> Listener<A> {
        let given = self.0.remove(&address).map(|socket| {
            let mut given = Fds::new();
            given.add(address.to_string(), socket.into_raw_fd());
            Arc::new(Mutex::new(given))
        });
        if given.is_some() {
            tracing::info!(%address, "listens on the service manager's socket");
        }
        Listener { service, given, closes: None }
    }

    /// Clients of a socket that nobody listens on would wait for ever.
    ///
    /// # Errors
    ///
    /// When one is left.
    pub fn finish(self) -> Result<(), SocketError> {
        self.0.into_keys().next().map_or(Ok(()), |address| Err(SocketError::Strange(address)))
    }
}

// === impl Listener ===

impl<A> Listener<A> {
    /// Takes no more connections once `closes` says so.
    pub fn until(self, closes: watch::Receiver<bool>) -> Self {
        Self { closes: Some(closes), ..self }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Listener<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        let fds = self.given.take().or(fds);
        let until = self.closes.take().unwrap_or(shutdown);
        self.service.start_service(fds, until, listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
