//! A list of rules, made into a program for the kernel's filter machine (seccomp(2),
//! bpf(4)) while the server is compiled.

use crate::sys::{AUDIT_ARCH, Instruction};
use Value::{Either, Exactly, Token};
use libc::c_long;

/// System calls that pass if all conditions hold, and end the process if not. No call is
/// in two rules.
pub struct Rule {
    calls: &'static [c_long],
    conditions: &'static [Argument],
}

/// A condition: the argument of this number, counted from 0, has this value in all of its
/// 64 bits.
pub struct Argument(pub u32, pub Value);

/// What an argument must be.
#[derive(Clone, Copy)]
pub enum Value {
    /// This number.
    Exactly(u32),
    /// One of these two.
    Either(u32, u32),
    /// The token: see [`crate::sys`].
    Token,
}

/// `calls` pass.
pub const fn allow(calls: &'static [c_long]) -> Rule {
    allow_if(calls, &[])
}

/// `calls` pass if all of these hold.
pub const fn allow_if(calls: &'static [c_long], conditions: &'static [Argument]) -> Rule {
    Rule { calls, conditions }
}

/// One step of the filter, with the token still open (bpf(4)).
#[derive(Clone, Copy)]
pub enum Step {
    /// Loads four bytes of `struct seccomp_data`, seccomp(2).
    Load(u32),
    /// Skips so many steps if they are this number, and so many if not.
    Is(u32, u8, u8),
    /// The same with the low or the high half of the token.
    IsTokenLow(u8, u8),
    IsTokenHigh(u8, u8),
    /// Ends the filter.
    Return(u32),
}

/// Offsets in `struct seccomp_data`. Of an argument the low half is first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How many steps [`compile`] makes of `rules`.
pub const fn length(rules: &[Rule]) -> usize {
    // The start: three steps. The end: two.
    let (mut length, mut at) = (3 + 2, 0);
    while at < rules.len() {
        length += length_of_rule(&rules[at]);
        at += 1;
    }
    length
}

/// A step for each call; two loads and two comparisons for each condition, three where it
/// is [`Either`].
const fn length_of_rule(rule: &Rule) -> usize {
    let (mut length, mut at) = (rule.calls.len(), 0);
    while at < rule.conditions.len() {
        let Argument(_, value) = rule.conditions[at];
        length += if matches!(value, Either(..)) { 5 } else { 4 };
        at += 1;
    }
    length
}

/// Tries one rule after the other; what passes by none ends the process.
///
/// ```text
/// a rule without conditions
///     for each call         the number is this call's: to `allow` at the very end
/// a rule with conditions
///     for each call         the number is this call's: to the conditions
///     for the last          the number is this call's, or else to the next rule
///     for each condition    load the low half; it is this, or else to `kill`
///                           load the high half; it is this, or else to `kill`
///     after the last        to `allow`
/// at the end                kill; allow
/// ```
pub const fn compile<const LENGTH: usize>(rules: &[Rule]) -> [Step; LENGTH] {
    let (kill, allow) = (LENGTH - 2, LENGTH - 1);
    let mut program = [Step::Return(libc::SECCOMP_RET_KILL_THREAD); LENGTH];
    program[0] = Step::Load(ARCHITECTURE);
    program[1] = Step::Is(AUDIT_ARCH, 0, skip(1, kill));
    program[2] = Step::Load(NUMBER);
    program[allow] = Step::Return(libc::SECCOMP_RET_ALLOW);
    let (mut at, mut rule) = (3, 0);
    while rule < rules.len() {
        let Rule { calls, conditions } = rules[rule];
        assert!(!calls.is_empty(), "every call would be held against its conditions");
        let next = at + length_of_rule(&rules[rule]);
        let target = if conditions.is_empty() { allow } else { at + calls.len() };
        let mut call = 0;
        while call < calls.len() {
            assert!(times_named(rules, calls[call]) == 1, "only the first rule would count");
            let number = calls[call] as u32;
            call += 1;
            let is_last = call == calls.len() && !conditions.is_empty();
            let other = if is_last { skip(at, next) } else { 0 };
            program[at] = Step::Is(number, skip(at, target), other);
            at += 1;
        }
        let mut condition = 0;
        while condition < conditions.len() {
            let Argument(argument, value) = conditions[condition];
            condition += 1;
            program[at] = Step::Load(ARGUMENTS + 8 * argument);
            if let Either(value, _) = value {
                // If it is the one value, on to the high half; if not, it may be the other.
                program[at + 1] = Step::Is(value, 1, 0);
                at += 1;
            }
            let (off_low, off_high) = (skip(at + 1, kill), skip(at + 3, kill));
            let on_high = if condition == conditions.len() { skip(at + 3, allow) } else { 0 };
            let (low, high) = match value {
                Exactly(value) | Either(_, value) => {
                    (Step::Is(value, 0, off_low), Step::Is(0, on_high, off_high))
                }
                Token => (Step::IsTokenLow(0, off_low), Step::IsTokenHigh(on_high, off_high)),
            };
            program[at + 1] = low;
            program[at + 2] = Step::Load(ARGUMENTS + 8 * argument + 4);
            program[at + 3] = high;
            at += 4;
        }
        rule += 1;
    }
    program
}

/// In how many places the call of this number stands.
const fn times_named(rules: &[Rule], number: c_long) -> usize {
    let (mut times, mut rule) = (0, 0);
    while rule < rules.len() {
        let mut call = 0;
        while call < rules[rule].calls.len() {
            times += (rules[rule].calls[call] == number) as usize;
            call += 1;
        }
        rule += 1;
    }
    times
}

/// How many steps to skip at `at` to go on at `target`.
const fn skip(at: usize, target: usize) -> u8 {
    let skip = target - at - 1;
    assert!(skip <= u8::MAX as usize, "the kernel skips no further");
    skip as u8
}

/// `step` as the kernel takes it.
pub fn instruction_of(step: Step, token: u64) -> Instruction {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const COMPARE: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let (code, jt, jf, k) = match step {
        Step::Load(offset) => (LOAD, 0, 0, offset),
        Step::Is(number, jt, jf) => (COMPARE, jt, jf, number),
        Step::IsTokenLow(jt, jf) => (COMPARE, jt, jf, token as u32),
        Step::IsTokenHigh(jt, jf) => (COMPARE, jt, jf, (token >> 32) as u32),
        Step::Return(action) => (RETURN, 0, 0, action),
    };
    let code = code as u16;
    Instruction { code, jt, jf, k }
}
