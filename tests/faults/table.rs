//! `tests/faults.txt`: what is made to fail, and what must come of it.

use std::fmt::{self, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Start,
    Parent,
    Child,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    None,
    Inherited,
    Connected,
    Full,
    Idle,
    Headless,
    Any,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    First,
    Second,
    Third,
    Fifth,
    Some,
    Every,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    Serves,
    Again,
    Late,
    Either,
    Client,
    Warns,
    Drain,
    Gone,
    Fatal,
    Bug,
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    pub line: usize,
    pub place: Where,
    pub call: String,
    pub options: Vec<String>,
    pub setup: Setup,
    pub when: Vec<When>,
    pub errors: Vec<String>,
    pub demand: Demand,
}

impl When {
    /// As strace has it.
    pub fn of_strace(self) -> &'static str {
        match self {
            When::First => "1",
            When::Second => "2",
            When::Third => "3",
            When::Fifth => "5",
            When::Some => "2..10+2",
            When::Every => "1..5",
        }
    }

    /// Whether it is the how-manieth call, counted from 1.
    pub fn applies(self) -> fn(u32) -> bool {
        match self {
            When::First => |count| count == 1,
            When::Second => |count| count == 2,
            When::Third => |count| count == 3,
            When::Fifth => |count| count == 5,
            When::Some => |count| count % 2 == 0 && count <= 10,
            When::Every => |count| count <= 5,
        }
    }
}

impl Row {
    pub fn cases(&self) -> impl Iterator<Item = (&Row, When, &str)> {
        let cases = move |when| {
            self.errors
                .iter()
                .map(move |error| (self, when, error.as_str()))
        };
        self.when.iter().copied().flat_map(cases)
    }

    /// Whether a client can just be there while others come.
    pub fn room_for_two(&self) -> bool {
        self.setup != Setup::Idle && !self.options.iter().any(|option| option == "-c")
    }

    /// What a fatal message calls it.
    pub fn called(&self) -> &str {
        match self.call.as_str() {
            "getsockopt" | "fcntl" => "standard input",
            // That there is a descriptor for a client.
            "dup" if self.setup == Setup::None => "accept",
            // One name for what architectures have under two.
            "mmap,mmap2" => "mmap",
            "setresgid" => "setgid",
            "setresuid" => "setuid",
            call => call.trim_start_matches("rt_"),
        }
    }
}

pub fn rows() -> Vec<Row> {
    let lines = include_str!("../faults.txt").lines().zip(1..);
    let rows = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    rows.map(|(line, number)| {
        row(line, number).unwrap_or_else(|| panic!("faults.txt:{number}: {line}"))
    })
    .collect()
}

fn row(text: &str, line: usize) -> Option<Row> {
    let fields: Vec<&str> = text.split('|').map(str::trim).collect();
    let [place, call, options, when, errors, demand] = fields[..] else {
        return None;
    };
    let (options, setup) = options.split_once('+').unwrap_or((options, ""));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Some(Row {
        line,
        place: match place {
            "start" => Where::Start,
            "parent" => Where::Parent,
            "child" => Where::Child,
            _ => return None,
        },
        call: call.to_owned(),
        options: words(options),
        setup: match setup.trim() {
            "" => Setup::None,
            "inherited" => Setup::Inherited,
            "connected" => Setup::Connected,
            "full" => Setup::Full,
            "idle" => Setup::Idle,
            "headless" => Setup::Headless,
            "any" => Setup::Any,
            "ended" => Setup::Ended,
            _ => return None,
        },
        when: when.split_whitespace().map(moment).collect::<Option<_>>()?,
        errors: words(errors),
        demand: match demand {
            "serves" => Demand::Serves,
            "again" => Demand::Again,
            "late" => Demand::Late,
            "either" => Demand::Either,
            "client" => Demand::Client,
            "warns" => Demand::Warns,
            "drain" => Demand::Drain,
            "gone" => Demand::Gone,
            "fatal" => Demand::Fatal,
            "bug" => Demand::Bug,
            _ => return None,
        },
    })
}

fn moment(word: &str) -> Option<When> {
    Some(match word {
        "first" => When::First,
        "second" => When::Second,
        "third" => When::Third,
        "fifth" => When::Fifth,
        "some" => When::Some,
        "every" => When::Every,
        _ => return None,
    })
}

/// The errors that strace cannot play.
pub fn number(error: &str) -> i32 {
    match error {
        "EBADF" => libc::EBADF,
        "EDQUOT" => libc::EDQUOT,
        "EINTR" => libc::EINTR,
        "EIO" => libc::EIO,
        "ENOSPC" => libc::ENOSPC,
        _ => panic!("{error}: what number?"),
    }
}

/// The table as it turned out; an error that did not end as demanded is marked.
pub fn matrix(rows: &[Row], failures: &[(usize, When, &str)]) -> String {
    let mut matrix = String::new();
    let mut all = 0;
    for row in rows {
        for &when in &row.when {
            let mark = |error: &String| {
                let failed = failures.contains(&(row.line, when, error.as_str()));
                format!("{}{error}", if failed { "FAILED:" } else { "" })
            };
            let errors: Vec<String> = row.errors.iter().map(mark).collect();
            all += errors.len();
            writeln!(
                matrix,
                "{:6} {:19} {:16} {:6} {:6} {}",
                row.place.to_string(),
                row.call,
                row.circumstances(),
                when.to_string(),
                row.demand.to_string(),
                errors.join(" "),
            )
            .unwrap();
        }
    }
    writeln!(matrix, "{all} cases, {} not as demanded", failures.len()).unwrap();
    matrix
}

impl Row {
    fn circumstances(&self) -> String {
        let mut words = self.options.clone();
        if self.setup != Setup::None {
            words.push(format!("+{}", self.setup));
        }
        words.join(" ")
    }
}

/// Each as the table spells it.
macro_rules! spelled {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&format!("{self:?}").to_lowercase())
            }
        }
    )*};
}

spelled!(Where, Setup, When, Demand);
