//! `esbuild --serve` under `lwp run`, asked by an HTTP client of a few lines.

use crate::bundle::Bundle;
use crate::run::{ending, kill_group, pid, start, wait};
use crate::runner::Runner;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// For each step: far more than it takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Serves the reference bundle, asks for it, compares it, and ends the server with SIGTERM.
///
/// # Errors
/// It does not start, does not answer, answers wrongly, or does not die of the signal.
pub(crate) fn serve(bundle: &Bundle, runner: &Runner) -> Result<(), String> {
    let mut command = runner.command(&bundle.esbuild("netbsd-x64"));
    command
        .arg("--serve=127.0.0.1:0")
        .arg("--servedir=.")
        .current_dir(bundle.output("linux"));
    // It serves until its standard input ends: this pipe stays open as long as `child` lives.
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = start(&mut command)?;
    let outcome = ask(&mut child, bundle).and_then(|()| end(&mut child));
    kill_group(&child);
    let reaped = child.wait().map(drop).map_err(|why| format!("wait: {why}"));
    outcome.and(reaped)
}

fn ask(child: &mut Child, bundle: &Bundle) -> Result<(), String> {
    let lines = lines(child.stderr.take().expect("it is piped"));
    let address = address(&lines)?;
    for file in ["bundle.js", "bundle.js.map"] {
        let path = bundle.output("linux").join(file);
        let wanted = fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        let got = get(&address, file).map_err(|why| format!("GET /{file}: {why}"))?;
        if got != wanted {
            return Err(format!("GET /{file}: {} bytes, not the file's", got.len()));
        }
    }
    let missing = request(&address, "missing").map_err(|why| format!("GET /missing: {why}"))?;
    if missing.starts_with(b"HTTP/1.1 404 ") {
        Ok(())
    } else {
        Err("GET /missing: found".to_owned())
    }
}

/// Ends the server as Ctrl-C and init do, and expects the death of any program without a handler.
fn end(child: &mut Child) -> Result<(), String> {
    kill_process(pid(child), Signal::TERM).map_err(|why| format!("kill: {why}"))?;
    match wait(child, LIMIT)? {
        Some(status) if status.signal() == Some(Signal::TERM.as_raw()) => Ok(()),
        Some(status) => Err(format!("SIGTERM ended it with {}", ending(status))),
        None => Err("SIGTERM did not end it".to_owned()),
    }
}

/// The lines of `stderr` as they come; a thread reads them to the end.
fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Nobody listens after the address: the pipe is emptied all the same.
            let _listener_gone = sender.send(line);
        }
    });
    lines
}

/// The address in esbuild's line ` > Local: http://127.0.0.1:8000/`.
fn address(lines: &Receiver<String>) -> Result<String, String> {
    let mut said = String::new();
    loop {
        let line = lines
            .recv_timeout(LIMIT)
            .map_err(|_| format!("no address said: {said}"))?;
        if let Some((_, url)) = line.split_once("http://") {
            return Ok(url.trim_end().trim_end_matches('/').to_owned());
        }
        said += &line;
    }
}

/// The body of the answer to a GET, which must be found.
fn get(address: &str, path: &str) -> Result<Vec<u8>, String> {
    let answer = request(address, path)?;
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or("no header")?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(answer[end + 4..].to_vec())
    } else {
        Err(String::from_utf8_lossy(&answer[..end]).into_owned())
    }
}

/// The whole answer to a GET.
fn request(address: &str, path: &str) -> Result<Vec<u8>, String> {
    let mut answer = exchange(address, path).map_err(|why| why.to_string())?;
    // Go's server answers a client of 1.0 as HTTP/1.0.
    if answer.starts_with(b"HTTP/1.0 ") {
        answer[7] = b'1';
    }
    Ok(answer)
}

/// Sends the request and reads to the end: HTTP/1.0 asks for an answer in one piece.
fn exchange(address: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
