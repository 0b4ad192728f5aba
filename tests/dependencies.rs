//! What the program is built from: every crate comes from crates.io, and its licence lets the program be passed on under
//! Apache-2.0.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Licences that ask for nothing but to be named.
const LICENSES: &[&str] =
    &["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "Unicode-3.0", "Unlicense", "Zlib"];
/// What lifts a duty only.
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

fn is_allowed(requirement: &LicenseReq) -> bool {
    let has_allowed_licence = requirement.license.id().is_some_and(|license| LICENSES.contains(&license.name));
    let addition = requirement.addition.as_ref();
    let has_allowed_addition =
        addition.is_none_or(|addition| addition.id().is_some_and(|exception| EXCEPTIONS.contains(&exception.name)));
    has_allowed_licence && has_allowed_addition
}

/// What is wrong with a package of `cargo metadata`; `None`: nothing.
fn objection(package: &Value) -> Option<String> {
    let text = |name: &str| package[name].as_str().unwrap_or_default();
    let name = format!("{} {}", text("name"), text("version"));
    // The program itself has none.
    if !package["source"].is_null() && text("source") != SOURCE {
        return Some(format!("{name} does not come from crates.io, but from {}", text("source")));
    }
    match Expression::parse_mode(text("license"), ParseMode::LAX) {
        Ok(license) if license.evaluate(is_allowed) => None,
        Ok(license) => Some(format!("{name} has the licence {license}")),
        Err(error) => Some(format!("{name} has a licence that cannot be read: {error}")),
    }
}

/// The packages that are compiled here, for the program, its build or its tests.
fn packages() -> Vec<Value> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform", &target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let array = |value: &Value| value.as_array().cloned().expect("an array");
    let nodes = array(&metadata["resolve"]["nodes"]);
    let compiled: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let is_compiled = |package: &Value| package["id"].as_str().is_some_and(|id| compiled.contains(id));
    array(&metadata["packages"]).into_iter().filter(is_compiled).collect()
}

#[test]
fn every_dependency_comes_from_the_registry_under_a_licence_that_is_allowed() {
    let packages = packages();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let objections: Vec<String> = packages.iter().filter_map(objection).collect();
    assert_eq!(objections, Vec::<String>::new());
}

#[test]
fn what_is_not_allowed_is_found() {
    let package = |source: &str, license: &str| {
        objection(&serde_json::json!({"name": "a", "version": "1.0.0", "source": source, "license": license}))
    };
    assert_eq!(package(SOURCE, "MIT/Apache-2.0"), None);
    assert_eq!(package(SOURCE, "GPL-3.0-only OR MIT"), None);
    for license in ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "Apache-2.0 WITH Classpath-exception-2.0", "", "none"] {
        assert!(package(SOURCE, license).is_some(), "{license}");
    }
    assert!(package("git+https://example.org/a.git#1234", "MIT").is_some());
    assert!(package("registry+https://example.org/index", "MIT").is_some());
}
