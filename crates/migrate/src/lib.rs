//! The move: its runbook, steps and gates; calls the capabilities in order.
