//! How much of everything is measured: the whole, a quick look, or the comparison
//! of two editions.

use std::time::Duration;

use crate::load::Text;

/// How often to measure: all rivals, and those that a budget names.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub all: u32,
    pub focus: u32,
}

pub const ONCE: Rounds = Rounds { all: 1, focus: 1 };

pub struct Plan {
    /// Whether to spend minutes on a little more: waiting until the system is quiet,
    /// stepping through peers.
    pub thorough: bool,
    pub time: Rounds,
    /// How long one time measurement lasts.
    pub slice: Duration,
    pub round_trips: usize,
    pub memory: Rounds,
    /// Idle clients for the memory figures.
    pub idle: &'static [usize],
    pub growth: Rounds,
    /// Idle clients beside which others come and go.
    pub company: &'static [usize],
}

/// Many short rounds rather than few long ones: what drifts from one second to the next
/// is not in a ratio of neighbours, and the interval of a median gets smaller with the
/// rounds.
pub const FULL: Plan = Plan {
    thorough: true,
    time: Rounds { all: 9, focus: 31 },
    slice: Duration::from_millis(100),
    round_trips: 2_000,
    memory: Rounds { all: 1, focus: 5 },
    idle: &[1_000, 10_000],
    growth: Rounds { all: 1, focus: 5 },
    company: &[0, 100, 1_000, 10_000],
};

/// Few rivals, so even more and shorter rounds.
pub const COMPARE: Plan = Plan {
    thorough: true,
    time: Rounds { all: 41, focus: 41 },
    slice: Duration::from_millis(80),
    round_trips: 1_500,
    memory: Rounds { all: 1, focus: 5 },
    idle: &[1_000, 10_000],
    growth: Rounds { all: 1, focus: 5 },
    company: &[1_000, 10_000],
};

pub const QUICK: Plan = Plan {
    thorough: false,
    time: Rounds { all: 1, focus: 3 },
    slice: Duration::from_millis(60),
    round_trips: 500,
    memory: ONCE,
    idle: &[1_000],
    growth: ONCE,
    company: &[0, 1_000],
};

/// The comparison in a minute: enough to see that it runs.
pub const QUICK_COMPARE: Plan = Plan {
    time: Rounds { all: 5, focus: 5 },
    memory: Rounds { all: 5, focus: 5 },
    growth: Rounds { all: 5, focus: 5 },
    company: &[1_000],
    ..QUICK
};

/// Clients at once.
pub const CROWDS: [usize; 3] = [1, 4, 16];

/// The kinds of bulk text: the name of their measure, and what the report calls it.
pub const TEXTS: [(&str, &str, Text); 3] = [
    ("bulk lines", "bulk, lines of 80 bytes", Text::Lines80),
    ("bulk one line", "bulk, one long line", Text::OneLine),
    ("bulk random", "bulk, random bytes", Text::Random),
];
