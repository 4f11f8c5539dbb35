//! A headless Chromium with one page, driven by its own protocol over two pipes.
//!
//! Sources: the DevTools protocol (`--remote-debugging-pipe`): JSON, each message ended by NUL, in by
//! descriptor 3, out by 4. A shell moves standard input and output there.

use crate::project::Project;
use crate::run::{kill_group, start};
use crate::setup;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Many times what the slowest answer takes.
const LIMIT: Duration = Duration::from_mins(1);
/// No sandbox: as root there can be none, and the pages are ours. No GPU is needed.
const OPTIONS: [&str; 7] = [
    "--headless=shell",
    "--no-sandbox",
    "--no-zygote",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// The page, and the browser that shows it; both are gone when this is dropped.
pub(crate) struct Browser {
    chromium: Child,
    to: ChildStdin,
    said: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// What the page's program has thrown.
    thrown: Option<String>,
}

impl Browser {
    /// Starts the browser with an empty page of this size.
    ///
    /// # Errors
    /// It cannot be fetched, or does not start.
    pub(crate) fn start(project: &Project, (width, height): (u32, u32)) -> Result<Self, String> {
        let directory = setup::chromium(project)?;
        let profile = project.target("timeline/profile");
        setup::remove(&profile)?;
        let mut shell = Command::new("sh");
        shell
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            ])
            .arg(directory.join("chromium"))
            .args(OPTIONS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .env("LD_LIBRARY_PATH", directory.join("lib"))
            .env("FONTCONFIG_FILE", directory.join("fonts.conf"))
            // Where the cache of fonts comes to lie.
            .current_dir(&directory);
        let mut chromium = start(shell.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (Some(to), Some(from)) = (chromium.stdin.take(), chromium.stdout.take()) else {
            return Err("Chromium has no pipes".to_owned());
        };
        let mut browser = Self {
            chromium,
            to,
            said: listen(from),
            next: 1,
            session: None,
            thrown: None,
        };
        let size = json!({"url": "about:blank", "width": width, "height": height});
        let target = browser.call("Target.createTarget", &size)?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        browser.call("Page.enable", &json!({}))?;
        browser.call("Runtime.enable", &json!({}))?;
        Ok(browser)
    }

    /// Opens a file, and waits until the page is loaded and was drawn.
    ///
    /// # Errors
    /// The page's program fails.
    pub(crate) fn open(&mut self, file: &Path) -> Result<(), String> {
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", &json!({ "url": url }))?;
        while self.message()?["method"] != "Page.loadEventFired" {}
        self.settle()
    }

    /// Waits until what is due has been drawn.
    ///
    /// # Errors
    /// Those of [`Browser::eval`].
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))";
        self.eval(frames).map(drop)
    }

    /// The value of an expression in the page.
    ///
    /// # Errors
    /// It, or anything in the page before, has thrown.
    pub(crate) fn eval(&mut self, expression: &str) -> Result<Value, String> {
        let ask = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let said = self.call("Runtime.evaluate", &ask)?;
        if let Some(thrown) = said.get("exceptionDetails").map(exception) {
            return Err(format!("{expression}: {thrown}"));
        }
        match self.thrown.take() {
            None => Ok(said["result"]["value"].clone()),
            Some(thrown) => Err(thrown),
        }
    }

    /// Turns the wheel over a point, with Ctrl held or not.
    ///
    /// # Errors
    /// The browser is gone.
    pub(crate) fn wheel(&mut self, (x, y): (u32, u32), by: i32, ctrl: bool) -> Result<(), String> {
        let event = json!({
            "type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": by,
            "modifiers": if ctrl { 2 } else { 0 },
        });
        self.call("Input.dispatchMouseEvent", &event).map(drop)
    }

    /// Moves the mouse to a point.
    ///
    /// # Errors
    /// The browser is gone.
    pub(crate) fn point(&mut self, (x, y): (u32, u32)) -> Result<(), String> {
        let event = json!({"type": "mouseMoved", "x": x, "y": y});
        self.call("Input.dispatchMouseEvent", &event).map(drop)
    }

    /// Types a key, by the name it has in the page.
    ///
    /// # Errors
    /// The browser is gone.
    pub(crate) fn key(&mut self, key: &str) -> Result<(), String> {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({"type": kind, "key": key}))?;
        }
        Ok(())
    }

    /// Makes a picture of the page, in a PNG file.
    ///
    /// # Errors
    /// It cannot be made, or written.
    pub(crate) fn picture(&mut self, file: &Path) -> Result<(), String> {
        let said = self.call("Page.captureScreenshot", &json!({"format": "png"}))?;
        let png = STANDARD.decode(said["data"].as_str().unwrap_or_default());
        let png = png.map_err(|why| format!("the picture: {why}"))?;
        fs::write(file, png).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// Calls a method of the protocol; its result.
    fn call(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        let id = self.next;
        self.next += 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let sent = self.to.write_all(format!("{message}\0").as_bytes());
        sent.map_err(|why| format!("Chromium: {why}"))?;
        loop {
            let said = self.message()?;
            if said["id"] != id {
                continue;
            }
            return match said.get("error") {
                None => Ok(said["result"].clone()),
                Some(why) => Err(format!("{method}: {why}")),
            };
        }
    }

    /// The next that it says.
    fn message(&mut self) -> Result<Value, String> {
        let said = self.said.recv_timeout(LIMIT);
        let said = said.map_err(|_| "Chromium is gone, or says nothing more".to_owned())?;
        if said["method"] == "Runtime.exceptionThrown" {
            self.thrown = Some(exception(&said["params"]["exceptionDetails"]));
        }
        Ok(said)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_group(&self.chromium);
        let _status = self.chromium.wait();
    }
}

fn exception(details: &Value) -> String {
    let text = &details["exception"]["description"];
    text.as_str()
        .map_or_else(|| details.to_string(), ToOwned::to_owned)
}

/// What the browser says, as it comes; a thread reads it to the end.
fn listen(from: ChildStdout) -> Receiver<Value> {
    let (sender, said) = channel();
    thread::spawn(move || {
        for message in BufReader::new(from).split(0) {
            let parsed = message.ok().and_then(|it| serde_json::from_slice(&it).ok());
            if parsed.is_none_or(|message| sender.send(message).is_err()) {
                return;
            }
        }
    });
    said
}
