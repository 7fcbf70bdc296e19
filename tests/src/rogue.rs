//! A partner's node as an attacker would write it: the organization's real
//! keys, certificate and agreement, and any claims that it likes.
//!
//! What a well-behaved node would never send can only be tested by another
//! program. This one takes over the home folder of an organization whose node
//! is stopped.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt as _};
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use comity::certificate::Certificate;
use comity::flight::{Asked, CODE, PeerChannel};
use comity::home::Home;
use comity::keys::Keys;
use comity::lab::Org;
use comity::ledger::{Ledger, Marks, Record};
use comity::network::{Area, DialPolicy};
use comity::own::Own;
use comity::{clock, index, journal};
use comity_identity::grant::{Chain, Grant};
use comity_identity::keyring::Keyring;
use comity_identity::tls::peer_client_config;
use comity_identity::{Digest, OrgId, Signer as _};
use comity_protocol::negotiation::{
    AGREEMENT, Negotiation, NegotiationId, Proposal, Proposing, SignedDocument,
};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::{Request, Status};

use crate::workers;

/// The outcome of a step.
type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// An organization's home folder in the hands of an attacker.
#[derive(Debug)]
pub struct Rogue {
    own: Own,
    ledger: Arc<Ledger>,
    keyring: Arc<Keyring>,
    certificate: Certificate,
}

impl Rogue {
    /// Takes over `org`, whose node is stopped first.
    pub async fn of(org: &mut Org) -> Done<Self> {
        org.stop().await?;
        Self::at(org.home(), org.alias())
    }

    /// Takes over the home of the organization called `alias`, or a copy of it.
    /// No node runs on it.
    pub fn at(home: &Home, alias: &str) -> Done<Self> {
        let ledger = Ledger::open(
            home,
            journal::Settings::default(),
            index::Settings::default(),
        )?;
        let ledger = Arc::new(ledger);
        let keys = Keys::open(home.path())?;
        let own = Own::load(Arc::clone(&ledger), keys, alias)?;
        let keyring = Arc::new(Keyring::open(Arc::new(Marks::new(Arc::clone(&ledger))))?);
        let certificate = Certificate::issue(&own, &[], clock::now())?;
        Ok(Self {
            own,
            ledger,
            keyring,
            certificate,
        })
    }

    /// A connection to the peer listener of `org`.
    pub async fn dial(&self, org: &OrgId) -> Done<PeerChannel> {
        let known = self.keyring.get(org).ok_or("not a partner")?;
        let nodes = known.document().nodes(clock::now());
        let addresses: Vec<String> = nodes.flat_map(|n| n.flight.clone()).collect();
        let leaf = self.certificate.current();
        let tls = peer_client_config(
            Arc::clone(&self.keyring) as _,
            *org,
            Arc::clone(&leaf) as _,
            Arc::new(rustls::time_provider::DefaultTimeProvider),
        )?;
        let address = addresses.first().ok_or("no address")?;
        let loopback = DialPolicy::only(&[Area::Loopback]);
        Ok(PeerChannel::dial(workers(), &Arc::new(tls), leaf.leaf(), address, loopback).await?)
    }

    /// The grant that the organization's node would issue to itself for
    /// `agreement` with `audience`.
    pub fn grant(&self, audience: OrgId, agreement: Digest, purpose: &str) -> Grant {
        let now = clock::now();
        Grant {
            v: 1,
            iss: self.own.org(),
            aud: audience,
            agr: agreement,
            sub: "mallory".to_owned(),
            act: Vec::new(),
            roles: [].into(),
            amr: ["local-token".to_owned()].into(),
            cnf: self.own.keys().node.public(),
            cert: None,
            tables: None,
            cols: None,
            filter: Vec::new(),
            purpose: [purpose.to_owned()].into(),
            max_rows: None,
            nbf: now,
            exp: now.saturating_add(comity_identity::grant::MAX_LIFETIME),
            jti: "rogue".to_owned(),
            prt: None,
        }
    }

    /// The claims of a question under `grant`.
    pub fn asked(&self, grant: &Grant, sql: &str) -> Done<Asked> {
        let chain = Chain::issue(grant, &*self.own.keys().issuer)?;
        self.asked_with(grant.agr, chain.links().to_vec(), sql)
    }

