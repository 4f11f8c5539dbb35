//! Builds the NetBSD programs of `guests/` and says where they lie, so that `guests.rs` can embed
//! them.
//!
//! They are a workspace of their own (another kind of program, another set of linker flags), so a
//! nested cargo builds them, in a target directory of its own: the outer one is locked while this
//! runs. What the environment says about flags and targets is meant for the runner, and is kept
//! from it; flags come from `guests/.cargo/config.toml`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that are embedded: the `[[bin]]`s of `guests/Cargo.toml`.
const GUESTS: &[&str] = &[
    "hello", "demo", "bench", "abi", "sig", "lwp", "park", "storm", "fork", "io", "event", "regs",
];

/// Where the programs come from, relative to this package.
const SOURCES: &[&str] = &[
    "build.rs",
    "../../guests/.cargo",
    "../../guests/Cargo.lock",
    "../../guests/Cargo.toml",
    "../../guests/bugs",
    "../../guests/linux",
    "../../guests/rt",
    "../../guests/src",
    "../../Cargo.toml",
    "../abi/Cargo.toml",
    "../abi/src",
];

/// The target that `guests/.cargo/config.toml` sets.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let target_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("guests");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", package.join(source).display());
    }
    build(&package.join("../../guests"), &target_dir);
    let built = target_dir.join(TARGET).join("release");
    for name in GUESTS {
        embed(
            &format!("LWP_GUEST_{}", name.to_uppercase()),
            &built.join(name),
        );
    }
    embed("LWP_HELLO_LINUX", &built.join("examples/hello-linux"));
}

/// Says where a program lies, by the variable that `guests.rs` reads.
fn embed(variable: &str, path: &Path) {
    assert!(path.is_file(), "{} was not built", path.display());
    println!("cargo::rustc-env={variable}={}", path.display());
}

/// Runs the nested cargo.
fn build(workspace: &Path, target_dir: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args([
            "build",
            "--release",
            "--locked",
            "--bins",
            "--examples",
            "--quiet",
            "--target-dir",
        ])
        .arg(target_dir);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_for_the_runner) {
            command.env_remove(name);
        }
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "building the guest programs: {status}");
}

/// Whether a variable says how to build the runner, or is left over from it.
fn is_for_the_runner(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        // Under clippy and coverage tools the runner's wrapper is no compiler for guests.
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
    ];
    const PREFIXES: &[&str] = &[
        "CARGO_TARGET_",
        "CARGO_PROFILE_",
        "CARGO_FEATURE_",
        "CARGO_CFG_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
