//! The HTTP door: `/metrics` and `/healthz`, meant for a loopback address.
//!
//! It holds few connections, each for a short time and one request, so that nobody at this door costs the node anything.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use dohle_env::net::{self, TcpListener, TcpStream};
use dohle_env::task;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Health, Metrics};

/// Connections at a time; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 16;
/// How long a connection may last.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(10);
/// How long accepting pauses after a failure, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stop` is done. Runs on the runtime it is called on.
pub async fn serve(
    bound: std::net::TcpListener,
    metrics: Metrics,
    health: Health,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let door = Door { listener: net::listener(bound)?, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
    let router = Router::new()
        .route("/metrics", get(show_metrics).with_state(metrics))
        .route("/healthz", get(show_health).with_state(health))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, [(header::CONNECTION, "close")], "/metrics or /healthz\n")
        });
    axum::serve(door, router).with_graceful_shutdown(stop).await
}

async fn show_metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE), (header::CONNECTION, "close")], metrics.read().await)
}

async fn show_health(State(health): State<Health>) -> impl IntoResponse {
    let (serves, body) = health.report().await;
    let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")], body)
}

/// Lets in as many as there is room for.
struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl axum::serve::Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let place = self.room.clone().acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let over = Box::pin(task::sleep(CONNECTION_LIFE));
                    return (Visit { stream, over, _place: place }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    task::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with an end.
struct Visit {
    stream: TcpStream,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Visit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Status, names};
    use dohle_env::Env;
    use dohle_env::thread::block_on;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = net::connect(address).await.expect("somebody listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is read");
        let mut answer = String::new();
        // The door closes the connection after one answer.
        stream.read_to_string(&mut answer).await.expect("UTF-8");
        answer
    }

    #[test]
    fn the_door_shows_metrics_and_health() {
        block_on(async {
            let bound = net::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).expect("a port");
            let address = bound.local_addr().expect("bound");
            let (metrics, health) = (Metrics::new(Env::real()), Health::starting());
            metrics.counter(names::BYTES_IN, &[]).add(42);
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let serving = serve(bound, metrics, health.clone(), async move { _ = stopped.await });
            let server = task::spawn(serving);
            let starting = ask(address, "/healthz").await;
            assert!(
                starting.starts_with("HTTP/1.1 503")
                    && starting.ends_with(r#"{"status":"starting","why":{}}"#),
                "{starting}"
            );
            health.set(Status::Ready);
            assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
            let shown = ask(address, "/metrics").await;
            assert!(shown.contains("kafka_server_brokertopicmetrics_bytesin_total 42"), "{shown}");
            assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));
            drop(stop);
            server.await.expect("no panic").expect("no failure");
        });
    }
}
