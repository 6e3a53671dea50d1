//! The smallest ext_authz server: allows every call, over gRPC and over HTTP, on one port and one thread.
//!
//! It never looks at what it is asked, so it costs less than any server that decides. It tells its address on its output.
#![expect(clippy::print_stdout, reason = "the bench reads the address there")]

use std::convert::Infallible;

use anyhow::Result;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

/// A message of gRPC: not compressed, of no bytes. An empty `CheckResponse` has status 0, which is OK.
const ALLOWED: &[u8] = &[0; 5];

type Answer = Either<Empty<Bytes>, WithTrailers<Full<Bytes>, Trailers>>;
type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;

async fn allow(request: Request<Incoming>) -> Result<Response<Answer>> {
    let grpc = HeaderValue::from_static("application/grpc");
    let is_grpc = request.headers().get(CONTENT_TYPE) == Some(&grpc);
    let mut question = request.into_body();
    while question.frame().await.transpose()?.is_some() {}
    if !is_grpc {
        return Ok(Response::new(Answer::Left(Empty::new())));
    }
    let status = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(0))]);
    let message = Full::new(Bytes::from_static(ALLOWED)).with_trailers(std::future::ready(Some(Ok(status))));
    let mut answer = Response::new(Answer::Right(message));
    answer.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(answer)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A connection that fails is the proxy's to open again; the bench sees a call that is not answered.
            let _ended = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(allow))
                .await;
        });
    }
}
