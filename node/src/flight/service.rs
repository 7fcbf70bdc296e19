//! The Flight SQL service that both listeners serve.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};

use super::actions;
use super::answer::Wanted;
use super::begun::Begun;
use super::binding;
use super::ending;
use super::message::Message;
use super::metadata::Answer;
use super::partitioned;
use super::session::{Recorder, Running, Served, Session, query_status, session, status};
use super::stream;
use super::tickets::{Statement, Ticket as Ticketed, Tickets};
use super::{SNAPSHOT, TRACE};
use crate::clock;
use crate::query::{Engine, Missing, Partition, Prepared};

/// "Use this same connection": satisfies every client, and never makes one
/// send its token elsewhere (`spec/5-data-plane.md#D-116`).
const REUSE: &str = "arrow-flight-reuse-connection://?";

type Messages = <SqlService as FlightService>::DoGetStream;

/// Flight SQL over an [`Engine`], for whoever a gate let in.
#[derive(Clone)]
pub(super) struct SqlService {
    engine: Arc<Engine>,
    tickets: Arc<Tickets>,
}

/// An answer that goes out.
pub(super) struct Outgoing {
    pub(super) headers: MetadataMap,
    pub(super) messages: BoxStream<'static, Result<Message, Status>>,
    /// What is told at its end.
    pub(super) late: Option<Late>,
}

/// What is known of an answer when it has ended.
pub(super) struct Late {
    missing: Option<Arc<Missing>>,
    recorder: Arc<dyn Recorder>,
    served: Served,
}

impl Late {
    /// What it is without, where it may be without something.
    pub(super) fn missing(&self) -> Option<&Missing> {
        self.missing.as_deref()
    }

    /// The name of the states that were read.
    pub(super) fn snapshot(&self) -> Option<String> {
        self.recorder.snapshot(&self.served)
    }
}

