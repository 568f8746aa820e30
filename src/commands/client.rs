//! Asks the admin API: the address and key that the commands share, and errors as a person reads them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use crate::config::DEFAULT_ADMIN;
use crate::settings::Secret;

/// Where the admin API is.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminArgs {
    /// The admin listener's URL.
    #[arg(long, env = "MIROIR_ADMIN", default_value_t = url_of(DEFAULT_ADMIN))]
    pub admin: String,
    /// The admin key; better given by the environment than on the command line, which others can read.
    #[arg(long, env = "MIROIR_ADMIN_KEY", hide_env_values = true)]
    pub admin_key: Option<Secret>,
    /// Who has signed the listener's certificate (PEM), instead of the authorities that everybody trusts.
    #[arg(long, env = "MIROIR_ADMIN_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show to a listener that asks for one (PEM).
    #[arg(long, env = "MIROIR_ADMIN_CERT_FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, env = "MIROIR_ADMIN_KEY_FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why the admin API gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach {url}: {source}")]
    Unreachable { url: String, source: ureq::Error },
    #[error("{url} answered {status}: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("cannot use `{}`: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    #[error("{url} answered something that is not JSON: {source}")]
    NotJson { url: String, source: serde_json::Error },
}

// === impl AdminArgs ===

impl AdminArgs {
    /// The answer as JSON.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send("GET", path, None)
    }

    /// The answer to a JSON body, as JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send("POST", path, Some(body))
    }

    /// The answer as JSON; an error for a status of 400 and more.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let agent = agent(self.tls()?);
        exchange(&agent, &url, method, self.admin_key.as_ref().map(Secret::expose), "application/json", &bytes)
    }

    /// A piece of a dump from `offset` on, and the size of the whole.
    pub fn piece(&self, path: &str) -> Result<(Vec<u8>, u64), ClientError> {
        let url = format!("{}{path}", self.admin.trim_end_matches('/'));
        let unreachable = |source: ureq::Error| ClientError::Unreachable { url: url.clone(), source };
        let mut request = agent(self.tls()?).get(&url);
        if let Some(key) = &self.admin_key {
            request = request.header("Authorization", format!("Bearer {}", key.expose()));
        }
        let mut answer = request.call().map_err(unreachable)?;
        let status = answer.status().as_u16();
        let size = answer.headers().get("x-miroir-dump-size").and_then(|size| size.to_str().ok()?.parse().ok());
        let bytes = answer.body_mut().with_config().limit(1 << 28).read_to_vec().map_err(unreachable)?;
        match size {
            Some(size) if status == 200 => Ok((bytes, size)),
            _ => Err(ClientError::Refused { url, status, message: String::from_utf8_lossy(&bytes).into_owned() }),
        }
    }

    fn tls(&self) -> Result<TlsConfig, ClientError> {
        let read = |file: &PathBuf| {
            std::fs::read(file).map_err(|error| ClientError::File { file: file.clone(), reason: error.to_string() })
        };
        let chain = |file: &PathBuf| {
            let text = read(file)?;
            let items = ureq::tls::parse_pem(&text).filter_map(Result::ok);
            let found: Vec<_> = items
                .filter_map(|item| if let PemItem::Certificate(found) = item { Some(found) } else { None })
                .collect();
            if found.is_empty() {
                return Err(ClientError::File { file: file.clone(), reason: "no certificate in PEM".to_owned() });
            }
            Ok(found)
        };
        let mut config = TlsConfig::builder();
        if let Some(file) = &self.ca_file {
            config = config.root_certs(RootCerts::from(chain(file)?));
        }
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            let private = PrivateKey::from_pem(&read(key)?)
                .map_err(|_| ClientError::File { file: key.clone(), reason: "no private key in PEM".to_owned() })?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain(cert)?, private)));
        }
        Ok(config.build())
    }
}

fn agent(tls: TlsConfig) -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
    config.tls_config(tls).build().into()
}

/// The URL of a listener on this machine.
pub fn url_of(address: &str) -> String {
    format!("http://{address}")
}

/// Sends a JSON request and reads a JSON answer.
pub fn send(url: &str, method: &str, key: Option<&str>, body: Option<&Value>) -> Result<Value, ClientError> {
    let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
    send_bytes(url, method, key, "application/json", &bytes)
}

/// Sends `body` as it is and reads a JSON answer.
pub fn send_bytes(
    url: &str,
    method: &str,
    key: Option<&str>,
    content_type: &str,
    body: &[u8],
) -> Result<Value, ClientError> {
    exchange(&agent(TlsConfig::default()), url, method, key, content_type, body)
}

fn exchange(
    agent: &ureq::Agent,
    url: &str,
    method: &str,
    key: Option<&str>,
    content_type: &str,
    body: &[u8],
) -> Result<Value, ClientError> {
    let unreachable = |source: ureq::Error| ClientError::Unreachable { url: url.to_owned(), source };
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    let answer = if body.is_empty() {
        request
            .body(())
            .map_err(|error| unreachable(error.into()))
            .and_then(|request| agent.run(request).map_err(unreachable))
    } else {
        let request =
            request.header("Content-Type", content_type).body(body).map_err(|error| unreachable(error.into()))?;
        agent.run(request).map_err(unreachable)
    };
    let mut answer = answer?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(1 << 28).read_to_string().map_err(unreachable)?;
    let value: Result<Value, _> = serde_json::from_str(&text);
    if !(200..300).contains(&status) {
        let message = value.ok().and_then(|value| value["message"].as_str().map(str::to_owned)).unwrap_or(text);
        return Err(ClientError::Refused { url: url.to_owned(), status, message });
    }
    value.map_err(|source| ClientError::NotJson { url: url.to_owned(), source })
}

/// Prints what `ask` gave, as JSON or by `show`, and says how the program ends.
pub fn finish(
    json: bool,
    ask: Result<Value, ClientError>,
    show: impl FnOnce(&Value) -> String,
) -> std::process::ExitCode {
    match ask {
        Ok(value) if json => println!("{value:#}"),
        Ok(value) => println!("{}", show(&value).trim_end()),
        Err(error) => {
            eprintln!("miroir: {error}");
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}

/// A JSON value as a table's cell.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Rows with columns as wide as their widest cell; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["node".to_owned(), "state".to_owned()], vec!["a".to_owned(), "up".to_owned()]];
        assert_eq!(table(&rows), "node  state\na     up\n");
    }

    #[test]
    fn an_address_where_nobody_listens_is_named() {
        let error =
            send("http://127.0.0.1:1/ready", "GET", Some("secret-key"), None).expect_err("nobody listens on port 1");
        let text = error.to_string();
        assert!(text.contains("cannot reach http://127.0.0.1:1/ready") && !text.contains("secret-key"), "{text}");
    }
}
