//! `send`, `history`, `listen`.

use std::{fmt::Display, time::Duration};

use p2p_chat_proto::v1::{self, event::Event};
use tonic::Code;

use crate::{
    args::{From, Wait},
    client::Client,
    console::{Console, one_line},
    failure::Failure,
    follow::{Follower, Next},
    holder::Mode,
    host::Host,
    render::{json, message},
    run::{self, Run},
    settings::Settings,
    surroundings::reader_gone,
    values::quoted,
};

/// `p2p-chat send`
pub(crate) async fn send(
    client: &Client,
    console: &mut Console,
    network: &str,
    text: String,
    wait: Wait,
    patience: Duration,
) -> Result<(), Failure> {
    let wait = match wait {
        Wait::None => v1::Wait::None,
        Wait::One => v1::Wait::One,
        Wait::All => v1::Wait::All,
    };
    let (id, receipt, failure) = match client.send(network, text, wait, patience).await {
        Ok(sent) => {
            let v1::SendResponse { id, seq, lamport, stored_by, members } = sent;
            (id, Some(json::Receipt { seq, lamport, stored_by, members }), None)
        }
        Err(status) if status.code() == Code::DeadlineExceeded => {
            let id = status.metadata().get("message-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
            let Some(id) = id else { return Err(status.into()) };
            (id, None, Some(Failure::from(status)))
        }
        Err(status) => return Err(may_go_out(status.into(), network)),
    };
    if console.json {
        console.object(&json::Sent { network, id: &id, receipt })?;
    } else {
        console.line(one_line(&id))?;
    }
    failure.map_or(Ok(()), Err)
}

/// What to say when the user gives up while a message is being sent to `network`.
pub(crate) fn interrupted(network: &str) -> Failure {
    Failure::Failed(unsettled(run::interrupted(), network))
}

/// `failure`, and what it leaves open if nobody has answered.
fn may_go_out(failure: Failure, network: &str) -> Failure {
    match failure {
        Failure::Unreachable(why) => Failure::Unreachable(unsettled(why, network)),
        failure => failure,
    }
}

fn unsettled(why: impl Display, network: &str) -> String {
    let network = quoted(network);
    format!("{why}; the message may go out all the same: see p2p-chat history {network} before you send it again")
}

/// `p2p-chat history`
pub(crate) async fn history(client: &Client, console: &mut Console, network: &str, limit: u64) -> Result<(), Failure> {
    let mut messages = client.history(network, limit).await?;
    while let Some(message) = messages.next().await? {
        message::print(&message, console)?;
    }
    Ok(())
}

/// `p2p-chat listen`: until interrupted.
pub(crate) async fn listen<H: Host>(
    run: &mut Run<'_, H>,
    settings: &Settings,
    network: &str,
    from: From,
) -> Result<(), Failure> {
    let start = match from {
        From::Start => v1::Start::Beginning,
        From::Now => v1::Start::Now,
    };
    let session = run.open(settings, Mode::Listen).await?;
    run.explain_what_is_ignored(&session);
    let subscribed = tokio::select! {
        subscribed = session.client.subscribe(network, start, 0) => subscribed,
        () = run.interrupt.wait() => return session.close(&mut run.console, &mut run.interrupt).await,
    };
    let mut follower = match subscribed {
        Ok(incoming) => Follower::new(session, network, start, incoming),
        Err(status) => {
            // Why it failed is worth more than how the node ended.
            let _ = session.close(&mut run.console, &mut run.interrupt).await;
            return Err(status.into());
        }
    };
    let host = run.host;
    let reader = run.take_out_pipe();
    let console = &mut run.console;
    let result = tokio::select! {
        result = print_all(&mut follower, host, console) => result,
        () = run.interrupt.wait() => Ok(()),
        // Or it would be noticed at the next message only, which may never come.
        () = reader_gone(reader) => Err(Failure::OutputClosed),
    };
    let closed = follower.session.close(&mut run.console, &mut run.interrupt).await;
    result.and(closed)
}

async fn print_all<H: Host>(follower: &mut Follower<H::Node>, host: &H, console: &mut Console) -> Result<(), Failure> {
    loop {
        match follower.next().await? {
            Next::Event(Event::Message(message)) => {
                message::print(&message, console)?;
                console.flush()?;
            }
            Next::Event(Event::Notice(notice)) => console.note(one_line(&notice.text)),
            Next::Event(Event::Acknowledged(_) | Event::CaughtUp(_) | Event::BeginsAfter(_)) => {}
            Next::Lost => follower.recover(host, Mode::Listen, |sentence| console.note(sentence)).await?,
        }
    }
}
