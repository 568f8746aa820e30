//! `postgres://user@host:5432/database?sslmode=verify-full`: where the server is, without its password.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::tls::{Connector, Trust};
use crate::settings::Secret;

/// How long one host may take to answer, unless the address says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection over which nothing comes for so long is looked at, and soon given up.
const IDLE: Duration = Duration::from_secs(5);

/// How the server is reached.
#[derive(Clone)]
pub struct Address {
    pub config: Config,
    pub connector: Connector,
}

// === impl Address ===

impl Address {
    /// What is wrong is said without a word of what may be secret.
    pub fn parse(state: &str, password: Option<&Secret>) -> Result<Self, String> {
        let rest = state.split_once("://").map_or(state, |(_, rest)| rest);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if place.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
            return Err("the password does not belong into the address, but into `state_password`".to_owned());
        }
        let mut kept = Vec::new();
        let (mut mode, mut roots) = ("prefer", None);
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "password" => {
                    return Err("`password` does not belong into the address, see `state_password`".to_owned());
                }
                "sslmode" => mode = value,
                "sslrootcert" => roots = Some(value),
                _ => kept.push(format!("{key}={value}")),
            }
        }
        let (own_mode, trust) = match (mode, roots) {
            ("disable" | "prefer" | "require", None) => (mode, Trust::Anybody),
            ("prefer" | "require", Some(file)) => ("require", Trust::File(file.to_owned())),
            ("verify-full", Some(file)) if file != "system" => ("require", Trust::File(file.to_owned())),
            ("verify-full", _) => ("require", Trust::System),
            ("disable", Some(_)) => return Err("`sslrootcert` is of no use with `sslmode=disable`".to_owned()),
            _ => return Err("expected `sslmode` to be disable, prefer, require or verify-full".to_owned()),
        };
        kept.push(format!("sslmode={own_mode}"));
        let mut config: Config = format!("postgres://{place}?{}", kept.join("&"))
            .parse()
            .map_err(|error: tokio_postgres::Error| chain(&error))?;
        if config.get_hosts().is_empty() {
            return Err("expected a host, as in `postgres://user@host:5432/database`".to_owned());
        }
        if config.get_user().is_none() {
            return Err("expected a user, as in `postgres://user@host:5432/database`".to_owned());
        }
        if let Some(password) = password {
            config.password(password.expose());
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.keepalives_idle(IDLE).keepalives_interval(IDLE).keepalives_retries(2).tcp_user_timeout(IDLE * 2);
        // Of several hosts the one that takes writes.
        config.application_name("miroir").target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { config, connector: Connector::new(&trust)? })
    }
}

/// An error with what caused it: the outermost alone often says no more than `db error`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(state: &str) -> String {
        Address::parse(state, None).err().unwrap()
    }

    #[test]
    fn an_address_names_hosts_and_how_they_are_trusted() {
        let secret = Secret::new("sesame");
        let address = Address::parse("postgres://m@one:5432,two:5433/db?sslmode=require", Some(&secret)).unwrap();
        assert_eq!((address.config.get_hosts().len(), address.config.get_ports()), (2, &[5432, 5433][..]));
        assert_eq!(address.config.get_password(), Some(&b"sesame"[..]));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        Address::parse("postgresql://m@%2Fvar%2Frun/db?connect_timeout=9", None).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for state in ["postgres://m:sesame@one/db", "postgres://m@one/db?password=sesame"] {
            let said = problem(state);
            assert!(said.contains("state_password") && !said.contains("sesame"), "{said}");
        }
        assert!(problem("postgres://m@one/db?sslmode=verify-ca").contains("verify-full"));
        assert!(problem("postgres://m@one/db?sslmode=disable&sslrootcert=a").contains("of no use"));
        assert!(problem("postgres://m@one/db?sslmode=require&sslrootcert=/nowhere/ca.pem").contains("/nowhere/ca.pem"));
        assert!(problem("postgres://one/db").contains("user"));
        assert!(problem("postgres://m@/db").contains("host"));
        assert!(problem("postgres://m@one:x/db").contains("port"));
    }
}
