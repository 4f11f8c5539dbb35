//! Timelines: what happened to each LWP of a run, kept while it happens and drawn when it is over.
//!
//! | file | what |
//! |---|---|
//! | `recorder` | the listener: bounded buffers, one for each vcpu |
//! | `history` | intervals out of moments: running, parked, in which call, woken by whom |
//! | `page` | a history as one page of HTML that needs nothing else (`page.html`, `page.js`, `page.css`) |
//! | `perfetto` | a history in Perfetto's own format |
//!
//! Nothing here knows the host: it reads the kernel's event stream, and makes bytes of it.
#![forbid(unsafe_code)]

pub mod counts;
pub mod history;
pub mod page;
pub mod perfetto;
pub mod recorder;

pub use counts::{Counts, Population};
pub use history::History;
pub use recorder::Recorder;

/// What is said of the program at the head of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name and arguments.
    pub words: String,
    /// Its process id.
    pub pid: i32,
}
