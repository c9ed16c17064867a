//! Groups of consumers as their clients live them: members in processes of their own, what they wrote down, and who judges it.
//!
//! Owns: programs that hold members ([`member`]), what each member wrote down ([`ledger`]), the rules that the books of a whole group
//! must keep ([`judge`]), and the broker, the load and the members of one test ([`scene`]).
//! Never: asks the broker what is true. Who owned what, and when, is said by those who owned it.
pub mod judge;
pub mod ledger;
pub mod load;
pub mod member;
pub mod scene;
