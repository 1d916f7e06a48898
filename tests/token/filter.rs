//! A seccomp filter read as a set of rules, and an interpreter that runs it as
//! the kernel does: bpf(2) of old ("classic"), seccomp(2).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use libc::sock_filter;

use crate::support::Random;

const X86_64: u32 = 0xc000_003e;
/// Other architectures of the same machine, of others, of none.
const FOREIGN: [u32; 8] = [
    0,
    0x4000_0003,
    0xc000_00b7,
    0x4000_0028,
    0xc000_00f3,
    0x8000_0016,
    X86_64 & !0x8000_0000,
    u32::MAX,
];

/// A call of x32 has this bit: another table of the same architecture.
const X32: u32 = 0x4000_0000;

/// Far above the last call that Linux has today.
const NUMBERS: std::ops::RangeInclusive<u32> = 0..=1023;

/// `struct seccomp_data`: the call's number, the architecture, where it comes
/// from, six arguments, as words of 32 bits; low halves first.
type Data = [u32; 16];
const NUMBER: usize = 0;
const ARCH: usize = 1;
const ARGUMENTS: usize = 4;

/// What is asked of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    word: usize,
    mask: u32,
    test: Test,
    value: u32,
    /// Whether the answer has to be yes.
    holds: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    Equal,
    Greater,
    AtLeast,
    AnyBit,
}

impl Test {
    fn is_true(self, word: u32, value: u32) -> bool {
        match self {
            Test::Equal => word == value,
            Test::Greater => word > value,
            Test::AtLeast => word >= value,
            Test::AnyBit => word & value != 0,
        }
    }

    fn of(operation: u32) -> Self {
        match operation {
            libc::BPF_JEQ => Test::Equal,
            libc::BPF_JGT => Test::Greater,
            libc::BPF_JGE => Test::AtLeast,
            libc::BPF_JSET => Test::AnyBit,
            other => panic!("a jump by {other:#x}"),
        }
    }
}

impl Condition {
    fn is_true(&self, data: &Data) -> bool {
        let word = data[self.word] & self.mask;
        self.test.is_true(word, self.value) == self.holds
    }

    /// The one value that the word can have.
    fn only_value(&self) -> Option<u32> {
        let only = self.holds && self.test == Test::Equal && self.mask == u32::MAX;
        only.then_some(self.value)
    }
}

/// How a call passes, or with what it ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    verdict: u32,
    conditions: Vec<Condition>,
}

/// Of each number that may pass: all ways. What is on no way ends the process.
pub struct Rules {
    of_number: BTreeMap<u32, Vec<Rule>>,
    /// Every value that a word is compared with, whatever comes of it.
    borders: BTreeMap<u32, BTreeMap<usize, BTreeSet<u32>>>,
}

/// Where it ends the process (or the only thread that there is).
fn ends(verdict: u32) -> bool {
    let action = verdict & libc::SECCOMP_RET_ACTION_FULL;
    action == libc::SECCOMP_RET_KILL_PROCESS || action == libc::SECCOMP_RET_KILL_THREAD
}

impl Rules {
    /// Follows the filter both ways wherever it looks at an argument.
    pub fn of(filter: &[sock_filter]) -> Self {
        let mut rules = Rules {
            of_number: BTreeMap::new(),
            borders: BTreeMap::new(),
        };
        for number in NUMBERS.flat_map(|number| [number, number | X32]) {
            let mut ways = Vec::new();
            let borders = rules.borders.entry(number).or_default();
            let start = Way {
                at: 0,
                loaded: Loaded::Constant(0),
                conditions: Vec::new(),
            };
            follow(filter, number, start, &mut ways, borders);
            ways.retain(|rule| !ends(rule.verdict));
            ways.sort();
            ways.dedup();
            if !ways.is_empty() {
                rules.of_number.insert(number, ways);
            }
        }
        rules
    }

    fn verdict(&self, data: &Data) -> Option<u32> {
        if data[ARCH] != X86_64 {
            return None;
        }
        let ways = self.of_number.get(&data[NUMBER])?.iter();
        let mut ways = ways.filter(|rule| rule.conditions.iter().all(|one| one.is_true(data)));
        ways.next().map(|rule| rule.verdict)
    }

