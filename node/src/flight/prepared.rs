//! Letting the gate get ready before it judges.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tower::Service;

use super::Gate;

/// A service whose calls wait until the gate is ready to judge them. The gate
/// judges at once, so that no call is half judged; what takes time comes first.
#[derive(Clone)]
pub(super) struct Prepared<S> {
    inner: S,
    gate: Arc<dyn Gate>,
}

impl<S> Prepared<S> {
    pub(super) fn new(inner: S, gate: Arc<dyn Gate>) -> Self {
        Self { inner, gate }
    }
}

impl<S, B> Service<http::Request<B>> for Prepared<S>
where
    S: Service<http::Request<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<S::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The one that is ready, and a fresh one in its place.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let metadata = MetadataMap::from_headers(parts.headers.clone());
            gate.prepare(&metadata).await;
            inner.call(http::Request::from_parts(parts, body)).await
        })
    }
}

impl<S: NamedService> NamedService for Prepared<S> {
    const NAME: &'static str = S::NAME;
}
