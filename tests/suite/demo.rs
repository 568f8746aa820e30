//! `miroir demo`, as somebody who tries it for the first time runs it.

use std::process::{Command, Output};

use crate::support::corpus::{cities, ndjson};
use crate::support::fleet::MIROIR;
use crate::support::process::free_port;

fn demo(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("cities.ndjson");
    std::fs::write(&data, ndjson(&cities(300))).expect("a file");
    let mut command = Command::new(MIROIR);
    command.args(["demo", "--exit-after-load", "--port", &free_port().to_string(), "--data"]).arg(&data);
    command.args(arguments).output().expect("the program runs")
}

#[test]
fn a_demo_of_several_gateways_kills_the_one_that_leads_and_no_search_fails() {
    let output = demo(&["--gateways", "3"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let written = r#"[{"name":"Written through gateway-0"},{"name":"Written through gateway-1"},{"name":"Written through gateway-2"}]"#;
    assert_eq!(shown.matches(written).count(), 3, "{shown}");
    assert!(shown.contains("searches were answered and 0 failed"), "{shown}");
    let roles: Vec<&str> = shown.lines().rev().take(3).filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(roles.iter().filter(|role| **role == "follows").count(), 2, "{shown}");
    assert_eq!(roles.iter().filter(|role| **role == "leads").count(), 1, "{shown}");
}

#[test]
fn a_demo_of_one_gateway_needs_no_server_and_keeps_what_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_string_lossy().into_owned();
    let output = demo(&["--dir", &dir]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("4 processes: gateway (pid"), "{shown}");
    assert!(folder.path().join("miroir.db").exists());
    let refused = demo(&["--dir", &dir, "--gateways", "2"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("leave --dir out"), "{said}");
}
