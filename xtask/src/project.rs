//! Where things are, and the binaries that cargo makes of them.

use crate::run::cannot_run;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A clone of the project and its target directory.
pub(crate) struct Project {
    root: PathBuf,
    target: PathBuf,
}

impl Project {
    /// Finds the project this xtask was built from.
    ///
    /// # Errors
    /// Cargo is missing or cannot read the workspace.
    pub(crate) fn open() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root
            .parent()
            .expect("xtask is a directory of the project")
            .to_path_buf();
        let metadata = output(cargo(&root).args(["metadata", "--no-deps", "--format-version=1"]))?;
        let target = json_field(&metadata, "target_directory")
            .ok_or("cargo metadata names no target directory")?;
        Ok(Self {
            root,
            target: target.into(),
        })
    }

    /// A file or directory of the sources.
    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Something below the target directory.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// What tests fetch, and nothing else, lies here.
    pub(crate) fn cache(&self, path: &str) -> PathBuf {
        self.target.join("cache").join(path)
    }

    /// Where the output of the run called `name` is kept, without its extension.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.target.join("test-logs").join(name)
    }

    /// Cargo, to be run in the project's workspace.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// Builds `lwp`, optimised as users get it, and says where it is.
    ///
    /// # Errors
    /// It does not build.
    pub(crate) fn lwp(&self) -> Result<PathBuf, String> {
        sole(build(self.cargo().args([
            "build",
            "--release",
            "--package=lwp",
            "--bin=lwp",
        ]))?)
    }

    /// Builds `lwp` as it is when the environment sets RUSTFLAGS, which replaces the flags of
    /// `.cargo/config.toml`: dynamic, and in its own target directory.
    ///
    /// # Errors
    /// It does not build.
    pub(crate) fn lwp_with_rustflags(&self) -> Result<PathBuf, String> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--release", "--package=lwp", "--bin=lwp"]);
        cargo
            .env("RUSTFLAGS", "-Dwarnings")
            .env("CARGO_TARGET_DIR", self.target("rustflags"));
        sole(build(&mut cargo)?)
    }

    /// Builds the guest programs and says where they are.
    ///
    /// # Errors
    /// One does not build.
    pub(crate) fn guests(&self) -> Result<Vec<PathBuf>, String> {
        let mut cargo = self.guests_cargo();
        build(cargo.args(["build", "--release"]))
    }

    /// Builds the guests; where the one called `name` is.
    pub(crate) fn guest(&self, name: &str) -> Result<PathBuf, String> {
        let found = self
            .guests()?
            .into_iter()
            .find(|guest| guest.ends_with(name));
        found.ok_or_else(|| format!("there is no guest called {name}"))
    }

    /// Cargo, to be run in the guests' own workspace: its flags are in a file there, which a
    /// RUSTFLAGS of ours would replace.
    pub(crate) fn guests_cargo(&self) -> Command {
        let mut cargo = cargo(&self.source("guests"));
        cargo.env("CARGO_TARGET_DIR", self.target("guests"));
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        cargo
    }
}

fn cargo(directory: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(directory);
    cargo
}

/// Runs a cargo build and collects the executables it made.
fn build(cargo: &mut Command) -> Result<Vec<PathBuf>, String> {
    let messages = output(cargo.arg("--message-format=json-render-diagnostics"))?;
    Ok(messages
        .lines()
        .filter_map(|line| json_field(line, "executable"))
        .map(Into::into)
        .collect())
}

/// The standard output of a command that must succeed; its standard error is the user's to read.
fn output(command: &mut Command) -> Result<String, String> {
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| cannot_run(command, &why))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        Err("cargo failed, see above".to_owned())
    }
}

fn sole(mut made: Vec<PathBuf>) -> Result<PathBuf, String> {
    match made.pop() {
        Some(one) if made.is_empty() => Ok(one),
        _ => Err("cargo did not build exactly one program".to_owned()),
    }
}

/// The value of the string field `name` in one line of cargo's JSON.
///
/// Cargo's paths are all we read: a whole JSON parser would be a dependency for two words.
fn json_field(json: &str, name: &str) -> Option<String> {
    let (_, after) = json.split_once(&format!("\"{name}\":\""))?;
    let mut value = String::new();
    let mut letters = after.chars();
    loop {
        match letters.next()? {
            '"' => return Some(value),
            '\\' => value.push(letters.next()?),
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::json_field;

    #[test]
    fn a_field_is_found_and_unescaped() {
        let line = r#"{"a":1,"executable":"/x \"y\"/z","b":null}"#;
        assert_eq!(
            json_field(line, "executable").as_deref(),
            Some("/x \"y\"/z")
        );
        assert_eq!(json_field(r#"{"executable":null}"#, "executable"), None);
        assert_eq!(json_field(r#"{"executable":"cut"#, "executable"), None);
    }
}
