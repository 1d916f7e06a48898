//! What a run says while it lasts.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

pub struct Progress {
    begin: Instant,
    on_terminal: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            on_terminal: stderr().is_terminal(),
        }
    }

    /// On a terminal each of these lines takes the place of the one before. A file has
    /// all of them.
    pub fn say(&self, text: &str) {
        let seconds = self.begin.elapsed().as_secs();
        if self.on_terminal {
            eprint!("\r{seconds:5} s  {text:78}");
        } else {
            eprintln!("{seconds:5} s  {text}");
        }
    }

    /// A line that stays.
    pub fn keep(&self, text: &str) {
        self.say(text);
        if self.on_terminal {
            eprintln!();
        }
    }
}
