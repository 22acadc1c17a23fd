//! One module per command.

pub mod assess;
pub mod demo;
pub mod estate;
pub mod gate;
pub mod init;
pub mod ledger;
pub mod move_;
pub mod people;
pub mod plan;
pub mod report;
pub mod volume;
