//! What is written about the configuration is true: the page, the examples and the chart name the keys that exist, with
//! the defaults that they have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;

/// Keys that have no default, so an example cannot show it.
const NO_DEFAULT: &[&str] = &[
    "master_key",
    "master_key_file",
    "admin_key",
    "admin_key_file",
    "node_key",
    "node_key_file",
    "state_password",
    "state_password_file",
    "gateway.id",
    "gateway.peer_listen",
    "gateway.peer_url",
    "cluster_secret",
    "cluster_secret_file",
    "search.zone",
    "traces.endpoint",
    "traces.authorization",
    "cluster.shards",
    "cluster.placement",
    "cluster.nodes",
    "cluster.nodes[0].id",
    "cluster.nodes[0].url",
    "cluster.nodes[0].zone",
    "tls.api.client_ca_file",
    "tls.admin.client_ca_file",
    "tls.metrics.client_ca_file",
    "tls.peers.client_ca_file",
    "tls.to_peers.ca_file",
    "tls.to_peers.cert_file",
    "tls.to_peers.key_file",
    "tls.to_peers.server_name",
    "tls.nodes.ca_file",
    "tls.nodes.cert_file",
    "tls.nodes.key_file",
    "tls.nodes.server_name",
];

pub(super) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn text_of(path: &str) -> String {
    std::fs::read_to_string(here(path)).expect("the file is there")
}

