//! Certificates made for the test, read from files as an operator's are.

use std::path::{Path, PathBuf};

use pingora::protocols::ALPN;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;
use super::expiry::{Expiry, doubt};
use super::listeners::{Listeners, check};
use super::nodes::NodeTls;
use super::settings::{CertificateFiles, ClientAuth, ListenerSettings, NodeSettings, TlsSettings};

/// Writes a certificate for `names`, good for `days`, as `{label}.crt` and `{label}.key`.
fn written(folder: &Path, label: &str, names: &[&str], days: i64) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = OffsetDateTime::now_utc() - Duration::days(400);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days) + Duration::hours(1);
    let key = KeyPair::generate().unwrap();
    let files = CertificateFiles {
        cert_file: folder.join(format!("{label}.crt")),
        key_file: folder.join(format!("{label}.key")),
    };
    std::fs::write(&files.cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key_file, key.serialize_pem()).unwrap();
    files
}

fn authority(folder: &Path) -> PathBuf {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = folder.join("ca.crt");
    std::fs::write(&file, issuer.pem()).unwrap();
    file
}

fn api(certificates: Vec<CertificateFiles>) -> TlsSettings {
    TlsSettings { api: ListenerSettings { certificates, ..ListenerSettings::default() }, ..TlsSettings::default() }
}

fn expiry(registry: &prometheus::Registry) -> Expiry {
    Expiry::register(registry).unwrap()
}

#[test]
fn a_certificate_is_for_its_names_and_one_label_below_a_star() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path(), "a", &["Search.example.org", "*.shops.example.org"], 90);
    let certificate = Certificate::read(&files).unwrap();
    for (name, fits) in [
        ("search.example.org", true),
        ("SEARCH.example.org", true),
        ("a.shops.example.org", true),
        ("shops.example.org", false),
        ("a.b.shops.example.org", false),
        (".shops.example.org", false),
        ("example.org", false),
    ] {
        assert_eq!(certificate.is_for(name), fits, "{name}");
    }
}

#[test]
fn a_file_of_no_use_is_named_with_what_is_wrong_and_none_of_its_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (one, two) = (written(folder.path(), "one", &["a"], 90), written(folder.path(), "two", &["b"], 90));
    std::fs::write(path("empty"), "").unwrap();
    std::fs::write(path("garbled"), "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n").unwrap();
    let said = |cert_file: &PathBuf, key_file: &PathBuf| {
        let files = CertificateFiles { cert_file: cert_file.clone(), key_file: key_file.clone() };
        Certificate::read(&files).unwrap_err().to_string()
    };
    for (cert, key, expected) in [
        (&path("none"), &one.key_file, "cannot read `"),
        (&path("empty"), &one.key_file, "has no certificate in PEM"),
        (&path("garbled"), &one.key_file, "garbled`: "),
        (&one.cert_file, &path("empty"), "has no private key in PEM"),
        (&one.cert_file, &two.key_file, "not the key of `"),
        (&one.cert_file, &one.cert_file, "has no private key in PEM"),
    ] {
        let said = said(cert, key);
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("secret") && !said.contains("BEGIN"), "{said}");
    }
}

#[test]
fn reading_again_takes_over_all_files_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(folder.path(), "a", &["a.example.org"], 90);
    let admin = written(folder.path(), "b", &["b.example.org"], 90);
    let mut settings = api(vec![files.clone()]);
    settings.admin.certificates = vec![admin.clone()];
    let registry = prometheus::Registry::new();
    let listeners = Listeners::open(&settings, expiry(&registry)).unwrap();
    assert!(
        listeners.of("api", ALPN::H2H1).is_some()
            && listeners.of("admin", ALPN::H1).is_some()
            && listeners.of("metrics", ALPN::H1).is_none()
    );
    let days = || -> Vec<i64> {
        let families = registry.gather();
        families[0].get_metric().iter().map(|metric| metric.get_gauge().get_value() as i64).collect()
    };
    assert_eq!(days(), [90, 90]);

    written(folder.path(), "a", &["a.example.org"], 200);
    std::fs::write(&admin.key_file, "nothing").unwrap();
    assert!(listeners.reload().unwrap_err().to_string().contains("b.key"));
    assert_eq!(days(), [90, 90]);

    written(folder.path(), "b", &["b.example.org"], 300);
    listeners.reload().unwrap();
    let mut after = days();
    after.sort_unstable();
    assert_eq!(after, [200, 300]);
}

#[test]
fn certificates_that_end_soon_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let doubt_of = |days| doubt(&Certificate::read(&written(folder.path(), "a", &["a"], days)).unwrap(), now);
    assert_eq!(doubt_of(31), None);
    assert!(doubt_of(29).unwrap().ends_with("in 29 days"));
    assert!(doubt_of(-2).unwrap().contains("has ended on"));
    let soon = written(folder.path(), "a", &["a"], 3);
    let warnings = check(&api(vec![soon]), now).unwrap();
    assert_eq!((warnings.len(), warnings[0].0.as_str()), (1, "tls.api"));
}

#[test]
fn what_is_wrong_with_each_section_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let good = written(folder.path(), "a", &["a"], 90);
    let missing = || folder.path().join("none");
    let mut settings = api(vec![good.clone()]);
    settings.api.client_auth = ClientAuth::Required;
    settings.api.client_ca_file = Some(missing());
    settings.nodes = NodeSettings { ca_file: Some(missing()), ..NodeSettings::default() };
    let errors = check(&settings, OffsetDateTime::now_utc()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["tls.api", "tls.nodes"]);
    // What gateways show each other is looked at as well.
    settings.peers = ListenerSettings {
        certificates: vec![CertificateFiles { cert_file: missing(), key_file: missing() }],
        ..ListenerSettings::default()
    };
    settings.to_peers = NodeSettings { ca_file: Some(missing()), ..NodeSettings::default() };
    let errors = check(&settings, OffsetDateTime::now_utc()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["tls.api", "tls.peers", "tls.nodes", "tls.to_peers"]);
    settings.peers = ListenerSettings::default();
    settings.to_peers = NodeSettings::default();

    let ca = authority(folder.path());
    settings.api.client_ca_file = Some(ca.clone());
    settings.nodes = NodeSettings { ca_file: Some(ca), certificate: Some(good), server_name: Some("n".to_owned()) };
    assert!(check(&settings, OffsetDateTime::now_utc()).unwrap().is_empty());
    let mut peer = pingora::upstreams::peer::HttpPeer::new("127.0.0.1:1", true, "host".to_owned());
    NodeTls::open(&settings.nodes).unwrap().apply(&mut peer);
    assert_eq!(peer.sni, "n");
    assert!(peer.client_cert_key.is_some());
    assert_eq!(peer.options.ca.map(|authorities| authorities.len()), Some(1));
    let mut plain = pingora::upstreams::peer::HttpPeer::new("127.0.0.1:1", false, String::new());
    NodeTls::open(&settings.nodes).unwrap().apply(&mut plain);
    assert!(plain.client_cert_key.is_none() && plain.sni.is_empty());
}
