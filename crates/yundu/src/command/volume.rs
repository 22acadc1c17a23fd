//! `yundu volume`.

use crate::context::{Context, Outcome};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
pub fn run(_context: &Context, _args: Args) -> Outcome {
    Ok(())
}
