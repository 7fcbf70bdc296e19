//! Every call of Flight, made with any headers.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{CommandGetCatalogs, ProstMessageExt as _};
use arrow_flight::{Action, Criteria, Empty, FlightData, HandshakeRequest, Ticket};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::rogue::statement;

/// Every call of Flight, by name.
pub const CALLS: [&str; 10] = [
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
];

/// Makes the call with `headers` and reads the first answer; statements are `sql`.
pub async fn call(
    name: &str,
    mut service: FlightServiceClient<Channel>,
    headers: &MetadataMap,
    sql: &str,
) -> Result<(), Status> {
    fn with<T>(message: T, headers: &MetadataMap) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = headers.clone();
        request
    }
    fn one<T>(message: T) -> impl futures::Stream<Item = T> {
        futures::stream::iter([message])
    }
    match name {
        "Handshake" => {
            let request = with(one(HandshakeRequest::default()), headers);
            let mut answers = service.handshake(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "ListFlights" => {
            let request = with(Criteria::default(), headers);
            let mut answers = service.list_flights(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "GetFlightInfo" => {
            let request = with(statement(sql), headers);
            service.get_flight_info(request).await.map(drop)
        }
        "PollFlightInfo" => {
            let request = with(statement(sql), headers);
            service.poll_flight_info(request).await.map(drop)
        }
        "GetSchema" => {
            let request = with(statement(sql), headers);
            service.get_schema(request).await.map(drop)
        }
        "DoGet" => {
            // Metadata rows are judged like data.
            let tables = CommandGetCatalogs {};
            let request = with(Ticket::new(tables.as_any().encode_to_vec()), headers);
            let mut answers = service.do_get(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "DoPut" => {
            let data = FlightData::new().with_descriptor(statement(sql));
            let mut answers = service.do_put(with(one(data), headers)).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "DoExchange" => {
            let data = FlightData::new().with_descriptor(statement(sql));
            let request = with(one(data), headers);
            let mut answers = service.do_exchange(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "DoAction" => {
            let request = with(Action::new("CloseSession", ""), headers);
            let mut answers = service.do_action(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        "ListActions" => {
            let request = with(Empty {}, headers);
            let mut answers = service.list_actions(request).await?.into_inner();
            answers.try_next().await.map(drop)
        }
        other => panic!("no such call: {other}"),
    }
}
