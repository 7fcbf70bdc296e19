//! The Flight calls that arrow-flight leaves unanswered, answered.

use std::sync::Arc;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as FlightResult, SchemaResult,
    Ticket,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::service::SqlService;
use super::session::{query_status, session};
use crate::query::QueryError;

type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// [`SqlService`] as gRPC sees it. arrow-flight implements `FlightService` for
/// every Flight SQL service and answers three calls with "unimplemented"; this
/// type answers them and hands everything else on.
#[derive(Clone)]
pub(super) struct Face(pub(super) Arc<SqlService>);

#[tonic::async_trait]
impl FlightService for Face {
    type HandshakeStream = Stream<HandshakeResponse>;
    type ListFlightsStream = Stream<FlightInfo>;
    type DoGetStream = Stream<FlightData>;
    type DoPutStream = Stream<PutResult>;
    type DoActionStream = Stream<FlightResult>;
    type ListActionsStream = Stream<ActionType>;
    type DoExchangeStream = Stream<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let response = self.0.handshake(request).await?;
        let (metadata, stream, extensions) = response.into_parts();
        Ok(Response::from_parts(metadata, stream.boxed(), extensions))
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        // Every table of the caller's view, as a path; the schema comes with GetSchema.
        let session = session(&request)?;
        let flights: Vec<_> = session
            .view
            .tables()
            .map(|(name, _)| {
                let path = vec![
                    name.catalog.clone(),
                    name.schema.clone(),
                    name.table.clone(),
                ];
                Ok(FlightInfo::new().with_descriptor(FlightDescriptor::new_path(path)))
            })
            .collect();
        Ok(Response::new(futures::stream::iter(flights).boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        // Planning is quick, so the first answer is the last: no descriptor to go on with.
        let info = self.0.get_flight_info(request).await?.into_inner();
        Ok(Response::new(PollInfo {
            info: Some(info),
            progress: Some(1.0),
            ..PollInfo::default()
        }))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        if request.get_ref().r#type == DescriptorType::Path as i32 {
            let session = session(&request)?;
            let path = &request.get_ref().path;
            let found = session
                .view
                .tables()
                .find(|(name, _)| path.iter().eq([&name.catalog, &name.schema, &name.table]));
            let refused = |error: QueryError| query_status(&error, &session.trace);
            let (_, schema) = found.ok_or_else(|| refused(QueryError::bad_sql("no such table")))?;
            let info = FlightInfo::new()
                .try_with_schema(&schema)
                .map_err(|e| refused(QueryError::internal(e.to_string())))?;
            return Ok(Response::new(SchemaResult {
                schema: info.schema,
            }));
        }
        let info = self.0.get_flight_info(request).await?.into_inner();
        Ok(Response::new(SchemaResult {
            schema: info.schema,
        }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let response = self.0.do_put(request).await?;
        Ok(response.map(|stream| stream.boxed()))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let response = self.0.do_action(request).await?;
        Ok(response.map(|stream| stream.boxed()))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        let response = self.0.list_actions(request).await?;
        Ok(response.map(|stream| stream.boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let response = self.0.do_exchange(request).await?;
        Ok(response.map(|stream| stream.boxed()))
    }
}
