//! Which span caused what: kept beside the engine, which knows nothing of it, and only where spans are exported. Nothing
//! is decided by it.
//!
//! An output is put under the span of whatever brought it about, as far as that can be told from the output itself: an
//! own entry from the command it names, an admission from the joiner's request, a hand-over from the entries in it. A
//! call or commit that is caused by several has the first as its parent, and links to the others.

use std::collections::{BTreeMap, VecDeque};

use p2p_chat_engine::{CommandId, DiscoveryCall, Event, Output, PeerCall, Request, RequestId, Write};
use p2p_chat_model::{Epoch, MessageId, Name, PeerId, RosterOp, Seq};
use p2p_chat_traces::{Context, Kind, Span, Traces};

use super::{Incoming, outbox::Written};

/// Own entries, and runs of others, whose spans are remembered: the newest ones. What is older and handed over once
/// more begins a trace of its own.
const MAX_REMEMBERED: usize = 4_096;

/// The command with which a network is founded or joined.
pub(super) const FIRST: CommandId = CommandId(0);

/// An own entry.
struct Own {
    context: Context,
    message: Option<MessageId>,
}

/// A run that was handed over.
struct Received {
    author: PeerId,
    first: Seq,
    last: Seq,
    context: Context,
}

/// A peer's request that is not answered yet.
struct Asked {
    from: PeerId,
    /// Whom entries are to be passed on to; `None` for a request to be let in.
    target: Option<PeerId>,
    context: Context,
}

/// The own candidacy.
struct Election {
    epoch: Epoch,
    /// Over when there is a leader.
    span: Span,
    context: Option<Context>,
}

/// The spans of one network.
pub(super) struct Trail {
    traces: Traces,
    network: Name,
    me: PeerId,
    commands: BTreeMap<CommandId, Context>,
    asked: BTreeMap<RequestId, Asked>,
    own: BTreeMap<Seq, Own>,
    received: VecDeque<Received>,
    /// Who asked last for this node's vote: if it takes over, that is why.
    candidate: Option<Context>,
    election: Option<Election>,
}

impl Trail {
    pub(super) fn new(traces: Traces, network: Name, me: PeerId) -> Self {
        Self {
            traces,
            network,
            me,
            commands: BTreeMap::new(),
            asked: BTreeMap::new(),
            own: BTreeMap::new(),
            received: VecDeque::new(),
            candidate: None,
            election: None,
        }
    }

    /// The user wants something. Forgotten with the command's end.
    pub(super) fn on_command(&mut self, id: CommandId, cause: Option<Context>) {
        self.commands.extend(cause.map(|context| (id, context)));
    }

    /// A peer wants something. Forgotten with the answer.
    pub(super) fn on_request(&mut self, id: RequestId, from: PeerId, request: &Request, cause: Option<Context>) {
        let Some(context) = cause else { return };
        let target = match request {
            Request::Join { .. } => None,
            Request::Relay(target) => Some(*target),
            Request::Elect(..) => {
                self.candidate = Some(context);
                return;
            }
            _ => return,
        };
        self.asked.insert(id, Asked { from, target, context });
    }

    /// Something is about to be written. Returns what caused it, if that is known.
    pub(super) fn on_write(
        &mut self,
        write: &Write,
        incoming: Option<(&Incoming, &Option<Context>)>,
    ) -> Option<Context> {
        match (write, incoming) {
            (Write::Own { text, op, seq, .. }, _) => {
                let context = match (text, op) {
                    (Some(command), _) => self.commands.get(command)?.clone(),
                    (None, Some(RosterOp::Admit { peer, .. })) => {
                        let is_it = |asked: &&Asked| asked.target.is_none() && asked.from == *peer;
                        self.asked.values().find(is_it)?.context.clone()
                    }
                    _ => return None,
                };
                self.own.insert(*seq, Own { context: context.clone(), message: None });
                if self.own.len() > MAX_REMEMBERED {
                    self.own.pop_first();
                }
                Some(context)
            }
            (Write::Run(_), Some(((run, _), cause))) => {
                let context = cause.clone()?;
                if self.received.len() == MAX_REMEMBERED {
                    self.received.pop_front();
                }
                let (author, first, last) = (run.author, run.first, run.last());
                self.received.push_back(Received { author, first, last, context: context.clone() });
                Some(context)
            }
            _ => None,
        }
    }

    /// An own entry has its id.
    pub(super) fn on_written(&mut self, written: &Written) {
        if let Some(own) = self.own.get_mut(&written.seq) {
            own.message = Some(written.message);
        }
    }

    /// The commit of what these caused. Ends when it is on disk.
    pub(super) fn commit(&self, causes: &[Context]) -> Span {
        let Some((parent, others)) = causes.split_first() else { return Span::default() };
        let mut span = self.traces.begin("commit", Kind::Internal, Some(parent));
        span.set("network", self.network.to_string());
        for other in others.iter().filter(|other| *other != parent) {
            span.link(other, "reason", "same commit");
        }
        span
    }

