//! The stage of the attacks by a partner.

use comity::flight::PeerChannel;
use comity_identity::grant::Grant;
use comity_identity::{Digest, OrgId};
use serde_json::json;
use tonic::Status;

use crate::rogue::{Rogue, count};
use crate::{Outcome, Three, ask, reaches};

/// Port Authority with an agreement over Weather Service's `weather`, without
/// the column `visib`, in the hands of an attacker.
#[derive(Debug)]
pub struct Attack {
    /// The three; Port Authority's node is stopped.
    pub three: Three,
    /// Port Authority's home.
    pub rogue: Rogue,
    /// Weather Service.
    pub weather: OrgId,
    /// The agreement.
    pub agreement: Digest,
    /// A connection to Weather Service's peer listener.
    pub channel: PeerChannel,
}

impl Attack {
    /// Meets, agrees, and takes over.
    pub async fn begin() -> Result<Self, Box<dyn std::error::Error>> {
        let mut three = Three::meet().await?;
        let n = ask(&three.port, "weather-service", "weather").await?;
        let agreement = reaches(&three.port, &n.id, "FINALIZED").await?.agreement;
        let rogue = Rogue::of(&mut three.port).await?;
        let weather = three.weather.status().await?.org;
        let channel = rogue.dial(&weather).await?;
        Ok(Self {
            three,
            rogue,
            weather,
            agreement: agreement.ok_or("not signed")?,
            channel,
        })
    }

    /// The grant that the node would issue.
    pub fn grant(&self) -> Grant {
        self.rogue
            .grant(self.weather, self.agreement, "delay-analysis")
    }

    /// How many rows `sql` gives under `grant`.
    pub async fn query(&self, grant: &Grant, sql: &str) -> Result<usize, Status> {
        let asked = self.rogue.asked(grant, sql).expect("a chain");
        let rows = self.rogue.query(&self.channel, &asked).await?;
        Ok(count(&rows))
    }

    /// Weather Service takes the agreement back.
    pub async fn revoke(&self) -> Outcome {
        let id = self.agreement.to_string().replace("sha256:", "");
        let path = format!("/v1/agreements/{id}/revoke");
        let _: serde_json::Value = self.three.weather.post(&path, &json!({})).await?;
        Ok(())
    }
}
