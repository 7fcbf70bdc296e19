//! The evidence of one agreement, taken out of a running node.

use super::Node;
use crate::audit::{self, Bundle};
use crate::failure::Failure;

impl Node {
    /// Everything that proves the agreement whose id begins with `wanted`, for a
    /// caller who comes in `role`; `by` is how the journal names it.
    ///
    /// # Errors
    /// Policy refuses (`export`), there is no such agreement, or the journal
    /// cannot be read or does not verify.
    pub async fn export_evidence(
        &self,
        wanted: &str,
        role: &str,
        by: String,
    ) -> Result<Bundle, Failure> {
        let agreement = self.agreements.find(wanted)?;
        self.policies.permit_export(role, Some(&agreement))?;
        let id = agreement.id().to_string();
        // Who took it out belongs to what is taken out.
        self.administered_by(by, "export-evidence", &id).await?;
        let home = self.home.clone();
        let made = tokio::task::spawn_blocking(move || audit::export(&home, &id)).await;
        made.map_err(|e| Failure::own("evidence", e))?
    }
}
