//! Bad input at the local API.

use p2p_chat_proto::v1::{self, node_client::NodeClient};
use tonic::{Code, transport::Channel};

use crate::{
    crafted::bad_names,
    support::{Cluster, LAB, Lines},
    table::{Expect, Row, calling, row, run},
};

const NAMES: [&str; 2] = ["alice", "bob"];
const MALFORMED: Expect = Expect::Refused(&[Code::InvalidArgument]);
const UNKNOWN: Expect = Expect::Refused(&[Code::NotFound]);
/// A name that nothing can bear is as good as unknown.
const NO_SUCH: Expect = Expect::Refused(&[Code::InvalidArgument, Code::NotFound]);
const EXISTS: Expect = Expect::Refused(&[Code::AlreadyExists]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_of_a_user_is_refused_and_changes_nothing() {
    let cluster = Cluster::of_patient(Lines::Direct, &NAMES).await;
    cluster.ledger.say(cluster.node("alice"), "something to inspect").await.expect("it can be said");
    cluster.rest(&NAMES).await;
    let mut rows = Vec::new();
    for name in NAMES {
        let client = cluster.node(name).client().max_encoding_message_size(usize::MAX);
        rows.extend(texts(&client, name));
        rows.extend(networks(&client, name));
        rows.extend(unknown(&client, name));
    }
    run(&cluster, "bad input of a user", rows).await;
}

fn texts(client: &NodeClient<Channel>, at: &str) -> Vec<Row> {
    let large = Expect::Refused(&[Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument]);
    let send = |what: &str, expect, network: &str, text: String| {
        let request =
            v1::SendRequest { network: network.to_owned(), text, wait: v1::Wait::None.into(), timeout_ms: 1_000 };
        row(format!("{at}: Send {what}"), expect, calling!(client, send, request.clone()))
    };
    vec![
        send("nothing", MALFORMED, LAB, String::new()),
        send("blanks", MALFORMED, LAB, " \t\n\u{3000}".to_owned()),
        send("65,537 bytes", MALFORMED, LAB, "a".repeat(65_537)),
        send("65,538 bytes in few characters", MALFORMED, LAB, "é".repeat(32_769)),
        send("5 MiB", large, LAB, "a".repeat(5 << 20)),
        send("to a network it is not in", UNKNOWN, "garden", "hello".to_owned()),
        send("to a network of that id", UNKNOWN, &"ab".repeat(32), "hello".to_owned()),
        send("to no network", NO_SUCH, "", "hello".to_owned()),
    ]
}

fn networks(client: &NodeClient<Channel>, at: &str) -> Vec<Row> {
    let create = |what: &str, expect, network: &str| {
        let request = v1::CreateRequest { network: network.to_owned() };
        row(format!("{at}: Create {what}"), expect, calling!(client, create, request.clone()))
    };
    let join = |what: &str, expect, network: &str| {
        let request = v1::JoinNetworkRequest { network: network.to_owned() };
        row(format!("{at}: Join {what}"), expect, calling!(client, join, request.clone()))
    };
    let mut rows = vec![
        create("a network it is in", EXISTS, LAB),
        join("a network it is in", EXISTS, LAB),
        join("a network that nobody lists", UNKNOWN, "garden"),
        join("a network that nobody lists, by id", UNKNOWN, &"ab".repeat(32)),
    ];
    for (what, name) in bad_names() {
        if let Ok(name) = String::from_utf8(name) {
            rows.push(create(&format!("a network under a name with {what}"), MALFORMED, &name));
            rows.push(join(&format!("a network under a name with {what}"), NO_SUCH, &name));
        }
    }
    rows
}

fn unknown(client: &NodeClient<Channel>, at: &str) -> Vec<Row> {
    let garden = || "garden".to_owned();
    let leave = v1::LeaveNetworkRequest { network: garden(), timeout_ms: 1_000, force: false };
    let forget = |network: &str| v1::ForgetRequest { network: network.to_owned() };
    let (forget_unknown, forget_current) = (forget("garden"), forget(LAB));
    let members = v1::MembersRequest { network: garden() };
    let history = v1::HistoryRequest { network: garden(), ..Default::default() };
    let subscribe = v1::SubscribeRequest { network: garden(), ..v1::SubscribeRequest::default() };
    let everything = v1::SubscribeRequest { start: v1::Start::Beginning.into(), ..v1::SubscribeRequest::default() };
    let mark = v1::MarkReadRequest { network: garden(), position: 1 };
    let inspect = |network: &str, message: &str| {
        let request = v1::InspectRequest { network: network.to_owned(), message: message.to_owned() };
        calling!(client, inspect, request.clone())
    };
    let still_in = Expect::Refused(&[Code::FailedPrecondition]);
    let nil = "00000000-0000-8000-8000-000000000000";
    let named = |call: &str| format!("{at}: {call}");
    vec![
        row(named("Leave a network it is not in"), UNKNOWN, calling!(client, leave, leave.clone())),
        row(named("Forget a network it was never in"), UNKNOWN, calling!(client, forget, forget_unknown.clone())),
        row(named("Forget a network it is in"), still_in, calling!(client, forget, forget_current.clone())),
        row(named("Members of an unknown network"), UNKNOWN, calling!(client, members, members.clone())),
        streaming(named("History of an unknown network"), UNKNOWN, calling!(client, history, history.clone())),
        streaming(named("Subscribe to an unknown network"), UNKNOWN, calling!(client, subscribe, subscribe.clone())),
        streaming(
            named("Subscribe to all from the beginning"),
            MALFORMED,
            calling!(client, subscribe, everything.clone()),
        ),
        row(named("MarkRead in an unknown network"), UNKNOWN, calling!(client, mark_read, mark.clone())),
        row(named("Inspect in an unknown network"), UNKNOWN, inspect("garden", nil)),
        row(named("Inspect an unknown message"), UNKNOWN, inspect(LAB, nil)),
        row(named("Inspect by 3 characters"), MALFORMED, inspect(LAB, "abc")),
        row(named("Inspect by what is no id"), NO_SUCH, inspect(LAB, "\u{1b}[2J\n; drop table")),
    ]
}

/// A refusal of a stream may come as its first item.
fn streaming<T, F>(name: String, expect: Expect, call: impl Fn() -> F + 'static) -> Row
where
    T: std::fmt::Debug + 'static,
    F: Future<Output = Result<tonic::Response<tonic::Streaming<T>>, tonic::Status>> + 'static,
{
    row(name, expect, move || {
        let calling = call();
        async move {
            let first = calling.await?.into_inner().message().await?;
            Ok(tonic::Response::new(first))
        }
    })
}
