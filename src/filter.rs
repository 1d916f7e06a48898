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

/// A program, put together from its end to its start: the machine jumps only forwards, so
/// where a step goes is there before it. A place in it is the number of steps from there
/// to the end.
pub struct Program {
    steps: [Step; MOST],
    /// How many of them are there; and so the place of the last that was put.
    pub length: usize,
}

/// Most steps. The kernel skips 255 and no more; one step too many does not compile.
const MOST: usize = 256;

/// Tries one rule after the other; what passes by none ends the process.
///
/// ```text
/// a rule        for each call: the number is this call's, or else on to the next call
///               for each condition: load the low half; it is this, or else to `kill`
///                                   load the high half; it is this, or else to `kill`
///               after the last: to `allow`
/// at the end    kill; allow
/// ```
///
/// (A const fn has no `for`: each list is taken apart from its end.)
pub const fn compile(mut rules: &[Rule]) -> Program {
    let mut program = Program { steps: [Step::Return(0); MOST], length: 0 };
    let allow = program.put(Step::Return(libc::SECCOMP_RET_ALLOW));
    let kill = program.put(Step::Return(libc::SECCOMP_RET_KILL_THREAD));
    let mut named = [false; 512]; // By number: for a greater one it does not compile.
    let mut next = kill;
    while let [before @ .., Rule { calls, conditions }] = rules {
        rules = before;
        assert!(!calls.is_empty(), "every call would be held against its conditions");
        let (mut calls, mut conditions, mut target) = (*calls, *conditions, allow);
        while let [before @ .., condition] = conditions {
            conditions = before;
            target = program.put_condition(condition, target, kill);
        }
        while let [before @ .., call] = calls {
            calls = before;
            assert!(!named[*call as usize], "only the first rule would count");
            named[*call as usize] = true;
            next = program.put_is(*call as u32, target, next);
        }
    }
    program.put(Step::Load(NUMBER));
    program.put_is(AUDIT_ARCH, program.length, kill);
    program.put(Step::Load(ARCHITECTURE));
    program
}

impl Program {
    /// The steps; `LENGTH` is the length.
    pub const fn steps<const LENGTH: usize>(&self) -> [Step; LENGTH] {
        *self.steps.last_chunk().unwrap()
    }

    /// Puts `step` in front, and returns its place.
    const fn put(&mut self, step: Step) -> usize {
        self.length += 1;
        self.steps[MOST - self.length] = step;
        self.length
    }

    /// Puts in front: if it is `number`, on at the place `yes`, if not, at `no`.
    const fn put_is(&mut self, number: u32, yes: usize, no: usize) -> usize {
        self.put(Step::Is(number, self.skip(yes), self.skip(no)))
    }

    /// Puts in front: if the condition holds, on at the place `yes`, if not, at `no`.
    const fn put_condition(&mut self, condition: &Argument, yes: usize, no: usize) -> usize {
        let Argument(number, value) = *condition;
        let low_half = ARGUMENTS + 8 * number;
        match value {
            Exactly(_) | Either(..) => self.put_is(0, yes, no),
            Token => self.put(Step::IsTokenHigh(self.skip(yes), self.skip(no))),
        };
        let high = self.put(Step::Load(low_half + 4));
        match value {
            Exactly(value) => self.put_is(value, high, no),
            Either(one, other) => {
                let no = self.put_is(other, high, no);
                self.put_is(one, high, no)
            }
            Token => self.put(Step::IsTokenLow(self.skip(high), self.skip(no))),
        };
        self.put(Step::Load(low_half))
    }

    /// How many steps a step that is put in front skips to go on at `place`.
    const fn skip(&self, place: usize) -> u8 {
        const { assert!(MOST - 1 <= u8::MAX as usize) };
        // Less than `MOST`: every step that is there has a place, from 1 on.
        (self.length - place) as u8
    }
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
