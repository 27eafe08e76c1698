//! The rules of ARCHITECTURE.md that a compiler does not hold: who may import whom, and what a core never sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

/// Which of our crates each crate may import. A crate that is not named here may not exist.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("bicast-shared", &[]),
    ("bicast-sfu", &["bicast-shared"]),
    ("bicast-packager", &["bicast-shared"]),
    ("bicast-signaling", &["bicast-shared"]),
    ("bicast-publish", &["bicast-shared"]),
    ("bicast-load", &["bicast-shared"]),
    ("bicast-line", &["bicast-shared"]),
    (
        "bicast",
        &[
            "bicast-shared",
            "bicast-sfu",
            "bicast-packager",
            "bicast-signaling",
            "bicast-publish",
            "bicast-load",
            "bicast-line",
        ],
    ),
    ("bicast-tests", &["bicast", "bicast-load", "bicast-shared"]),
    (
        "bicast-bench",
        &["bicast", "bicast-shared", "bicast-sfu", "bicast-packager", "bicast-signaling", "bicast-load"],
    ),
];

/// What no file under a `core/` folder may name outside its tests, and why.
const NOT_IN_A_CORE: [(&str, &str); 15] = [
    ("tokio", "a core is told things, it does not wait for them"),
    ("async fn", "a core is told things, it does not wait for them"),
    (".await", "a core is told things, it does not wait for them"),
    ("axum", "a core knows no HTTP server"),
    ("hyper", "a core knows no HTTP server"),
    ("std::net::Udp", "a core owns no socket"),
    ("std::net::Tcp", "a core owns no socket"),
    ("UdpSocket", "a core owns no socket"),
    ("std::fs", "a core opens no file"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("clock::", "time is an argument"),
    ("Mutex", "a core has one owner, so it needs no lock"),
    ("RwLock", "a core has one owner, so it needs no lock"),
    ("thread::", "a core has no threads"),
];

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let imports = workspace_imports().unwrap();
    let known: Vec<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    for (name, ours) in &imports {
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(crate_name, _)| crate_name == name) else {
            panic!("{name} is a new crate: say in MAY_IMPORT what it may import ({known:?} are known)");
        };
        for import in ours {
            assert!(
                allowed.contains(&import.as_str()),
                "{name} imports {import}; it may import only {allowed:?}"
            );
        }
    }
    assert_eq!(imports.len(), MAY_IMPORT.len(), "a crate is gone: {:?}", imports.keys());
}

#[test]
fn nothing_under_a_core_folder_has_a_clock_a_runtime_a_socket_or_a_lock() {
    let mut files = 0;
    for file in core_files().unwrap() {
        files += 1;
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in code_lines(&text) {
            for (word, why) in NOT_IN_A_CORE {
                assert!(
                    !line.contains(word),
                    "{}:{number}: {word:?} in a core: {why}\n  {line}",
                    file.display()
                );
            }
        }
    }
    assert!(
        files > 10,
        "only {files} files under core/ folders: does this test still look in the right place?"
    );
}

/// Our crates and which of ours each imports (not for its tests only).
fn workspace_imports() -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(bicast_tests::root())
        .output()?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours: Vec<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut imports = BTreeMap::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().context("no dependencies")?;
        let names = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| text(&dependency["name"]))
            .filter(|name| ours.contains(name))
            .collect();
        imports.insert(text(&package["name"]), names);
    }
    Ok(imports)
}

/// The sources that are pure by the architecture: every `core/` folder, and shared's pure pieces. Files of tests (the
/// packager's `simulation` is one of them) may do what they like.
fn core_files() -> anyhow::Result<Vec<PathBuf>> {
    let root = bicast_tests::root();
    let mut files = Vec::new();
    for room in ["shared", "sfu", "packager", "signaling", "publish", "load", "line", "gateway"] {
        walk(&root.join(room).join("src"), &mut files)?;
    }
    let pure_in_shared =
        ["feed/owner", "feed/ring.rs", "feed/info.rs", "id.rs", "time.rs", "media.rs", "packet.rs"];
    files.retain(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // From the root on: what the checkout's own folders are called says nothing.
        let path = format!("/{}", file.strip_prefix(&root).unwrap_or(file).display());
        let pure = path.contains("/core/")
            || pure_in_shared.iter().any(|piece| path.starts_with(&format!("/shared/src/{piece}")));
        pure && !name.contains("test") && !path.contains("/tests/") && !path.contains("/simulation/")
    });
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The lines of code with their numbers: without comments, and without the tests at the file's end.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

/// Dashboard and alerts of `deploy/` draw what the process really counts: a renamed counter would leave an empty plot that nobody sees.
#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_counted_somewhere() {
    let root = bicast_tests::root();
    let mut counted = String::new();
    for room in ["shared", "sfu", "packager", "signaling", "gateway"] {
        let mut files = Vec::new();
        walk(&root.join(room).join("src"), &mut files).unwrap();
        for file in files {
            counted += &std::fs::read_to_string(file).unwrap();
        }
    }
    let mut named = std::collections::BTreeSet::new();
    for file in ["deploy/grafana/dashboards/bicast.json", "deploy/prometheus/rules.yml"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        named.extend(words.filter(|word| word.starts_with("bicast_")).map(str::to_owned));
    }
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let base =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        assert!(counted.contains(&format!("\"{base}\"")), "{name} is counted nowhere");
    }
}
