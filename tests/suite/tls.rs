//! TLS on a listener, with real sockets: certificates by name, certificates of clients, files that change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::support::client::Client;
use crate::support::fleet::{Fleet, FleetOptions};

/// A certificate and its key, in PEM.
struct Pair {
    cert: String,
    key: String,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn signed(by: &Authority, name: &str) -> Pair {
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    Pair { cert: params.signed_by(&key, by).expect("a certificate").pem(), key: key.serialize_pem() }
}

fn write(folder: &Path, label: &str, pair: &Pair) {
    std::fs::write(folder.join(format!("{label}.crt")), &pair.cert).expect("a file");
    std::fs::write(folder.join(format!("{label}.key")), &pair.key).expect("a file");
}

/// A client that trusts `root`, and shows `own` when it is asked for a certificate.
fn client(url: &str, root: &Authority, own: Option<&Pair>) -> Client {
    let root = Certificate::from_pem(root.pem().as_bytes()).expect("a certificate");
    let own = own.map(|pair| {
        let chain = [Certificate::from_pem(pair.cert.as_bytes()).expect("a certificate")];
        ClientCert::new_with_certs(&chain, PrivateKey::from_pem(pair.key.as_bytes()).expect("a key"))
    });
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(vec![root]))).client_cert(own).build();
    Client::with_tls(url, Duration::from_secs(20), tls)
}

#[test]
fn a_listener_shows_the_certificate_asked_for_and_lets_in_who_shows_a_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (by_address, by_name, clients) = (authority(), authority(), authority());
    write(folder.path(), "address", &signed(&by_address, "127.0.0.1"));
    write(folder.path(), "name", &signed(&by_name, "localhost"));
    std::fs::write(folder.path().join("clients.crt"), clients.pem()).expect("a file");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let more = format!(
        "tls:\n  api:\n    certificates:\n      - {{ cert_file: \"{}\", key_file: \"{}\" }}\n      - {{ cert_file: \"{}\", \
         key_file: \"{}\" }}\n    client_auth: required\n    client_ca_file: \"{}\"\n",
        path("address.crt"),
        path("address.key"),
        path("name.crt"),
        path("name.key"),
        path("clients.crt")
    );
    let fleet = Fleet::with(FleetOptions { more, ..FleetOptions::default() });
    let address = fleet.client.url.replace("http:", "https:");
    let name = address.replace("127.0.0.1", "localhost");
    let (mine, foreign) = (signed(&clients, "client"), signed(&by_name, "client"));

    let good = client(&address, &by_address, Some(&mine));
    good.done(&good.post("/indexes/films/documents", &json!([{"id": 1, "title": "Alien"}])));
    assert_eq!(good.post("/indexes/films/search", &json!({"q": "alien"})).ok()["hits"][0]["id"], 1);
    // Passed through to a node.
    assert_eq!(good.get("/indexes/films/settings/ranking-rules").status, 200);
    assert_eq!(client(&name, &by_name, Some(&mine)).get("/health").status, 200);

    let refused = |client: Client| client.try_send("GET", "/health", &[], b"").expect_err("no answer");
    refused(client(&address, &by_name, Some(&mine)));
    refused(client(&name, &by_address, Some(&mine)));
    refused(client(&address, &by_address, None));
    refused(client(&address, &by_address, Some(&foreign)));
    refused(Client::with_limit(&fleet.client.url, Duration::from_secs(20)));

    // A certificate of another authority: taken over when asked for, by new connections.
    let next = authority();
    write(folder.path(), "address", &signed(&next, "127.0.0.1"));
    assert_eq!(fleet.admin.post("/reload", &json!({})).status, 200);
    assert_eq!(client(&address, &next, Some(&mine)).get("/health").status, 200);
    refused(client(&address, &by_address, Some(&mine)));
    assert_eq!(good.get("/health").status, 200, "a connection that was open goes on");

    // A file of no use changes nothing.
    std::fs::write(folder.path().join("name.key"), "no key").expect("a file");
    let answer = fleet.admin.post("/reload", &json!({}));
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("name.key") && !answer.text.contains("no key in"), "{}", answer.text);
    assert_eq!(client(&name, &by_name, Some(&mine)).get("/health").status, 200);
    assert_eq!(client(&address, &next, Some(&mine)).get("/health").status, 200);
    let days = fleet.metrics.get("/metrics").text;
    assert_eq!(days.lines().filter(|line| line.starts_with("miroir_tls_certificate_days_left{")).count(), 2);
}
