//! The behaviour of `rot13d`, seen from outside: each test runs the shipped
//! release binary as a process, talks to it over the loopback interface and
//! asks `/proc` what became of it.

mod support;

mod artefact;
mod audit;
mod builds;
mod cage;
mod calls;
mod cli;
mod deploy;
mod drain;
mod echo;
mod entry;
mod faults;
mod gone;
mod layers;
mod limits;
mod manual;
mod memory;
mod netcats;
mod orphans;
mod pid1;
mod pure;
mod readme;
mod recurring;
mod restart;
mod soak;
mod sockets;
#[cfg(target_arch = "x86_64")]
mod start;
mod stderr;
mod stdio;
mod template;
mod timeouts;
#[cfg(target_arch = "x86_64")]
mod token;
mod users;
mod waiting;
