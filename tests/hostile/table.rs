//! Tables of hostile calls.

use std::{
    fmt::Debug,
    pin::Pin,
    time::{Duration, Instant},
};

use p2p_chat_proto::v1;
use tonic::{Code, Request, Response, Status};

use crate::{
    state::State,
    support::{Cluster, figure, let_pass, wait::secs},
};

/// How long a refusal may take: some need a call back to an address that does not answer.
const CALL_DEADLINE: Duration = secs(15);

/// What must come of a call, besides nothing being changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// An error with one of these codes.
    Refused(&'static [Code]),
    /// An error with one of these codes, or an answer that says this (in its debug form).
    RefusedOr(&'static [Code], &'static str),
    /// An answer that says this.
    Says(&'static str),
}

type Outcome = Pin<Box<dyn Future<Output = Result<String, Status>>>>;

/// One hostile call.
pub(crate) struct Row {
    name: String,
    expect: Expect,
    call: Box<dyn Fn() -> Outcome>,
}

/// A row.
pub(crate) fn row<T: Debug, F>(name: impl Into<String>, expect: Expect, call: impl Fn() -> F + 'static) -> Row
where
    F: Future<Output = Result<Response<T>, Status>> + 'static,
{
    let call = move || -> Outcome {
        let calling = call();
        Box::pin(async move { calling.await.map(|response| format!("{:?}", response.into_inner())) })
    };
    Row { name: name.into(), expect, call: Box::new(call) }
}

/// A call of a generated client that can be made again and again.
macro_rules! calling {
    ($client:expr, $method:ident, $request:expr) => {{
        let (client, request) = ($client.clone(), $request);
        move || {
            let (mut client, request) = (client.clone(), crate::table::request(request.clone()));
            async move { client.$method(request).await }
        }
    }};
}
pub(crate) use calling;

/// A request with the deadline of this module.
pub(crate) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_DEADLINE);
    request
}

/// Makes every call, and panics with a list of all rows that did not come out as they must.
pub(crate) async fn run(cluster: &Cluster, title: &str, rows: Vec<Row>) {
    let begun = Instant::now();
    let initial = State::at_rest(cluster).await;
    let mut failures = Vec::new();
    let mut before = initial.clone();
    let count = rows.len();
    for row in rows {
        if let Err(complaint) = row.check().await {
            failures.push(format!("{}: {complaint}", row.name));
        }
        let after = State::read(cluster).await;
        if let Some(change) = before.difference(&after) {
            failures.push(format!("{}: the state changed: {change}", row.name));
        }
        before = after;
    }
    // Some effects could come late: give them the time of a few rounds of failure detection, of nodes that are patient.
    let_pass(secs(12)).await;
    if let Some(change) = initial.difference(&State::read(cluster).await) {
        failures.push(format!("some time after the last row: the state changed: {change}"));
    }
    assert!(failures.is_empty(), "{} of {count} rows of {title}:\n- {}", failures.len(), failures.join("\n- "));
    still_works(cluster, title).await;
    figure(format!("{title}: {count} rows, nothing changed ({:.1?})", begun.elapsed()));
}

/// A message still goes from everybody to everybody.
async fn still_works(cluster: &Cluster, title: &str) {
    for node in cluster.running() {
        let text = format!("{} is fine after {title}", node.name);
        let sent = cluster.ledger.say(node, &text).await;
        let sent = sent.unwrap_or_else(|status| panic!("{} can't send any more: {status}", node.name));
        for other in cluster.running().filter(|other| other.name != node.name) {
            crate::support::eventually(secs(30), format!("{text:?} at {}", other.name), async || {
                let request = v1::InspectRequest { network: "lab".to_owned(), message: sent.id.clone() };
                let found = other.client().inspect(request).await;
                found.map(|_| ()).map_err(|status| status.to_string())
            })
            .await;
        }
    }
}

impl Row {
    async fn check(&self) -> Result<(), String> {
        let mut outcome = (self.call)().await;
        // Whoever calls often is told to wait; that is another test's business.
        for _ in 0..20 {
            match &outcome {
                Err(status) if self.is_throttled(status) => let_pass(Duration::from_millis(300)).await,
                _ => break,
            }
            outcome = (self.call)().await;
        }
        match (self.expect, outcome) {
            (Expect::Refused(codes) | Expect::RefusedOr(codes, _), Err(status)) => refused_well(&status, codes),
            (Expect::Says(part) | Expect::RefusedOr(_, part), Ok(answer)) if answer.contains(part) => Ok(()),
            (expect, Err(status)) => Err(format!("expected {expect:?}, got {status}")),
            (expect, Ok(answer)) => Err(format!("expected {expect:?}, got the answer {answer:.300}")),
        }
    }

    fn is_throttled(&self, status: &Status) -> bool {
        let expected = match self.expect {
            Expect::Refused(codes) | Expect::RefusedOr(codes, _) => codes.contains(&Code::ResourceExhausted),
            Expect::Says(_) => false,
        };
        status.code() == Code::ResourceExhausted && !expected
    }
}

/// The right code, and a message that a terminal can print.
fn refused_well(status: &Status, codes: &[Code]) -> Result<(), String> {
    let message = status.message();
    if !codes.contains(&status.code()) {
        Err(format!("expected one of {codes:?}, got {status}"))
    } else if message.is_empty() || message.chars().any(char::is_control) {
        Err(format!("the message is not printable: {message:?}"))
    } else {
        Ok(())
    }
}
