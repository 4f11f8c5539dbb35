//! One run of esbuild, and what it must be equal to.
//!
//! The reference is what esbuild for Linux, of the same version, makes of the same project, run
//! natively in the same directory. Outputs lie beside each other at the same depth, since the
//! source map holds relative paths.

use crate::project::Project;
use crate::run::run;
use crate::runner::Runner;
use crate::setup::{copy_files, npm, remove};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// More than a hundred times what a run takes.
const LIMIT: Duration = Duration::from_secs(90);

/// What the paths of the packages that the project imports begin with (d3 is made of many): each
/// must be found in the bundle.
const PACKAGES: [&str; 5] = ["three/", "react-dom/", "lodash-es/", "d3-", "rxjs/"];

/// The project to bundle, with its reference made.
pub(crate) struct Bundle {
    modules: PathBuf,
}

impl Bundle {
    /// Fetches what the project needs and makes the reference.
    ///
    /// # Errors
    /// A package cannot be fetched, or esbuild for Linux fails, or its bundle is not the one meant.
    pub(crate) fn prepare(project: &Project) -> Result<Self, String> {
        let modules = npm(project)?;
        copy_files(
            &project.source("xtask/setup/bundle"),
            &modules.join("project"),
        )?;
        let bundle = Self { modules };
        let linux = bundle.esbuild("linux-x64");
        run(
            bundle.arguments(&mut Command::new(linux), "linux"),
            LIMIT,
            &project.log("linux"),
        )?
        .success()
        .map_err(|why| format!("esbuild for Linux: {why}"))?;
        let map = bundle.read("linux", "bundle.js.map")?;
        let map = String::from_utf8_lossy(&map);
        match PACKAGES
            .iter()
            .find(|name| !map.contains(&format!("/node_modules/{name}")))
        {
            None => Ok(bundle),
            Some(name) => Err(format!("the bundle holds nothing of {name}")),
        }
    }

    /// Bundles under `runner` and compares; says what was written to standard error.
    ///
    /// # Errors
    /// It fails, hangs, or writes one byte that the reference has not.
    pub(crate) fn run(
        &self,
        project: &Project,
        runner: &Runner,
        name: &str,
    ) -> Result<String, String> {
        remove(&self.output(name))?;
        let mut command = runner.command(&self.esbuild("netbsd-x64"));
        let done = run(
            self.arguments(&mut command, name),
            LIMIT,
            &project.log(name),
        )?
        .success()?;
        for file in ["bundle.js", "bundle.js.map"] {
            same(&self.read("linux", file)?, &self.read(name, file)?)
                .map_err(|why| format!("{file} differs from that of esbuild for Linux: {why}"))?;
        }
        // Kept only for whom it may concern: failures.
        remove(&self.output(name))?;
        Ok(done.stderr)
    }

    /// The esbuild for `system`.
    pub(crate) fn esbuild(&self, system: &str) -> PathBuf {
        self.modules
            .join("node_modules/@esbuild")
            .join(system)
            .join("bin/esbuild")
    }

    /// The directory of the output called `name`; the reference's is called `linux`.
    pub(crate) fn output(&self, name: &str) -> PathBuf {
        self.modules.join("out").join(name)
    }

    fn arguments<'c>(&self, esbuild: &'c mut Command, name: &str) -> &'c mut Command {
        esbuild
            .args(["main.ts", "--bundle", "--minify", "--sourcemap"])
            .arg(format!("--outfile=../out/{name}/bundle.js"))
            .current_dir(self.modules.join("project"))
    }

    fn read(&self, name: &str, file: &str) -> Result<Vec<u8>, String> {
        let path: &Path = &self.output(name).join(file);
        fs::read(path).map_err(|why| format!("{}: {why}", path.display()))
    }
}

fn same(wanted: &[u8], got: &[u8]) -> Result<(), String> {
    if wanted == got {
        return Ok(());
    }
    let at = wanted
        .iter()
        .zip(got)
        .take_while(|(wanted, got)| wanted == got)
        .count();
    Err(format!(
        "at byte {at}; {} bytes instead of {}",
        got.len(),
        wanted.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(same(b"same", b"same"), Ok(()));
        assert_eq!(
            same(b"same", b"sane"),
            Err("at byte 2; 4 bytes instead of 4".to_owned())
        );
        assert_eq!(
            same(b"same", b"sam"),
            Err("at byte 3; 3 bytes instead of 4".to_owned())
        );
        assert_eq!(
            same(b"", b"x"),
            Err("at byte 0; 1 bytes instead of 0".to_owned())
        );
    }
}