impl SqlService {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            tickets: Arc::new(Tickets::default()),
        }
    }

    async fn prepare(&self, session: &Session, of: &Statement) -> Result<Prepared, Status> {
        self.engine
            .prepare_with(Arc::clone(&session.view), &of.sql, of.values.clone())
            .await
            .map_err(|error| {
                // Whoever tries what is closed leaves a trace of it, as whoever is
                // over a limit does; slips of the pen are none of the journal's.
                if matches!(error.code(), "not-permitted" | "too-large") {
                    session.recorder.refused(error.code(), &error.to_string());
                }
                query_status(&error, &session.trace)
            })
    }

    /// The info of a planned statement. Its tickets are random handles: no SQL, no names.
    fn info(
        &self,
        session: &Session,
        statement: Statement,
        schema: &SchemaRef,
        request: Request<FlightDescriptor>,
    ) -> Result<FlightInfo, Status> {
        let now = clock::now();
        let of = (session.view.caller().as_ref(), session.key.as_str());
        // One ticket: its partitions read the same states (spec/5-data-plane.md#D-147).
        let mut ticket = Ticketed::new(of, statement, Arc::clone(schema), now);
        ticket.partitions = partitioned::of_question(request.metadata(), &session.trace)?;
        let handle = self.tickets.issue(ticket.clone(), now)?;
        let endpoints = ticket.handles(&handle).into_iter().map(|handle| {
            let mut endpoint = FlightEndpoint::new()
                .with_ticket(actions::ticket(handle))
                .with_location(REUSE);
            endpoint.expiration_time = Some(prost_types::Timestamp {
                seconds: i64::try_from(ticket.expires.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            });
            endpoint
        });
        let endpoints = endpoints.collect();
        describe(schema, request.into_inner(), endpoints)
    }

    /// Redeems a handle: its statement, planned with what the caller may see
    /// now. An answer of another shape than announced would be misread.
    async fn redeem(
        &self,
        session: &Session,
        handle: &[u8],
    ) -> Result<(Ticketed, Option<Partition>, Prepared), Status> {
        let (ticket, partition) = self.tickets.redeem(handle, &session.key, clock::now())?;
        let prepared = self.prepare(session, &ticket.statement).await?;
        if prepared.schema() != ticket.schema {
            return Err(status(
                Code::FailedPrecondition,
                "terms-mismatch",
                "what may be read has changed since the question; ask again",
                &session.trace,
            ));
        }
        Ok((ticket, partition, prepared))
    }

    /// A statement that is its own ticket: made and redeemed in one, and never
    /// kept (`spec/5-data-plane.md#D-231`).
    async fn redeem_at_once(
        &self,
        session: &Session,
        sql: &str,
    ) -> Result<(Ticketed, Option<Partition>, Prepared), Status> {
        let statement = Statement::plain(sql);
        let prepared = self.prepare(session, &statement).await?;
        let of = (session.view.caller().as_ref(), session.key.as_str());
        let ticket = Ticketed::new(of, statement, prepared.schema(), clock::now());
        Ok((ticket, None, prepared))
    }

    /// The messages that are wanted, the headers in front of them, and what is
    /// missing in them at their end.
    pub(super) async fn answer(
        &self,
        request: &Request<()>,
        wanted: Wanted,
    ) -> Result<Outgoing, Status> {
        let session = &session(request)?;
        if session.stop.is_cancelled() {
            return Err(status(
                Code::PermissionDenied,
                "revoked",
                "the right to read this has ended",
                &session.trace,
            ));
        }
        let (ticket, partition, planned) = match &wanted {
            Wanted::Ticket(handle) | Wanted::Prepared(handle) => {
                self.redeem(session, handle).await?
            }
            Wanted::Statement(sql) => self.redeem_at_once(session, sql).await?,
        };
        let served = Served {
            query: ticket.statement.digest(),
            plan: planned.digest(),
            // A prepared statement is asked anew each time: no state of the data
            // is kept for the next (spec/5-data-plane.md#D-147).
            snapshots: match wanted {
                Wanted::Prepared(_) => Arc::default(),
                Wanted::Ticket(_) | Wanted::Statement(_) => Arc::clone(&ticket.snapshots),
            },
        };
        let partition = partitioned::of_call(request.metadata(), partition, &session.trace)?;
        let running = Running::begin(session)?;
        // Written down before the first byte leaves (spec/5-data-plane.md#D-110).
        let reserved = running.reserve(0, 0);
        let begun = Begun::new(session, &served);
        if let Err(denied) = session.recorder.started(&served, reserved).await {
            begun.done();
            return Err(denied.into());
        }
        let snapshots = Arc::clone(&served.snapshots);
        let may_split = !running.limits_each();
        let rows = planned.run_partition(snapshots, partition, may_split);
        let rows = match rows.await {
            Ok(rows) => rows,
            Err(error) => {
                begun.failed(error.code());
                return Err(query_status(&error, &session.trace));
            }
        };
        begun.done();
        let schema = planned.schema();
        let mut headers = MetadataMap::new();
        let mut late = None;
        // A member's node knows it when the partners have begun to answer.
        if session.member {
            late = Some(Late {
                missing: session.view.missing().cloned(),
                recorder: Arc::clone(&session.recorder),
                served: served.clone(),
            });
        } else if let Some(Ok(name)) = session.recorder.snapshot(&served).map(|n| n.parse()) {
            headers.insert(SNAPSHOT, name);
        }
        let served = (&ticket, served);
        let messages = stream::answer(session, (running, reserved), served, schema, rows);
        // By it both sides name the delivery (spec/5-data-plane.md#D-122).
        if let Ok(trace) = session.trace.parse() {
            headers.insert(TRACE, trace);
        }
        Ok(Outgoing {
            headers,
            messages,
            late,
        })
    }

    /// The same for arrow-flight, which wants each message in one piece.
    async fn rows<T>(
        &self,
        request: Request<T>,
        wanted: Wanted,
    ) -> Result<Response<Messages>, Status> {
        let (metadata, extensions, _) = request.into_parts();
        let request = Request::from_parts(metadata, extensions, ());
        let Outgoing {
            headers, messages, ..
        } = self.answer(&request, wanted).await?;
        let messages: Messages = messages.map_ok(FlightData::from).boxed();
        Ok(Response::from_parts(headers, messages, Extensions::new()))
    }

    /// The info of a metadata command: the command itself is the ticket, and
    /// redeeming it is judged like any call.
    fn metadata_info<C: Answer + ProstMessageExt + Clone>(
        command: C,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = session(&request)?;
        let ticket = Ticket::new(command.as_any().encode_to_vec());
        let schema = command.answer(&session)?.schema();
        let endpoint = FlightEndpoint::new()
            .with_ticket(ticket)
            .with_location(REUSE);
        Ok(Response::new(describe(
            &schema,
            request.into_inner(),
            vec![endpoint],
        )?))
    }

    fn metadata_rows<C: Answer>(
        command: C,
        request: &Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let batch = command.answer(&session(request)?)?;
        let stream = FlightDataEncoderBuilder::new()
            .with_schema(batch.schema())
            .build(futures::stream::iter([Ok::<_, FlightError>(batch)]))
            .map_err(Status::from);
        Ok(Response::new(stream.boxed()))
    }
}

fn describe(
    schema: &SchemaRef,
    descriptor: FlightDescriptor,
    endpoints: Vec<FlightEndpoint>,
) -> Result<FlightInfo, Status> {
    let mut info = FlightInfo::new().try_with_schema(schema).map_err(|_| {
        status(
            Code::Internal,
            "internal",
            "the schema could not be encoded",
            "",
        )
    })?;
    info.endpoint = endpoints;
    // Counts would tell about hidden rows (A19, spec/5-data-plane.md#D-115).
    Ok(info
        .with_descriptor(descriptor)
        .with_total_records(-1)
        .with_total_bytes(-1))
}

fn schema_bytes(schema: &SchemaRef) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into().map_err(|_| {
        status(
            Code::Internal,
            "internal",
            "the schema could not be encoded",
            "",
        )
    })?;
    Ok(bytes)
}

