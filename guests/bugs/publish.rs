//! Published before it is initialised: a connection is counted as open before it has its descriptors.
//!
//! Whoever goes through the open ones meets one that is not. A thing is made first, and shown to others last.

use crate::How;
use core::sync::atomic::{AtomicI32, Ordering};
use rt::check::{Fail, Verdict};
use rt::lwp::spawn;
use rt::sync::Word;
use rt::{Errno, ensure, process};

const CONNECTIONS: usize = 4;

/// A pipe; -1 stands for no descriptor.
struct Connection {
    read: AtomicI32,
    write: AtomicI32,
}

static CONNECTIONS_MADE: [Connection; CONNECTIONS] = [const {
    Connection {
        read: AtomicI32::new(-1),
        write: AtomicI32::new(-1),
    }
}; CONNECTIONS];

/// The first so many are open.
static OPEN: Word = Word::new();

pub(crate) fn run(how: How) -> Verdict {
    let opener = spawn(move || open_all(how).is_ok());
    let greeter = spawn(|| (0..CONNECTIONS).map(|_| greet_all()).sum::<usize>());
    ensure!(opener.join()?, "no pipe");
    ensure!(
        greeter.join()? == 0,
        "wrote to a connection that is not open"
    );
    Ok(())
}

fn open_all(how: How) -> Result<(), Errno> {
    for connection in &CONNECTIONS_MADE {
        match how {
            How::Bug => {
                OPEN.add();
                connection.open()?;
            }
            How::Fixed => {
                connection.open()?;
                OPEN.add();
            }
        }
    }
    Ok(())
}

impl Connection {
    fn open(&self) -> Result<(), Errno> {
        let (read, write) = process::pipe()?;
        self.read.store(read, Ordering::Relaxed);
        self.write.store(write, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a byte; again, if a signal comes between.
    fn greet(&self) -> Result<(), Fail> {
        loop {
            match process::write(self.write.load(Ordering::Relaxed), b"!") {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Greets every connection that is open: how many could not be written to.
fn greet_all() -> usize {
    let open = usize::try_from(OPEN.get()).unwrap_or(0);
    let greeted = CONNECTIONS_MADE[..open].iter().map(Connection::greet);
    greeted.filter(Result::is_err).count()
}