    /// The claims of a question with any chain of links.
    pub fn asked_with(&self, agreement: Digest, grant: Vec<String>, sql: &str) -> Done<Asked> {
        Ok(Asked {
            agreement,
            grant,
            purpose: None,
            trace: "00000000deadbeef".to_owned(),
            sql: sql.to_owned(),
            partition: None,
        })
    }

    /// `message` with the claims of `asked` and a true proof for `channel`.
    pub fn request<T>(
        &self,
        channel: &PeerChannel,
        message: T,
        asked: &Asked,
    ) -> Result<Request<T>, Status> {
        channel.request(message, asked, &*self.own.keys().node)
    }

    /// What `agreement` was signed on.
    pub fn signed(&self, agreement: &Digest) -> Done<Proposal> {
        for (_, record) in self.ledger.scan(index::Table::Agreements, &[])? {
            if let Record::Signed(signed) = record
                && signed.id == *agreement
            {
                let document = SignedDocument::recall(AGREEMENT, &signed.text)?;
                return Ok(document.document().proposal.clone());
            }
        }
        Err("no such agreement".into())
    }

    /// The first message of a negotiation with `org`.
    pub fn opening(&self, org: OrgId, id: [u8; 16], proposal: Proposal) -> Done<Opening> {
        let two_weeks = Duration::from_secs(14 * 24 * 60 * 60);
        self.opening_for(org, id, proposal, two_weeks)
    }

    /// [`Rogue::opening`] with a request that is open for a time of one's own.
    pub fn opening_for(
        &self,
        org: OrgId,
        id: [u8; 16],
        proposal: Proposal,
        open: Duration,
    ) -> Done<Opening> {
        let id = NegotiationId::from_bytes(id);
        let own = self.own.org();
        let issuer = &*self.own.keys().issuer;
        let (negotiation, text) = Negotiation::request(
            id,
            own,
            org,
            Proposing {
                proposal,
                note: "standard terms".to_owned(),
                until: clock::now().saturating_add(open),
            },
            clock::now(),
            issuer,
        )?;
        Ok(Opening { negotiation, text })
    }

    /// Ends a negotiation that [`Rogue::opening`] began.
    pub fn ending(&self, mut opening: Opening) -> Done<String> {
        let issuer = &*self.own.keys().issuer;
        let text = opening
            .negotiation
            .terminate(String::new(), clock::now(), issuer)?;
        Ok(text)
    }

    /// Asks for the plan of a statement.
    pub async fn plan(&self, channel: &PeerChannel, asked: &Asked) -> Result<FlightInfo, Status> {
        let request = self.request(channel, statement(&asked.sql), asked)?;
        let info = channel.service().get_flight_info(request).await?;
        Ok(info.into_inner())
    }

    /// Redeems a ticket and reads to the end.
    pub async fn fetch(
        &self,
        channel: &PeerChannel,
        ticket: Ticket,
        asked: &Asked,
    ) -> Result<Vec<RecordBatch>, Status> {
        let request = self.request(channel, ticket, asked)?;
        let messages = channel.service().do_get(request).await?.into_inner();
        let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
        let rows = FlightRecordBatchStream::new_from_flight_data(messages);
        rows.try_collect().await.map_err(|e| match e {
            FlightError::Tonic(status) => *status,
            other => Status::internal(other.to_string()),
        })
    }

    /// Asks and reads to the end.
    pub async fn query(
        &self,
        channel: &PeerChannel,
        asked: &Asked,
    ) -> Result<Vec<RecordBatch>, Status> {
        let info = self.plan(channel, asked).await?;
        self.fetch(channel, ticket(&info), asked).await
    }

    /// The organizations that it knows.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// This organization's keys, history and document.
    pub fn own(&self) -> &Own {
        &self.own
    }
}

/// A negotiation that an attacker began.
#[derive(Debug)]
pub struct Opening {
    negotiation: Negotiation,
    /// The request, signed.
    pub text: String,
}

/// A descriptor of a statement.
pub fn statement(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery {
        query: sql.to_owned(),
        transaction_id: None,
    };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// The first ticket of `info`.
pub fn ticket(info: &FlightInfo) -> Ticket {
    let endpoint = info.endpoint.first();
    endpoint.and_then(|e| e.ticket.clone()).unwrap_or_default()
}

/// The stable code of a refusal.
pub fn code(status: &Status) -> &str {
    let code = status.metadata().get(CODE).and_then(|c| c.to_str().ok());
    code.unwrap_or("none")
}

/// The rows of an answer, counted.
pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}
