//! A server of batches as the crate arrow-flight makes them, and nothing else.

use arrow::array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as FlightResult, SchemaResult,
    Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::{Outcome, transport};

type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Gives all batches for any ticket.
pub struct Stock(Vec<RecordBatch>);

impl Stock {
    /// Serves `batches` on `listener`, without TLS if there is none.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        batches: Vec<RecordBatch>,
    ) -> Outcome {
        let service = FlightServiceServer::new(Self(batches));
        let Some(tls) = tls else {
            let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
            let server = Server::builder().add_service(service);
            return Ok(server.serve_with_incoming(connections).await?);
        };
        let connections = futures::stream::unfold((listener, tls), |(listener, tls)| async move {
            let accepted = transport::Accepted::next(&listener, &tls).await;
            Some((accepted, (listener, tls)))
        });
        let server = Server::builder().add_service(service);
        Ok(server.serve_with_incoming(connections).await?)
    }
}

fn none<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this server gives batches"))
}

#[tonic::async_trait]
impl FlightService for Stock {
    type HandshakeStream = Stream<HandshakeResponse>;
    type ListFlightsStream = Stream<FlightInfo>;
    type DoGetStream = Stream<FlightData>;
    type DoPutStream = Stream<PutResult>;
    type DoActionStream = Stream<FlightResult>;
    type ListActionsStream = Stream<ActionType>;
    type DoExchangeStream = Stream<FlightData>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let batches = futures::stream::iter(self.0.clone().into_iter().map(Ok::<_, FlightError>));
        let messages = FlightDataEncoderBuilder::new().build(batches);
        Ok(Response::new(messages.map_err(Status::from).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        none()
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        none()
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        none()
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        none()
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        none()
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        none()
    }

    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        none()
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        none()
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        none()
    }
}
