//! Reuse of a descriptor: one LWP closes a descriptor that another is about to write to.
//!
//! The next pipe or file that anybody opens gets the same number, and what was meant for one goes to the other. Whoever
//! uses a descriptor has to keep it from being closed: here, writing and closing use one lock.

use crate::How;
use rt::check::Verdict;
use rt::lock::Mutex;
use rt::lwp::spawn;
use rt::sync::Word;
use rt::time::now;
use rt::{Errno, ensure, process};

/// Bytes that each of the two has to say.
const BYTES: u32 = 6;
const PUBLIC: u8 = b'p';
const SECRET: u8 = b's';

/// A pipe.
#[derive(Clone, Copy)]
struct Pipe {
    read: i32,
    write: i32,
}

/// The pipe to the public, until it is closed.
static LINE: Mutex<Option<Pipe>> = Mutex::new(None);
/// Bytes written.
static WRITTEN: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    *LINE.lock() = Some(Pipe::open()?);
    let speaker = spawn(move || {
        for _ in 0..BYTES {
            speak(how);
        }
    });
    let keeper = spawn(|| hang_up_and_confide().ok());
    speaker.join()?;
    let private = keeper.join()?;
    ensure!(private.is_some(), "no pipe");
    if let Some(pipe) = private {
        pipe.overheard()?;
    }
    Ok(())
}

/// Says something to the public, as long as there is a line.
fn speak(how: How) {
    match how {
        How::Bug => {
            let line = *LINE.lock();
            if let Some(line) = line {
                line.put(PUBLIC);
            }
        }
        How::Fixed => {
            let line = LINE.lock();
            if let Some(line) = *line {
                line.put(PUBLIC);
            }
        }
    }
}

/// Closes the line; then opens another pipe and writes secrets to it.
fn hang_up_and_confide() -> Result<Pipe, Errno> {
    let mut line = LINE.lock();
    if let Some(pipe) = line.take() {
        pipe.close();
    }
    drop(line);
    let private = Pipe::open()?;
    for _ in 0..BYTES {
        private.put(SECRET);
    }
    Ok(private)
}

impl Pipe {
    fn open() -> Result<Self, Errno> {
        let (read, write) = process::pipe()?;
        Ok(Self { read, write })
    }

    fn close(self) {
        // Both are open, and ours.
        let _ = process::close(self.write);
        let _ = process::close(self.read);
    }

    /// Writes a byte, if it still can be written.
    fn put(self, byte: u8) {
        if now() != 0 {
            WRITTEN.add();
        }
        while process::write(self.write, &[byte]) == Err(Errno::EINTR) {}
    }

    /// Reads all that was written: nothing but secrets.
    fn overheard(self) -> Verdict {
        // There is a reader, and nobody else who could write: the end of the pipe comes.
        let _ = process::close(self.write);
        let mut bytes = 0;
        let mut byte = [0];
        loop {
            match process::read(self.read, &mut byte) {
                Ok(0) => break,
                Ok(_) => bytes += 1,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let [byte] = byte;
            ensure!(
                byte == SECRET,
                "{:?} came to the wrong pipe",
                char::from(byte)
            );
        }
        ensure!(bytes == BYTES, "{bytes} bytes, not {BYTES}");
        Ok(())
    }
}
