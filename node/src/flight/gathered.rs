//! Writes that are put together before they are encrypted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is written at once: as many bytes as tokio-rustls encrypts before it
/// turns to the socket, four records.
const GATHERED_BYTES: usize = 64 * 1024;

/// A connection whose writes are gathered.
///
/// HTTP/2 gives away one frame after the other, its nine bytes in front apart,
/// and flushes after each: of a client that takes frames of 16 KiB, as nearly
/// all do, that makes two records and two system calls for every 16 KiB.
///
/// The first flush is therefore put off until the connection is polled again, for
/// which it is woken at once: whatever is ready by then goes with it.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    inner: S,
    gathered: Vec<u8>,
    /// How much of it is written.
    written: usize,
    /// Whether a flush was put off since something was added.
    put_off: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            gathered: Vec::with_capacity(GATHERED_BYTES),
            written: 0,
            put_off: false,
        }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.gathered.get(self.written..).filter(|l| !l.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.written += more,
            }
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED_BYTES {
            ready!(self.poll_written(cx))?;
        }
        let taken = buf.len().min(GATHERED_BYTES - self.gathered.len());
        self.gathered
            .extend_from_slice(buf.get(..taken).unwrap_or_default());
        self.put_off = false;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let some = (1..GATHERED_BYTES).contains(&self.gathered.len());
        if some && !self.put_off {
            self.put_off = true;
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn frames_go_together_and_nothing_is_left_behind() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let mut gathered = Gathered::new(ours);
        let mut theirs = Box::pin(theirs);
        let mut read = |cx: &mut Context<'_>| {
            let mut bytes = [0; 256];
            let mut buf = ReadBuf::new(&mut bytes);
            let ready = theirs.as_mut().poll_read(cx, &mut buf).is_ready();
            (ready, buf.filled().len())
        };
        for n in 1..=3 {
            let mut this = Pin::new(&mut gathered);
            assert!(this.as_mut().poll_write(&mut cx, &[7; 9]).is_ready());
            assert!(this.poll_flush(&mut cx).is_ready());
            assert_eq!(woken.0.load(Ordering::Relaxed), n, "it is polled again");
            assert_eq!(read(&mut cx), (false, 0), "put off");
        }
        // Polled again, and nothing came in between.
        assert!(Pin::new(&mut gathered).poll_flush(&mut cx).is_ready());
        assert_eq!(read(&mut cx), (true, 27));
    }

    #[tokio::test]
    async fn what_is_written_arrives_however_it_is_cut() {
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let mut gathered = Gathered::new(ours);
        let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            for part in sent.chunks(7_001) {
                gathered.write_all(part).await.unwrap();
                poll_fn(|cx| Pin::new(&mut gathered).poll_flush(cx))
                    .await
                    .unwrap();
            }
            gathered.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        writing.await.unwrap();
        assert!(received == expected);
    }
}
