//! Listeners of the kernel's event stream, several at a time.

use lwp_kernel::events::{Event, Listener};
use std::sync::Arc;

/// Tells each of them, in this order.
struct All(Vec<Arc<dyn Listener>>);

impl Listener for All {
    fn event(&self, event: &Event) {
        for each in &self.0 {
            each.event(event);
        }
    }
}

/// One listener that stands for all of them; none for none.
pub(crate) fn all(mut listeners: Vec<Arc<dyn Listener>>) -> Option<Arc<dyn Listener>> {
    match listeners.len() {
        0 | 1 => listeners.pop(),
        _ => Some(Arc::new(All(listeners))),
    }
}
