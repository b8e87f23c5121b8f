//! The world as one value: the nodes with their disks, the discovery service, and the calls under way. A step makes a
//! new world out of it; parts that did not change are shared.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use p2p_chat_engine::{CallError, CallId, DiscoveryCall, Durable, Engine, Request, RequestId, Response};
use p2p_chat_nds::registry::{Answers, Probe};

use crate::{
    bounds::{ANY, Bounds, Cut, Left},
    cast::{Cast, NDS, Who, cast},
    discovery::Service,
    fingerprint::{BEGINNING, Canonical, print_of},
    properties::{History, Violation},
    sights::Sights,
};

/// Keeps hashes out of the ranges that [`Canonical`] knows.
const TOP: u64 = 1 << 63;

/// A process and its disk.
#[derive(Clone)]
pub(crate) struct Node {
    /// None while it is down.
    pub(crate) engine: Option<Engine>,
    pub(crate) disk: Durable,
    /// Counts the lives of the process.
    pub(crate) life: u64,
}

/// A call under way.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) from: Who,
    pub(crate) to: Who,
    /// When its caller waits no longer.
    pub(crate) deadline: u64,
    /// Whether the caller waits for the answer.
    pub(crate) is_awaited: bool,
    /// It may take as long as it likes, for ever included.
    pub(crate) is_late: bool,
    pub(crate) stage: Stage,
    /// The hash of what is carried, without the serial in it, and the serial.
    print: (u64, u64),
}

/// How far a call has come.
#[derive(Clone)]
pub(crate) enum Stage {
    /// On its way to a node.
    Asked(Arc<Request>),
    /// On its way to the discovery service.
    AskedService(Arc<DiscoveryCall>),
    /// With the node.
    Handled(RequestId),
    /// With the discovery service, which calls nodes back and decides until then.
    Probing { call: Arc<DiscoveryCall>, answers: Arc<Answers>, open: Arc<Vec<Probe>>, until: u64 },
    /// On its way back.
    Answered(Arc<Result<Response, CallError>>),
}

impl Call {
    pub(crate) fn new(id: CallId, from: Who, to: Who, deadline: u64, stage: Stage) -> Self {
        let mut call = Self { id, from, to, deadline, is_awaited: true, is_late: false, stage, print: (0, 0) };
        call.take_print();
        call
    }

    pub(crate) fn set(&mut self, stage: Stage) {
        self.stage = stage;
        self.is_late = false;
        self.take_print();
    }

    fn take_print(&mut self) {
        self.print = match &self.stage {
            Stage::Asked(request) => (print_of(request), 0),
            Stage::Handled(_) => (0, 0),
            Stage::AskedService(call) | Stage::Probing { call, .. } => crate::discovery::print_of_call(call),
            Stage::Answered(result) => crate::discovery::print_of_answer(result),
        };
    }
}

impl Hash for Call {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.from, self.to, self.is_awaited, self.is_late, self.print).hash(hasher);
        std::mem::discriminant(&self.stage).hash(hasher);
        if self.is_awaited {
            self.deadline.hash(hasher);
        }
        match &self.stage {
            Stage::Handled(request) => request.hash(hasher),
            Stage::Probing { answers, open, until, .. } => (print_of(answers), print_of(open), until).hash(hasher),
            Stage::Asked(_) | Stage::AskedService(_) | Stage::Answered(_) => {}
        }
    }
}

/// Everything.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) service: Arc<Service>,
    /// In the order in which their latest messages were sent.
    pub(crate) calls: Vec<Call>,
    pub(crate) cut: Option<Cut>,
    pub(crate) left: Left,
    pub(crate) history: Arc<History>,
    /// What this step has shown that an exploration should have seen.
    pub(crate) sights: Sights,
    /// What went wrong in this step.
    pub(crate) violation: Option<Violation>,
    /// What happened, in words, if anybody wants to know.
    pub(crate) story: Option<Vec<String>>,
    pub(crate) next_request: u64,
}

