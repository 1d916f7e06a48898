//! The behaviour of `rot13d`, seen from outside: each test runs the shipped
//! release binary as a process, talks to it over the loopback interface and
//! asks `/proc` what became of it.

mod support;

mod artefact;
mod audit;
mod cage;
mod cli;
mod deploy;
mod drain;
mod echo;
mod entry;
mod faults;
mod layers;
mod limits;
mod manual;
mod netcats;
mod pid1;
mod pure;
mod restart;
mod soak;
mod stdio;
mod timeouts;
mod users;