    /// Runs the filter with everything that could make a difference; returns how
    /// often.
    #[track_caller]
    pub fn assert_exact(&self, filter: &[sock_filter], random: &mut Random) -> usize {
        let mut probes = 0;
        let mut assert_same = |data: &Data| {
            probes += 1;
            let verdict = run(filter, data);
            let found = (!ends(verdict)).then_some(verdict);
            assert_eq!(found, self.verdict(data), "{data:x?}");
        };
        let numbers = NUMBERS.flat_map(|number| [number, number | X32]);
        for number in numbers.clone() {
            for _ in 0..3 {
                assert_same(&some_data(number, X86_64, random));
            }
            for arch in FOREIGN {
                let data = some_data(number, arch, random);
                assert_same(&data);
                assert!(
                    ends(run(filter, &data)),
                    "of another architecture: {data:x?}"
                );
            }
            // In all words that are looked at, all values beside those that are
            // looked for, in all combinations.
            let mut all = vec![some_data(number, X86_64, random)];
            for (&word, values) in &self.borders[&number] {
                let near = values.iter().flat_map(|&value| {
                    [
                        value,
                        value.wrapping_sub(1),
                        value.wrapping_add(1),
                        value ^ 0x8000_0000,
                    ]
                });
                let mut values: BTreeSet<u32> = near.collect();
                values.extend([0, 1, i32::MAX as u32, 1 << 31, u32::MAX]);
                let vary = |data: &Data| -> Vec<Data> {
                    let with = |&value: &u32| {
                        let mut data = *data;
                        data[word] = value;
                        data
                    };
                    values.iter().map(with).collect()
                };
                all = all.iter().flat_map(vary).collect();
            }
            all.iter().for_each(&mut assert_same);
        }
        for number in [u32::MAX, 1 << 31, X32 - 1, 1024, 65536] {
            let data = some_data(number, X86_64, random);
            assert_same(&data);
            assert!(ends(run(filter, &data)), "{data:x?}");
        }
        let x32 = self.of_number.keys().find(|&&number| number & X32 != 0);
        assert_eq!(x32, None, "a call of x32 passes");
        probes
    }

    /// As a text, a rule a line.
    pub fn list(&self, token: u64) -> String {
        let mut list = String::new();
        for (&number, ways) in &self.of_number {
            for rule in ways {
                let name = name(number).unwrap_or_else(|| format!("call {number}"));
                list += &name;
                let conditions = describe(&rule.conditions, &name, token);
                if !conditions.is_empty() {
                    write!(list, "({})", conditions.join(", ")).unwrap();
                }
                if rule.verdict != libc::SECCOMP_RET_ALLOW {
                    write!(list, ": {:#x}", rule.verdict).unwrap();
                }
                list.push('\n');
            }
        }
        list
    }
}

fn some_data(number: u32, arch: u32, random: &mut Random) -> Data {
    let mut data = [0; 16].map(|_: u32| {
        let bytes = [(); 4].map(|()| random.byte());
        u32::from_ne_bytes(bytes)
    });
    data[NUMBER] = number;
    data[ARCH] = arch;
    data
}

/// What the accumulator has.
#[derive(Clone, Copy)]
enum Loaded {
    Constant(u32),
    Word { word: usize, mask: u32 },
}

/// A way through the filter, so far.
#[derive(Clone)]
struct Way {
    at: usize,
    loaded: Loaded,
    conditions: Vec<Condition>,
}

fn follow(
    filter: &[sock_filter],
    number: u32,
    mut way: Way,
    ways: &mut Vec<Rule>,
    borders: &mut BTreeMap<usize, BTreeSet<u32>>,
) {
    loop {
        let step = &filter[way.at];
        way.at += 1;
        let code = u32::from(step.code);
        match code & 7 {
            libc::BPF_LD if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                assert!(step.k.is_multiple_of(4) && step.k < 64, "{}", step.k);
                way.loaded = match step.k as usize / 4 {
                    NUMBER => Loaded::Constant(number),
                    ARCH => Loaded::Constant(X86_64),
                    word => Loaded::Word {
                        word,
                        mask: u32::MAX,
                    },
                };
            }
            libc::BPF_ALU if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => {
                way.loaded = match way.loaded {
                    Loaded::Constant(value) => Loaded::Constant(value & step.k),
                    Loaded::Word { word, mask } => Loaded::Word {
                        word,
                        mask: mask & step.k,
                    },
                };
            }
            libc::BPF_JMP if code == libc::BPF_JMP | libc::BPF_JA => way.at += step.k as usize,
            libc::BPF_JMP if code & libc::BPF_X == 0 => {
                let test = Test::of(code & 0xf0);
                let (yes, no) = (way.at + step.jt as usize, way.at + step.jf as usize);
                match way.loaded {
                    Loaded::Constant(value) => {
                        way.at = if test.is_true(value, step.k) { yes } else { no };
                    }
                    Loaded::Word { word, mask } => {
                        borders.entry(word).or_default().insert(step.k);
                        for (at, holds) in [(yes, true), (no, false)] {
                            let mut way = way.clone();
                            way.at = at;
                            way.conditions.push(Condition {
                                word,
                                mask,
                                test,
                                value: step.k,
                                holds,
                            });
                            if is_possible(&mut way.conditions) {
                                follow(filter, number, way, ways, borders);
                            }
                        }
                        return;
                    }
                }
            }
            libc::BPF_RET if code & 0x18 == libc::BPF_K => {
                ways.push(Rule {
                    verdict: step.k,
                    conditions: way.conditions,
                });
                return;
            }
            _ => panic!(
                "instruction {}: {code:#x} is not understood here",
                way.at - 1
            ),
        }
    }
}

