//! Actions beside prepared statements: sessions and cancelling.
//!
//! The messages that arrow-flight has no types for are defined here, from
//! `FlightSql.proto` and `Flight.proto` of Apache Arrow.

use arrow_flight::sql::ProstMessageExt as _;
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    RenewFlightEndpointRequest, Result as FlightResult,
};
use prost::Message as _;
use tonic::{Code, Status};

use super::session::{Session, status};
use super::tickets::Tickets;

/// `CloseSessionResult` and `SetSessionOptionsResult` as far as they are used here.
#[derive(Clone, PartialEq, prost::Message)]
struct SessionStatus {
    /// `CloseSessionResult.Status`: 1 is CLOSED.
    #[prost(int32, tag = "1")]
    status: i32,
}

const CLOSED: i32 = 1;

/// The actions that this node has beside those of Flight SQL.
pub(super) fn list() -> Vec<ActionType> {
    [
        ("CancelFlightInfo", "Ends a query and its ticket."),
        (
            "RenewFlightEndpoint",
            "Says until when an endpoint can be redeemed.",
        ),
        (
            "CloseSession",
            "Says goodbye; nothing is kept for a session.",
        ),
        ("GetSessionOptions", "Session options; there are none."),
        ("SetSessionOptions", "Session options; there are none."),
    ]
    .into_iter()
    .map(|(name, text)| ActionType {
        r#type: name.to_owned(),
        description: text.to_owned(),
    })
    .collect()
}

/// Does `action` and gives its one answer.
pub(super) fn perform(
    action: &Action,
    session: &Session,
    tickets: &Tickets,
) -> Result<FlightResult, Status> {
    let body = match action.r#type.as_str() {
        "CancelFlightInfo" => {
            let request = CancelFlightInfoRequest::decode(&*action.body).map_err(|_| bad())?;
            let ended = cancel(request.info.as_ref(), session, tickets);
            let status = if ended {
                CancelStatus::Cancelled
            } else {
                CancelStatus::NotCancellable
            };
            CancelFlightInfoResult {
                status: status as i32,
            }
            .encode_to_vec()
        }
        "RenewFlightEndpoint" => {
            // An endpoint lives as long as its ticket; a longer life is a new question.
            let request = RenewFlightEndpointRequest::decode(&*action.body).map_err(|_| bad())?;
            request.endpoint.ok_or_else(bad)?.encode_to_vec()
        }
        "CloseSession" => SessionStatus { status: CLOSED }.encode_to_vec(),
        // An empty map of options, and an empty map of errors.
        "GetSessionOptions" | "SetSessionOptions" => Vec::new(),
        other => {
            let text: String = other.chars().take(64).collect();
            return Err(status(
                Code::InvalidArgument,
                "unknown-action",
                &text,
                &session.trace,
            ));
        }
    };
    Ok(FlightResult { body: body.into() })
}

/// Ends the tickets of a query, and whatever still streams under them.
pub(super) fn cancel(info: Option<&FlightInfo>, session: &Session, tickets: &Tickets) -> bool {
    let endpoints = info.map(|i| i.endpoint.as_slice()).unwrap_or_default();
    let mut ended = false;
    for ticket in endpoints.iter().take(64).filter_map(|e| e.ticket.as_ref()) {
        let Ok(any) = arrow_flight::sql::Any::decode(&*ticket.ticket) else {
            continue;
        };
        if let Ok(Some(statement)) = any.unpack::<arrow_flight::sql::TicketStatementQuery>() {
            ended |= tickets.end(&statement.statement_handle, &session.key, true);
        }
    }
    ended
}

/// A ticket's bytes for a handle.
pub(super) fn ticket(handle: Vec<u8>) -> arrow_flight::Ticket {
    let statement = arrow_flight::sql::TicketStatementQuery {
        statement_handle: handle.into(),
    };
    arrow_flight::Ticket::new(statement.as_any().encode_to_vec())
}

fn bad() -> Status {
    status(
        Code::InvalidArgument,
        "malformed",
        "the action's body is not the message it must be",
        "",
    )
}