/// One pair of methods for each metadata command, in the form that
/// `async_trait` gives a method: it does not look inside macros.
macro_rules! metadata {
    ($($command:ty: $info:ident, $rows:ident;)*) => {$(
        fn $info<'s, 'f>(
            &'s self,
            command: $command,
            request: Request<FlightDescriptor>,
        ) -> Answered<'f, FlightInfo>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(std::future::ready(Self::metadata_info(command, request)))
        }

        fn $rows<'s, 'f>(
            &'s self,
            command: $command,
            request: Request<Ticket>,
        ) -> Answered<'f, Messages>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(std::future::ready(Self::metadata_rows(command, &request)))
        }
    )*};
}

/// An answer that a metadata method gives.
type Answered<'f, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'f>>;

#[tonic::async_trait]
impl FlightSqlService for SqlService {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<
        Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>,
        Status,
    > {
        // The gate has judged the Basic or Bearer header already; the token
        // goes back as JDBC and ADBC expect it, in header and body.
        let token = session(&request)?.token.unwrap_or_default();
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into_bytes().into(),
        };
        let stream = futures::stream::iter([Ok(answer)]).boxed();
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> = Response::new(stream);
        if let Ok(value) = format!("Bearer {token}").parse() {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        command: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = session(&request)?;
        let statement = Statement::plain(&command.query);
        let prepared = self.prepare(&session, &statement).await?;
        let schema = prepared.schema();
        let info = self.info(&session, statement, &schema, request)?;
        Ok(ending::told(
            info,
            session.view.ends(prepared.tables()),
            session.computed_here(&prepared),
        ))
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let wanted = Wanted::Ticket(ticket.statement_handle);
        self.rows(request, wanted).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        command: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let session = session(&request)?;
        let described = self
            .engine
            .describe(Arc::clone(&session.view), &command.query)
            .await
            .map_err(|e| query_status(&e, &session.trace))?;
        let dataset_schema = schema_bytes(&described.schema)?;
        let parameter_schema = schema_bytes(&described.places)?;
        let statement = Statement {
            sql: command.query,
            places: described.places,
            values: Vec::new(),
        };
        let of = (session.view.caller().as_ref(), session.key.as_str());
        let now = clock::now();
        let ticket = Ticketed::new(of, statement, described.schema, now);
        let handle = self.tickets.issue(ticket, now)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        command: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let session = session(&request)?;
        self.tickets
            .end(&command.prepared_statement_handle, &session.key, false);
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let session = session(&request)?;
        let handle = &command.prepared_statement_handle;
        let (ticket, _, prepared) = self.redeem(&session, handle).await?;
        let schema = prepared.schema();
        let info = self.info(&session, ticket.statement, &schema, request)?;
        Ok(ending::told(
            info,
            session.view.ends(prepared.tables()),
            session.computed_here(&prepared),
        ))
    }

    async fn do_get_prepared_statement(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Messages>, Status> {
        let wanted = Wanted::Prepared(command.prepared_statement_handle);
        self.rows(request, wanted).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let session = session(&request)?;
        let handle = &command.prepared_statement_handle;
        let (ticket, _) = self.tickets.redeem(handle, &session.key, clock::now())?;
        let values = binding::read(request.into_inner(), &ticket.statement.places)
            .await
            .map_err(|why| status(Code::InvalidArgument, "bad-sql", &why, &session.trace))?;
        self.tickets.bind(handle, &session.key, values);
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle.clone()),
        })
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let trace = session(&request)?.trace;
        Err(status(
            Code::PermissionDenied,
            "not-permitted",
            "this node is read-only",
            &trace,
        ))
    }

    async fn do_action_cancel_query(
        &self,
        command: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let session = session(&request)?;
        let info = FlightInfo::decode(command.info).ok();
        let ended = actions::cancel(info.as_ref(), &session, &self.tickets);
        // FlightSql.proto: 1 is CANCELLED, 3 is NOT_CANCELLABLE.
        Ok(ActionCancelQueryResult {
            result: if ended { 1 } else { 3 },
        })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let session = session(&request)?;
        let answer = actions::perform(request.get_ref(), &session, &self.tickets)?;
        Ok(Response::new(futures::stream::iter([Ok(answer)]).boxed()))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<arrow_flight::ActionType, Status>>> {
        Some(actions::list().into_iter().map(Ok).collect())
    }

    metadata! {
        CommandGetCatalogs: get_flight_info_catalogs, do_get_catalogs;
        CommandGetDbSchemas: get_flight_info_schemas, do_get_schemas;
        CommandGetTables: get_flight_info_tables, do_get_tables;
        CommandGetTableTypes: get_flight_info_table_types, do_get_table_types;
        CommandGetSqlInfo: get_flight_info_sql_info, do_get_sql_info;
        CommandGetPrimaryKeys: get_flight_info_primary_keys, do_get_primary_keys;
        CommandGetExportedKeys: get_flight_info_exported_keys, do_get_exported_keys;
        CommandGetImportedKeys: get_flight_info_imported_keys, do_get_imported_keys;
        CommandGetCrossReference: get_flight_info_cross_reference, do_get_cross_reference;
        CommandGetXdbcTypeInfo: get_flight_info_xdbc_type_info, do_get_xdbc_type_info;
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