impl World {
    /// Everybody starts at once, with alice leading; nothing goes wrong unless `bounds` let it.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let cast = cast(bounds.nodes);
        let nodes = (0..bounds.nodes).map(|who| Arc::new(Node { engine: None, disk: cast.durable(who), life: 0 }));
        let mut world = Self {
            now: BEGINNING,
            nodes: nodes.collect(),
            service: Arc::new(Service::new(cast)),
            calls: Vec::new(),
            cut: None,
            left: Left::default(),
            history: Arc::default(),
            sights: Sights::default(),
            violation: None,
            story: None,
            next_request: crate::fingerprint::REQUESTS,
        };
        (0..bounds.nodes).for_each(|who| world.start(who));
        world
    }

    pub(crate) fn cast(&self) -> &'static Cast {
        cast(self.nodes.len())
    }

    /// Whether a message of the call can arrive now.
    pub(crate) fn is_moving(&self, call: &Call) -> bool {
        match &call.stage {
            Stage::Asked(_) | Stage::AskedService(_) | Stage::Answered(_) => !self.is_cut(call.from, call.to),
            Stage::Handled(_) => false,
            Stage::Probing { open, .. } => open.iter().any(|probe| !self.is_cut(NDS, self.cast().who(&probe.peer))),
        }
    }

    /// Whether nothing that was sent earlier is still under way, but for what is late.
    pub(crate) fn is_in_turn(&self, index: usize) -> bool {
        let is_waited_for = |call: &Call| !call.is_late && self.is_moving(call);
        self.calls[index].is_late || !self.calls[..index].iter().any(is_waited_for)
    }

    pub(crate) fn is_cut(&self, one: Who, other: Who) -> bool {
        self.cut.is_some_and(|cut| cut.cuts(one, other))
    }

    /// Whether everything has arrived that is not late.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.calls.iter().any(|call| !call.is_late && self.is_moving(call))
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// What is the same for all worlds that go on alike until `end`.
    pub(crate) fn fingerprint(&self, end: u64) -> u64 {
        let serial = self.service.serial();
        let mut whole = Canonical::new((self.now, end), serial, &[]);
        for (who, node) in self.nodes.iter().enumerate() {
            let requests = self.open_requests(who);
            let mut part = Canonical::new((self.now, end), serial, &requests);
            (node.engine.as_ref(), &node.disk).hash(&mut part);
            whole.write_u64(part.finish() | TOP);
        }
        // The order of calls means nothing, unless few messages may overtake others.
        let is_ordered = self.left.overtakes != ANY;
        let mut place = 0_u64;
        let calls = self.calls.iter().map(|call| {
            let requests = if call.to == NDS { Vec::new() } else { self.open_requests(call.to) };
            let mut part = Canonical::new((self.now, end), serial, &requests);
            call.hash(&mut part);
            self.purpose(call, end).hash(&mut part);
            if is_ordered && !call.is_late && self.is_moving(call) {
                place += 1;
                place.hash(&mut part);
            }
            part.finish()
        });
        whole.write_u64(calls.fold(0, u64::wrapping_add) | TOP);
        (self.cut, self.left).hash(&mut whole);
        self.service.hash(&mut whole);
        self.history.hash(&mut whole);
        whole.finish()
    }

    /// The print of what a call is for.
    fn purpose(&self, call: &Call, end: u64) -> Option<u64> {
        let engine = self.nodes[call.from].engine.as_ref().filter(|_| call.is_awaited)?;
        let requests = self.open_requests(call.from);
        let mut part = Canonical::new((self.now, end), self.service.serial(), &requests);
        engine.hash_call(call.id, &mut part);
        Some(part.finish() | TOP)
    }

    fn open_requests(&self, who: Who) -> Vec<u64> {
        let open = self.calls.iter().filter(|call| call.to == who).filter_map(|call| match call.stage {
            Stage::Handled(RequestId(request)) => Some(request),
            _ => None,
        });
        let mut open: Vec<u64> = open.collect();
        open.sort_unstable();
        open
    }
}
