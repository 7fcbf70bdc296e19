//! Fetching what partners measured.

use comity_identity::{Digest, OrgId};
use comity_protocol::results::{ResultsList, VerifiedResults};

use super::Node;
use crate::clock;

/// Statements before the newest that are asked for when they are not here.
const MAX_WALK: usize = 24;

/// Statements that one errand asks a partner for.
const MAX_ASKED: usize = 512;

impl Node {
    /// Fetches what `org` measured, as its head announces, if some of it is
    /// not here. What fails is wanted again at the next visit.
    pub(super) async fn fetch_results(&self, org: &OrgId) {
        let Some(list) = self.catalog.results_wanted(org) else {
            return;
        };
        if let Err(error) = self.try_fetch_results(org, list).await {
            let partner = self.partners.alias(org);
            tracing::warn!(partner, error, "what it measured could not be fetched");
        }
    }

    async fn try_fetch_results(&self, org: &OrgId, digest: Digest) -> Result<(), String> {
        let text = self.fetch_texts(org, &[digest]).await?.into_iter().next();
        let text = text.ok_or("the list of results was not given")?;
        let list = ResultsList::read(&text, &digest).map_err(|e| e.to_string())?;
        let mut asked = 0;
        let mut failed = Ok(());
        for (product, newest) in self.catalog.results_missing(org, &list) {
            if asked >= MAX_ASKED {
                return Err("there is more than one visit brings".to_owned());
            }
            let taken = match self.fetch_chain(org, &product, newest, &mut asked).await {
                Ok(chain) => self.catalog.take_results(chain, clock::now()).await,
                Err(error) => {
                    // One that cannot be had does not keep the others away.
                    failed = Err(format!("{product}: {error}"));
                    continue;
                }
            };
            taken.map_err(|e| e.to_string())?;
        }
        failed?;
        self.catalog.results_taken(*org, digest);
        Ok(())
    }

    /// The statement with the digest `newest` and those before it that are not
    /// here, oldest first; as far back as the partner has them and as one walk
    /// goes. What lies before is a gap, which is shown (`spec/3-catalog.md#C-97`).
    async fn fetch_chain(
        &self,
        org: &OrgId,
        product: &str,
        newest: Digest,
        asked: &mut usize,
    ) -> Result<Vec<VerifiedResults>, String> {
        let mut chain = Vec::new();
        let mut wanted = Some(newest);
        while let Some(digest) = wanted.filter(|_| chain.len() <= MAX_WALK) {
            *asked += 1;
            let text = self.fetch_texts(org, &[digest]).await?.into_iter().next();
            let verified = text
                .ok_or_else(|| "it was not given".to_owned())
                .and_then(|text| {
                    let now = clock::now();
                    let read = self.catalog.verify_results(org, product, &text, now);
                    read.map_err(|e| e.to_string())
                });
            match verified {
                Ok(verified) => {
                    wanted = self.catalog.results_before(&verified);
                    chain.push(verified);
                }
                // Without the newest there is nothing; without an older one, a gap.
                Err(error) if chain.is_empty() => return Err(error),
                Err(_) => wanted = None,
            }
        }
        chain.reverse();
        Ok(chain)
    }
}