    /// An output is about to be carried out, as a step of standing for the epoch of `candidacy`, if there is one. Returns
    /// the span of the call that it is; of nothing, if it is none, or one that is made all the time.
    pub(super) fn on_output(
        &mut self,
        output: &Output,
        candidacy: Option<Epoch>,
        acked: &BTreeMap<PeerId, Seq>,
    ) -> Span {
        if !self.traces.is_on() {
            return Span::default();
        }
        if let Some(epoch) = candidacy {
            self.stand(epoch);
        }
        match output {
            Output::Reply(id, _) => drop(self.asked.remove(id)),
            Output::Done(id, _) => drop(self.commands.remove(id)),
            Output::Event(event) => self.on_event(event),
            Output::Call { peer, call, .. } => return self.call(*peer, call, acked),
            Output::Discover { call, .. } => return self.discover(call),
            Output::Write(_) => {}
        }
        Span::default()
    }

    fn on_event(&mut self, event: &Event) {
        let outcome = match event {
            Event::LeaderChanged { leader, .. } if *leader == self.me => "won",
            Event::LeaderChanged { .. } => "another leads",
            Event::LeaderBack(_) => "the leader is back",
            _ => return,
        };
        self.candidate = None;
        if let Some(election) = &mut self.election {
            std::mem::take(&mut election.span).set("outcome", outcome);
        }
    }

    fn call(&self, peer: PeerId, call: &PeerCall, acked: &BTreeMap<PeerId, Seq>) -> Span {
        let mut span = match call {
            PeerCall::Join { .. } => self.begin("p2pchat.v1.Membership/Join", self.commands.get(&FIRST)),
            PeerCall::Leave => self.begin("p2pchat.v1.Membership/Leave", None),
            PeerCall::UpdateView(..) => self.begin("p2pchat.v1.Membership/UpdateView", None),
            PeerCall::Elect(epoch, _) => self.begin("p2pchat.v1.Election/Elect", self.reign(*epoch)),
            PeerCall::Coordinate(view, _) => self.begin("p2pchat.v1.Election/Coordinate", self.reign(view.epoch)),
            PeerCall::Deliver { author, from, upto } => self.deliver(peer, *author, (*from, *upto)),
            PeerCall::Relay(target) => {
                let lacked = acked.get(target).copied().unwrap_or(0) + 1;
                let cause = self.own.range(lacked..).next().map(|(_, own)| &own.context);
                let mut span = self.begin("p2pchat.v1.Chat/Relay", cause);
                span.set("target", target.short());
                span
            }
            PeerCall::Fetch(..) => self.begin("p2pchat.v1.Chat/Fetch", None),
            // All the time, and of interest only where they fail.
            PeerCall::Ping(_) | PeerCall::PingVia(_) => return Span::default(),
        };
        span.set("peer", peer.short());
        span
    }

    fn deliver(&self, to: PeerId, author: PeerId, (from, upto): (Seq, Seq)) -> Span {
        let name = "p2pchat.v1.Chat/Deliver";
        let mut span = if author == self.me {
            let mut own = self.own.range(from..=upto).map(|(_, own)| own);
            let first = own.next();
            let mut span = self.begin(name, first.map(|own| &own.context));
            if let Some(message) = first.and_then(|own| own.message) {
                span.set("message_id", message.to_string());
            }
            for Own { context, message } in own.take(p2p_chat_traces::MAX_LINKS) {
                span.link(context, "message_id", message.map_or_else(String::new, |message| message.to_string()));
            }
            span
        } else {
            let is_asked = |asked: &&Asked| asked.target == Some(to) && asked.from == author;
            let is_of = |run: &&Received| run.author == author && run.first <= upto && run.last >= from;
            let asked = self.asked.values().find(is_asked).map(|asked| &asked.context);
            self.begin(name, asked.or_else(|| self.received.iter().find(is_of).map(|run| &run.context)))
        };
        span.set("author", author.short());
        span.set("from", from.to_string());
        span.set("upto", upto.to_string());
        span
    }

    fn discover(&self, call: &DiscoveryCall) -> Span {
        match call {
            DiscoveryCall::Create { view, .. } => {
                let cause = self.commands.get(&FIRST).or_else(|| self.reign(view.epoch));
                self.begin("p2pchat.v1.Discovery/CreateNetwork", cause)
            }
            DiscoveryCall::Update { view, .. } => {
                self.begin("p2pchat.v1.Discovery/UpdateLeader", self.reign(view.epoch))
            }
            DiscoveryCall::Close { .. } => self.begin("p2pchat.v1.Discovery/CloseNetwork", None),
            DiscoveryCall::Renew { .. } | DiscoveryCall::Lookup => Span::default(),
        }
    }

    /// This node stands for `epoch`, unless it does so already.
    fn stand(&mut self, epoch: Epoch) {
        if self.election.as_ref().is_some_and(|election| election.epoch >= epoch) {
            return;
        }
        let cause = self.candidate.take();
        let mut span = self.traces.begin("election", Kind::Internal, cause.as_ref());
        span.set("network", self.network.to_string());
        span.set("epoch", epoch.to_string());
        self.election = Some(Election { epoch, context: span.context(), span });
    }

    /// What won, or is to win, the reign of `epoch` for this node.
    pub(super) fn reign(&self, epoch: Epoch) -> Option<&Context> {
        self.election.as_ref().filter(|election| election.epoch == epoch)?.context.as_ref()
    }

    fn begin(&self, name: &'static str, cause: Option<&Context>) -> Span {
        let mut span = self.traces.begin(name, Kind::Client, cause);
        span.set("rpc.system", "grpc");
        span.set("network", self.network.to_string());
        span
    }
}
