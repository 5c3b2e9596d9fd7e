//! The container image, as `scripts/image` packs it. What goes into it is a stand-in here: a release build takes
//! minutes.

#![allow(clippy::unwrap_used, reason = "a test fails loudly")]

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Output},
};

use serde_json::Value;
use testbed::harness::{Test, missing_program, run};

fn main() -> ExitCode {
    run(vec![
        Test::new(image_has_binary_and_sbom_unprivileged).requires(missing_program("buildah", "buildah")),
        Test::new(release_build_makes_the_same_archive_twice).requires(missing_program("buildah", "buildah")),
        Test::new(wrong_script_call_says_what_to_do),
        Test::new(docker_context_has_the_files_that_the_build_reads),
        Test::new(dockerfile_uses_the_crates_rust_version),
        Test::new(build_tools_have_exact_versions),
    ])
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn script(name: &str, arguments: &[&str], content: &Path) -> Output {
    Command::new(Path::new(ROOT).join("scripts").join(name))
        .args(arguments)
        .env("SANDGATE_CONTENT", content)
        .output()
        .unwrap()
}

/// Runs `tar` and gives what it prints.
fn tar(arguments: &[&str]) -> String {
    let output = Command::new("tar").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn image_has_binary_and_sbom_unprivileged() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["sandgate", "sandgate.cdx.json", "left-over"] {
        fs::write(folder.path().join(file), "a stand-in").unwrap();
    }
    let archive = folder.path().join("image.tar");
    let archive = archive.to_str().unwrap();
    let output = script("image", &[archive, "localhost/sandgate:test"], folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let manifest: Value = serde_json::from_str(&tar(&["-xOf", archive, "manifest.json"])).unwrap();
    assert_eq!(manifest[0]["RepoTags"][0], "localhost/sandgate:test");
    let config: Value =
        serde_json::from_str(&tar(&["-xOf", archive, manifest[0]["Config"].as_str().unwrap()])).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/sandgate"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["config"]["Labels"]["dev.sandgate.sbom"], "/sandgate.cdx.json");

    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    tar(&["-xf", archive, "-C", folder.path().to_str().unwrap(), layers[0].as_str().unwrap()]);
    let layer = folder.path().join(layers[0].as_str().unwrap());
    assert_eq!(tar(&["-tf", layer.to_str().unwrap()]), "sandgate\nsandgate.cdx.json\n");
}

fn release_build_makes_the_same_archive_twice() {
    let content = tempfile::tempdir().unwrap();
    for file in ["sandgate", "sandgate.cdx.json"] {
        fs::write(content.path().join(file), "a stand-in").unwrap();
    }
    let version = env!("CARGO_PKG_VERSION");
    let archives = [(); 2].map(|()| {
        let dist = tempfile::tempdir().unwrap();
        let output = script("release", &["build", "arm64", dist.path().to_str().unwrap()], content.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut files: Vec<_> = fs::read_dir(dist.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let archive = format!("sandgate_{version}_linux_arm64.tar.gz");
        assert_eq!(
            files,
            ["sandgate-image-arm64.tar", &*format!("sandgate_{version}_linux_arm64.cdx.json"), &*archive]
        );
        fs::read(dist.path().join(archive)).unwrap()
    });
    assert!(archives[0] == archives[1], "the archives differ");
}

fn docker_context_has_the_files_that_the_build_reads() {
    let ignore = fs::read_to_string(Path::new(ROOT).join(".dockerignore")).unwrap();
    let mut folders = vec![Path::new(ROOT).join("src"), Path::new(ROOT).join("engine/src")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let built = text.split("#[cfg(test)]").next().unwrap();
            if path.ends_with("rules/testing.rs") {
                continue;
            }
            for file in built.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let included = fs::canonicalize(path.parent().unwrap().join(file)).unwrap();
                let included = included.strip_prefix(fs::canonicalize(ROOT).unwrap()).unwrap();
                let top = included.iter().next().unwrap().to_str().unwrap();
                assert!(
                    ignore.lines().any(|line| line == format!("!{top}")),
                    ".dockerignore leaves out {top}"
                );
                read += 1;
            }
        }
    }
    assert!(read > 20, "{read}");
}

fn wrong_script_call_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |name: &str, arguments: &[&str], reason: &str| {
        let output = script(name, arguments, folder.path());
        assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), reason);
    };
    fails("image", &["/nowhere/image.tar"], "image: /nowhere is no folder: make it first");
    fails("static-binary", &["out", "mips"], "static-binary: no target for \"mips\": ARCH is amd64 or arm64");
}

fn dockerfile_uses_the_crates_rust_version() {
    let dockerfile = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(dockerfile.contains(&format!("FROM rust:{rust}.")), "Cargo.toml has {rust}");
}

fn build_tools_have_exact_versions() {
    let is_exact = |version: &str| {
        let parts: Vec<&str> = version.split('.').collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
    };
    let dockerfile = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    for base in bases.filter(|base| *base != "scratch") {
        let image = base.split(' ').next().unwrap();
        let version = image.split_once(':').map(|(_, tag)| tag.split('-').next().unwrap());
        assert!(image.contains("@sha256:") || version.is_some_and(is_exact), "{base}");
    }
    let installs = dockerfile.lines().filter(|line| line.contains("cargo install"));
    for install in installs {
        let version = install.split_once("--version ").map(|(_, rest)| rest.trim());
        assert!(install.contains("--locked") && version.is_some_and(is_exact), "{install}");
    }
    let packages =
        dockerfile.split("--no-install-recommends").skip(1).filter_map(|rest| rest.split("&&").next());
    for package in packages.flat_map(str::split_whitespace) {
        assert!(package.contains('='), "{package}");
    }
}
