//! Who opens gates.

use serde_json::Value;
use yundu_comply::{Catalog, GateVerdict};

/// A verdict with the bytes it was computed by.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: GateVerdict,
    /// Canonical bytes of the input that the verdict's `input_digest` names.
    pub input: Vec<u8>,
    /// Bytes of the bundle that the verdict's `policy_digest` names.
    pub bundle: Vec<u8>,
}

/// Evaluates gates over recorded input.
pub trait GateKeeper: Send + Sync {
    /// The verdict of gate `id`.
    ///
    /// # Errors
    /// The gate does not exist or cannot be computed at all: the step does not happen.
    fn evaluate(&self, id: &str, input: &Value) -> Result<Judged, String>;
}

/// The real one, over a catalog of policies.
#[derive(Debug)]
pub struct CatalogKeeper(pub Catalog);

impl GateKeeper for CatalogKeeper {
    fn evaluate(&self, id: &str, input: &Value) -> Result<Judged, String> {
        let bundle = self.0.bundle(id).map_err(|error| error.to_string())?;
        Ok(Judged {
            verdict: bundle.evaluate(input),
            input: yundu_comply::canonical_input(input).map_err(|error| error.to_string())?,
            bundle: bundle.to_bytes().to_vec(),
        })
    }
}