pub(super) fn yaml(text: &str) -> Value {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn one_node() -> Value {
    json!([{ "id": "a", "url": "http://a:7700" }])
}

pub(super) fn smallest() -> Value {
    json!({ "cluster": { "nodes": one_node() } })
}

/// The environment of an example: a key of it is always `a-key`, and a pod knows its name, its address and what gateways know.
pub(super) fn environment(name: &str) -> Option<String> {
    let pod = [("POD_NAME", "gateway-0"), ("POD_IP", "10.0.0.5"), ("MIROIR_CLUSTER_SECRET", "a-secret")];
    let own = pod.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    own.or_else(|| name.ends_with("_KEY").then(|| "a-key".to_owned()))
}

/// All that the file sets, as a text to compare: two files that mean the same have the same.
fn meaning(file: &Value) -> Result<String, Problems> {
    let (config, _) = Config::parse(&file.to_string(), Path::new(""), &environment)?;
    Ok(format!("{config:#?}"))
}

/// Every key that the file may have, but Pingora's own: `write.timeout`, `cluster.nodes[0].id`. Without the sections.
pub(super) fn keys() -> BTreeSet<String> {
    let report = Report::default();
    model::read(Section::new("", smallest(), &report), &|_| Ok(String::new()));
    let all = report.keys();
    let is_section = |key: &str| all.iter().any(|other| other.starts_with(&format!("{key}.")));
    all.iter().filter(|key| !is_section(key) && *key != "pingora").cloned().collect()
}

/// Sets what stands at `write.timeout` or `cluster.nodes[0].weight`.
pub(super) fn set(file: &mut Value, key: &str, value: Value) {
    let mut place = file;
    for step in key.split('.') {
        place = match step.strip_suffix("[0]") {
            Some(list) => &mut place[list][0],
            None => &mut place[step],
        };
    }
    *place = value;
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The keys in the tables of the page with their defaults; none where the page says in words what holds.
fn documented(page: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let (names, defaults) = (quoted(cells[1]), quoted(cells[2]));
        for (place, name) in names.iter().enumerate() {
            // The table of a node's keys leaves out where they stand.
            let node = format!("cluster.nodes[0].{name}");
            let key = if keys().contains(&node) { node } else { (*name).to_owned() };
            found.push((key, defaults.get(place).map(|default| (*default).to_owned())));
        }
    }
    found
}

#[test]
fn the_page_has_every_key_with_its_default() {
    let page = text_of("docs/configuration.md");
    let documented = documented(&page);
    let real = meaning(&smallest()).expect("one node is enough");
    for (key, default) in &documented {
        let Some(default) = default else { continue };
        let mut file = smallest();
        set(&mut file, key, yaml(default));
        let said = meaning(&file).unwrap_or_else(|problems| panic!("the page says {default} of {key}: {problems}"));
        assert_eq!(said, real, "the page says {default} of {key}, which is not its default");
    }
    let named: BTreeSet<&String> = documented.iter().map(|(key, _)| key).collect();
    for key in keys().iter().filter(|key| !key.ends_with("_file")) {
        assert!(named.contains(key), "the page does not have {key}");
        let has_default = documented.iter().any(|(name, default)| name == key && default.is_some());
        assert_eq!(has_default, !NO_DEFAULT.contains(&key.as_str()), "the default of {key} on the page");
    }
    for key in keys().iter().filter(|key| key.ends_with("_file")) {
        assert!(page.contains(&format!("`{key}`")), "the page does not have {key}");
    }
    for key in named.iter().filter(|key| !key.starts_with("pingora.")) {
        assert!(keys().contains(*key), "{key} is on the page and does not exist");
    }
}

/// A line that is commented out: `# threads: 4`, and the same without the `#`.
fn without_comment(line: &str) -> Option<String> {
    let text = line.trim_start();
    let setting = text.strip_prefix("# ")?;
    let (key, value) = setting.split_once(": ")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let indent = &line[..line.len() - text.len()];
    (is_key && !value.starts_with(' ')).then(|| format!("{indent}{setting}"))
}

#[test]
fn the_full_example_has_every_key_with_its_default() {
    let text = text_of("conf/miroir.yaml");
    let mut file = yaml(&text);
    for key in keys().iter().filter(|key| !NO_DEFAULT.contains(&key.as_str())) {
        let pointer = format!("/{}", key.replace("[0]", ".0").replace('.', "/"));
        assert!(file.pointer(&pointer).is_some(), "conf/miroir.yaml does not have {key}");
    }
    file["cluster"]["nodes"] = one_node();
    assert_eq!(meaning(&file).expect("the example is right"), meaning(&smallest()).expect("one node is enough"));
}

#[test]
fn what_an_example_has_as_a_comment_is_a_setting_that_exists() {
    for name in ["conf/miroir.yaml", "conf/minimal.yaml"] {
        let mut comments = 0;
        let example = text_of(name);
        let lines = example.lines().map(|line| {
            let setting = without_comment(line);
            comments += usize::from(setting.is_some());
            setting.unwrap_or_else(|| line.to_owned())
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("secrets")).expect("a folder");
        std::fs::write(folder.path().join("secrets/admin-key"), "a-key").expect("a file");
        if let Err(problems) = Config::parse(&text, folder.path(), &environment) {
            panic!("{name} with its comments as settings: {problems}");
        }
        assert_eq!(comments > 0, name == "conf/miroir.yaml", "{name} has {comments} settings as comments");
    }
}

#[test]
fn the_charts_values_are_settings_and_the_defaults_but_for_the_logs() {
    for name in ["values.yaml", "ci/own-nodes-values.yaml", "ci/with-meilisearch-values.yaml"] {
        let values = yaml(&text_of(&format!("charts/miroir/{name}")));
        let Some(config) = values.get("config") else { continue };
        let mut file = config.clone();
        file["cluster"]["nodes"] = one_node();
        let mut expected = smallest();
        if let Some(format) = config.pointer("/log/format") {
            // Machines read the logs of a pod.
            assert_eq!(format, "json", "{name}");
            set(&mut expected, "log.format", format.clone());
        }
        let said = meaning(&file).unwrap_or_else(|problems| panic!("{name}: {problems}"));
        assert_eq!(said, meaning(&expected).expect("one node is enough"), "{name}");
    }
}

#[test]
fn the_charts_template_names_keys_that_exist() {
    let template = text_of("charts/miroir/templates/configmap.yaml");
    let (_, file) = template.split_once("miroir.yaml: |\n").expect("the file is in the template");
    // Lines of Helm's are left out, and what it fills in is a number.
    let lines = file.lines().filter(|line| !line.trim_start().starts_with("{{"));
    let filled = lines.map(|line| match line.split_once("{{") {
        Some((before, _)) => format!("{before}3"),
        None => line.to_owned(),
    });
    let mut file = yaml(&filled.collect::<Vec<_>>().join("\n"));
    file["cluster"]["nodes"] = one_node();
    if let Err(problems) = meaning(&file) {
        panic!("charts/miroir/templates/configmap.yaml: {problems}");
    }
}
