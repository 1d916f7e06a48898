//! A list of rules, made into a program for the kernel's filter machine (seccomp(2),
//! bpf(4)) while the server is compiled.

use crate::sys::{AUDIT_ARCH, Instruction};
use Value::{Exactly, Token};
use libc::c_long;

/// A system call that passes if all conditions hold.
pub struct Rule {
    call: c_long,
    conditions: &'static [Argument],
}

/// The argument of this number, counted from 0, has this value, all bits of it.
pub struct Argument(pub u32, pub Value);

#[derive(Clone, Copy)]
pub enum Value {
    Exactly(u32),
    Token,
}

/// `call` passes.
pub const fn allow(call: c_long) -> Rule {
    allow_if(call, &[])
}

/// `call` passes if all of these hold.
pub const fn allow_if(call: c_long, conditions: &'static [Argument]) -> Rule {
    Rule { call, conditions }
}

/// One step of the filter, with the token still open (bpf(4)).
#[derive(Clone, Copy)]
pub enum Step {
    /// Loads four bytes of `struct seccomp_data`, seccomp(2).
    Load(u32),
    /// Skips so many steps if they are this number, else goes on.
    Find(u32, u8),
    /// Goes on if they are this number, else skips so many steps.
    Expect(u32, u8),
    /// The same with the low or the high half of the token.
    ExpectTokenLow(u8),
    ExpectTokenHigh(u8),
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

const fn length_of_rule(rule: &Rule) -> usize {
    match rule.conditions.len() {
        0 => 1,
        count => 1 + 4 * count + 2,
    }
}

/// Tries one rule after the other; what passes by none ends the process.
///
/// ```text
/// a rule without conditions     the number is this call's: to `allow` at the very end
/// a rule with conditions        the number is this call's, or else to the next rule
///     for each condition            load the low half; it is this, or else to (*)
///                                   load the high half; it is this, or else to (*)
///                                   allow
///                               (*) load the number, for the next rule
/// at the end                    kill; allow
/// ```
pub const fn compile<const LENGTH: usize>(rules: &[Rule]) -> [Step; LENGTH] {
    let mut program = [Step::Return(libc::SECCOMP_RET_KILL_THREAD); LENGTH];
    program[0] = Step::Load(ARCHITECTURE);
    program[1] = Step::Expect(AUDIT_ARCH, skip(1, LENGTH - 2));
    program[2] = Step::Load(NUMBER);
    program[LENGTH - 1] = Step::Return(libc::SECCOMP_RET_ALLOW);
    let (mut at, mut rule) = (3, 0);
    while rule < rules.len() {
        let Rule { call, conditions } = rules[rule];
        let next = at + length_of_rule(&rules[rule]);
        rule += 1;
        if conditions.is_empty() {
            program[at] = Step::Find(call as u32, skip(at, LENGTH - 1));
            at = next;
            continue;
        }
        program[at] = Step::Expect(call as u32, skip(at, next));
        let mut condition = 0;
        while condition < conditions.len() {
            let Argument(argument, value) = conditions[condition];
            // Where one does not hold, the number is loaded again for the next rule.
            let (skip_low, skip_high) = (skip(at + 2, next - 1), skip(at + 4, next - 1));
            let (low, high) = match value {
                Exactly(value) => (Step::Expect(value, skip_low), Step::Expect(0, skip_high)),
                Token => (Step::ExpectTokenLow(skip_low), Step::ExpectTokenHigh(skip_high)),
            };
            program[at + 1] = Step::Load(ARGUMENTS + 8 * argument);
            program[at + 2] = low;
            program[at + 3] = Step::Load(ARGUMENTS + 8 * argument + 4);
            program[at + 4] = high;
            at += 4;
            condition += 1;
        }
        program[at + 1] = Step::Return(libc::SECCOMP_RET_ALLOW);
        program[next - 1] = Step::Load(NUMBER);
        at = next;
    }
    program
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
        Step::Find(number, skip) => (COMPARE, skip, 0, number),
        Step::Expect(number, skip) => (COMPARE, 0, skip, number),
        Step::ExpectTokenLow(skip) => (COMPARE, 0, skip, token as u32),
        Step::ExpectTokenHigh(skip) => (COMPARE, 0, skip, (token >> 32) as u32),
        Step::Return(action) => (RETURN, 0, 0, action),
    };
    let code = code as u16;
    Instruction { code, jt, jf, k }
}