/// Whether a call can be like that; leaves out what follows from the rest.
fn is_possible(conditions: &mut Vec<Condition>) -> bool {
    conditions.sort();
    conditions.dedup();
    let known: BTreeMap<usize, u32> = conditions
        .iter()
        .filter_map(|one| Some((one.word, one.only_value()?)))
        .collect();
    let mut data = [0; 16];
    for (&word, &value) in &known {
        data[word] = value;
    }
    let is_known = |one: &Condition| known.contains_key(&one.word);
    if !conditions
        .iter()
        .all(|one| !is_known(one) || one.is_true(&data))
    {
        return false;
    }
    conditions.retain(|one| one.only_value().is_some() || !is_known(one));
    true
}

/// The filter's verdict, as the kernel's interpreter finds it.
fn run(filter: &[sock_filter], data: &Data) -> u32 {
    let (mut a, mut x, mut memory, mut at) = (0u32, 0u32, [0u32; 16], 0);
    loop {
        let step = &filter[at];
        at += 1;
        let (code, k) = (u32::from(step.code), step.k);
        let operand = if code & libc::BPF_X != 0 { x } else { k };
        match code & 7 {
            libc::BPF_LD => {
                a = match code & 0xe0 {
                    libc::BPF_IMM => k,
                    libc::BPF_ABS => data[k as usize / 4],
                    libc::BPF_MEM => memory[k as usize],
                    libc::BPF_LEN => 64,
                    mode => panic!("a load of mode {mode:#x}"),
                }
            }
            libc::BPF_LDX => {
                x = match code & 0xe0 {
                    libc::BPF_IMM => k,
                    libc::BPF_MEM => memory[k as usize],
                    libc::BPF_LEN => 64,
                    mode => panic!("a load of mode {mode:#x}"),
                }
            }
            libc::BPF_ST => memory[k as usize] = a,
            libc::BPF_STX => memory[k as usize] = x,
            libc::BPF_ALU => {
                a = match code & 0xf0 {
                    libc::BPF_ADD => a.wrapping_add(operand),
                    libc::BPF_SUB => a.wrapping_sub(operand),
                    libc::BPF_MUL => a.wrapping_mul(operand),
                    libc::BPF_DIV => match a.checked_div(operand) {
                        Some(result) => result,
                        None => return 0,
                    },
                    libc::BPF_OR => a | operand,
                    libc::BPF_AND => a & operand,
                    libc::BPF_XOR => a ^ operand,
                    libc::BPF_LSH => a.checked_shl(operand).unwrap_or(0),
                    libc::BPF_RSH => a.checked_shr(operand).unwrap_or(0),
                    libc::BPF_NEG => a.wrapping_neg(),
                    other => panic!("an operation {other:#x}"),
                }
            }
            libc::BPF_JMP if code & 0xf0 == libc::BPF_JA => at += k as usize,
            libc::BPF_JMP => {
                let holds = Test::of(code & 0xf0).is_true(a, operand);
                at += usize::from(if holds { step.jt } else { step.jf });
            }
            libc::BPF_RET => return if code & 0x18 == libc::BPF_A { a } else { k },
            // BPF_MISC: from the one to the other.
            _ if code & 0xf8 == 0 => x = a,
            _ => a = x,
        }
    }
}

