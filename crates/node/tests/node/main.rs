//! The program as an operator meets it: started, stopped, told off. Every reason to end has its number and its sentence.

#![allow(clippy::disallowed_methods)]

mod bad_input;
mod endings;
mod groups;
mod life;
mod program;
mod storage;
