//! Streams that a test holds the other end of.

use std::{
    io::{self, Read, Write},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: &str, it: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, it).await.unwrap_or_else(|_| panic!("{what} did not come within {limit:?}"))
}

/// Remembers what is written and lets a test wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Screen(Arc<watch::Sender<Vec<u8>>>);

impl Default for Screen {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Vec::new()).0))
    }
}

impl Screen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("output is UTF-8")
    }

    /// Waits until `text` has been written.
    pub(crate) async fn shows(&self, text: &str) {
        let mut changes = self.0.subscribe();
        let seen = changes.wait_for(|bytes| String::from_utf8_lossy(bytes).contains(text));
        match tokio::time::timeout(Duration::from_secs(20), seen).await {
            Ok(result) => drop(result.expect("the screen is there")),
            Err(_) => panic!("{text:?} did not come; there is:\n{}", self.text()),
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|all| all.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A pipe whose reader has gone.
#[derive(Debug)]
pub(crate) struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(super::closed())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Input that a test types bit by bit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyboard(Arc<(Mutex<Typed>, Condvar)>);

#[derive(Debug, Default)]
struct Typed {
    bytes: Vec<u8>,
    is_at_end: bool,
}

impl Keyboard {
    pub(crate) fn line(&self, text: &str) {
        self.bytes(format!("{text}\n").as_bytes());
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.change(|typed| typed.bytes.extend_from_slice(bytes));
    }

    pub(crate) fn end(&self) {
        self.change(|typed| typed.is_at_end = true);
    }

    fn change(&self, change: impl FnOnce(&mut Typed)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }
}

impl Read for Keyboard {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let typed = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_waiting = |typed: &mut Typed| typed.bytes.is_empty() && !typed.is_at_end;
        let mut typed = self.0.1.wait_while(typed, is_waiting).unwrap_or_else(PoisonError::into_inner);
        let size = typed.bytes.len().min(into.len());
        into[..size].copy_from_slice(&typed.bytes[..size]);
        typed.bytes.drain(..size);
        Ok(size)
    }
}