/// A rule's conditions in words.
fn describe(conditions: &[Condition], call: &str, token: u64) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = conditions.to_vec();
    for argument in 0..6 {
        let (low, high) = (ARGUMENTS + 2 * argument, ARGUMENTS + 2 * argument + 1);
        let only = |word| {
            let mut of_word = conditions.iter().filter(|one| one.word == word);
            of_word.next().and_then(Condition::only_value)
        };
        let place = format!("argument {}", argument + 1);
        match (only(low), only(high)) {
            (Some(low_half), Some(high_half)) => {
                rest.retain(|one| one.word != low && one.word != high);
                let value = u64::from(high_half) << 32 | u64::from(low_half);
                if value == token {
                    words.push(format!("{place} is the token"));
                } else {
                    words.push(format!("{place} is {}", value_of(call, argument, value)));
                }
            }
            (Some(half), None) => {
                rest.retain(|one| one.word != low);
                let value = if half == token as u32 {
                    "that of the token".to_owned()
                } else {
                    value_of(call, argument, half.into())
                };
                words.push(format!("lower half of {place} is {value}"));
            }
            _ => {}
        }
    }
    for one in rest {
        let not = if one.holds { "" } else { "not " };
        let test = match one.test {
            Test::Equal => "is",
            Test::Greater => "greater than",
            Test::AtLeast => "at least",
            Test::AnyBit => "has a bit of",
        };
        let argument = one.word.saturating_sub(ARGUMENTS) / 2 + 1;
        let half = ["lower", "upper"][one.word % 2];
        let mask = if one.mask == u32::MAX {
            String::new()
        } else {
            format!(" & {:#x}", one.mask)
        };
        let value = one.value;
        words.push(format!(
            "{half} half of argument {argument}{mask} {not}{test} {value:#x}"
        ));
    }
    words
}

/// What a value is called there.
fn value_of(call: &str, argument: usize, value: u64) -> String {
    let name = match (call, argument, value) {
        ("ioctl", 1, 0x5411) => "TIOCOUTQ",
        ("setsockopt", 1, 1) => "SOL_SOCKET",
        ("setsockopt", 2, 20) => "SO_RCVTIMEO",
        ("setsockopt", 2, 21) => "SO_SNDTIMEO",
        ("setsockopt", 2, 66) => "SO_RCVTIMEO_NEW",
        ("setsockopt", 2, 67) => "SO_SNDTIMEO_NEW",
        ("sendto", 3, 0x40) => "MSG_DONTWAIT",
        ("sendto", 3, 0x4040) => "MSG_DONTWAIT|MSG_NOSIGNAL",
        ("futex", 1, 0) => "FUTEX_WAIT",
        ("futex", 1, 128) => "FUTEX_WAIT_PRIVATE",
        ("clone", 0, 17) => "SIGCHLD",
        ("wait4", 2, 1) => "WNOHANG",
        ("setitimer", 0, 0) => "ITIMER_REAL",
        ("clock_gettime", 0, 1) => "CLOCK_MONOTONIC",
        _ if value > 0xffff => return format!("{value:#x}"),
        _ => return value.to_string(),
    };
    name.to_owned()
}

/// The names of what a server may still call.
fn name(number: u32) -> Option<String> {
    let name = match i64::from(number) {
        libc::SYS_accept => "accept",
        libc::SYS_accept4 => "accept4",
        libc::SYS_alarm => "alarm",
        libc::SYS_clock_gettime => "clock_gettime",
        libc::SYS_clock_nanosleep => "clock_nanosleep",
        libc::SYS_clone => "clone",
        libc::SYS_close => "close",
        libc::SYS_exit => "exit",
        libc::SYS_exit_group => "exit_group",
        libc::SYS_futex => "futex",
        libc::SYS_gettimeofday => "gettimeofday",
        libc::SYS_ioctl => "ioctl",
        libc::SYS_kill => "kill",
        libc::SYS_madvise => "madvise",
        libc::SYS_munmap => "munmap",
        libc::SYS_nanosleep => "nanosleep",
        libc::SYS_pause => "pause",
        libc::SYS_poll => "poll",
        libc::SYS_ppoll => "ppoll",
        libc::SYS_pselect6 => "pselect6",
        libc::SYS_read => "read",
        libc::SYS_recvfrom => "recvfrom",
        libc::SYS_restart_syscall => "restart_syscall",
        libc::SYS_rt_sigprocmask => "rt_sigprocmask",
        libc::SYS_rt_sigreturn => "rt_sigreturn",
        libc::SYS_rt_sigsuspend => "rt_sigsuspend",
        libc::SYS_rt_sigtimedwait => "rt_sigtimedwait",
        libc::SYS_select => "select",
        libc::SYS_sendto => "sendto",
        libc::SYS_setitimer => "setitimer",
        libc::SYS_setsockopt => "setsockopt",
        libc::SYS_shutdown => "shutdown",
        libc::SYS_sysinfo => "sysinfo",
        libc::SYS_time => "time",
        libc::SYS_wait4 => "wait4",
        libc::SYS_waitid => "waitid",
        libc::SYS_write => "write",
        _ => return None,
    };
    Some(name.to_owned())
}
