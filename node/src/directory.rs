//! The discovery services: who they are, whether they answer, and what they list together.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use p2p_chat_engine::{CallError, Record};
use p2p_chat_model::{Name, NetworkId};
use p2p_chat_proto::{
    convert::{self, ToWire},
    v1::{self, discovery_client::DiscoveryClient, get_network_request::Key},
};
use p2p_chat_transport::{DialSettings, Line, UrlError, dial::plaintext_with};
use tonic::{Code, Status};

use crate::{metrics::Metrics, wire};

/// How long a discovery service may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Records asked for at a time, and at most taken of one service.
const PAGE: u32 = 1_000;
const MAX_LISTED: usize = 10_000;

struct Service {
    url: String,
    channel: Line,
    /// Why the last call failed; `None` if it did not.
    trouble: Mutex<Option<String>>,
    /// When it last answered anything, a refusal too.
    answered: Mutex<Option<Instant>>,
}

/// All discovery services, in the order in which they are asked.
pub(crate) struct Directory {
    services: Vec<Service>,
    embedded: AtomicBool,
}

/// How a service is doing.
#[derive(Debug, Clone)]
pub(crate) struct ServiceState {
    pub(crate) url: String,
    pub(crate) trouble: Option<String>,
    pub(crate) embedded: bool,
    /// How long ago it last answered; `None` if it never did.
    pub(crate) last_answer_age: Option<Duration>,
}

/// A network as a discovery service lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: NetworkId,
    pub(crate) name: Name,
    pub(crate) record: Record,
    pub(crate) members: u32,
    pub(crate) stale: bool,
}

/// Why a network was not found.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LookupError {
    /// Those that answer do not list it.
    #[error("no discovery service lists a network {0}; see `p2p-chat networks`, or create it")]
    Unknown(String),
    /// None answers.
    #[error("no discovery service answers: {0}; start one with `p2p-chat nds`, or name one with --nds")]
    Unreachable(String),
}

impl Directory {
    /// # Errors
    /// When a URL makes no sense.
    pub(crate) fn new(urls: &[String], metrics: &Metrics) -> Result<Self, UrlError> {
        let service = |url: &String| {
            let channel = plaintext_with(url, DialSettings::default(), &metrics.traffic)?;
            let channel = Line::new(channel, &metrics.made);
            Ok(Service { url: url.clone(), channel, trouble: Mutex::default(), answered: Mutex::default() })
        };
        let services = urls.iter().map(service).collect::<Result<_, UrlError>>()?;
        Ok(Self { services, embedded: AtomicBool::new(false) })
    }

    pub(crate) fn len(&self) -> usize {
        self.services.len()
    }

    pub(crate) fn channel(&self, service: usize) -> Option<Line> {
        self.services.get(service).map(|service| service.channel.clone())
    }

    /// This process hosts the first service now, or no more.
    pub(crate) fn set_embedded(&self, embedded: bool) {
        self.embedded.store(embedded, Ordering::Relaxed);
    }

    /// Notes how a call to a service ended. What it refuses for a reason counts as answered.
    pub(crate) fn note(&self, service: usize, error: Option<&CallError>) {
        let trouble = match error {
            Some(CallError::Unreachable(reason)) => Some(reason.clone()),
            _ => None,
        };
        if let Some(service) = self.services.get(service) {
            if trouble.is_none() {
                *service.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            *service.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        }
    }

    pub(crate) fn states(&self) -> Vec<ServiceState> {
        let embedded = self.embedded.load(Ordering::Relaxed);
        let state = |(index, service): (usize, &Service)| ServiceState {
            url: service.url.clone(),
            trouble: service.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            embedded: embedded && index == 0,
            last_answer_age: service.answered.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed()),
        };
        self.services.iter().enumerate().map(state).collect()
    }

    /// Looks a network up by id or name, at the first service that lists it.
    pub(crate) async fn find(&self, wanted: &str) -> Result<Listed, LookupError> {
        let key = match wanted.parse::<NetworkId>() {
            Ok(id) => Key::Network(id.to_wire()),
            Err(_) => Key::Name(wanted.to_owned()),
        };
        let (mut answered, mut troubles) = (false, Vec::new());
        for index in 0..self.services.len() {
            let request = v1::GetNetworkRequest { key: Some(key.clone()) };
            let asked = self.ask(index, async |mut client| client.get_network(request.clone()).await).await;
            match asked.map(|found| found.into_inner().record.as_ref().and_then(listed)) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) | Err(Trouble::Refused) => answered = true,
                Err(Trouble::Unanswered(reason)) => troubles.push(reason),
            }
        }
        if answered {
            Err(LookupError::Unknown(p2p_chat_model::name::printable(wanted)))
        } else {
            Err(LookupError::Unreachable(troubles.join("; ")))
        }
    }

    /// Everything the services list, by id; of two records the one with the higher epoch.
    pub(crate) async fn list(&self) -> Vec<Listed> {
        let mut all: BTreeMap<NetworkId, Listed> = BTreeMap::new();
        for index in 0..self.services.len() {
            for listed in self.list_at(index).await {
                let better = |known: &Listed| known.record.leader.epoch >= listed.record.leader.epoch;
                if !all.get(&listed.id).is_some_and(better) {
                    all.insert(listed.id, listed);
                }
            }
        }
        all.into_values().collect()
    }

    async fn list_at(&self, index: usize) -> Vec<Listed> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        while found.len() < MAX_LISTED {
            let request = v1::ListNetworksRequest { page_size: PAGE, page_token: page_token.clone() };
            let page = self.ask(index, async |mut client| client.list_networks(request.clone()).await).await;
            let Ok(page) = page.map(tonic::Response::into_inner) else { break };
            found.extend(page.records.iter().filter_map(listed));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        found
    }

    async fn ask<T>(
        &self,
        index: usize,
        call: impl AsyncFnOnce(DiscoveryClient<Line>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<tonic::Response<T>, Trouble> {
        let service = self.services.get(index).ok_or_else(|| Trouble::Unanswered("bug: no such service".into()))?;
        let client = DiscoveryClient::new(service.channel.clone());
        let result = match tokio::time::timeout(TIMEOUT, call(client)).await {
            Err(_) => Err(CallError::Unreachable(format!("{} did not answer in time", service.url))),
            Ok(Err(status)) if status.code() == Code::NotFound => Err(CallError::NotHere(String::new())),
            Ok(result) => result.map_err(|status| wire::call_error(&status)),
        };
        self.note(index, result.as_ref().err());
        result.map_err(|error| match error {
            CallError::Unreachable(reason) => Trouble::Unanswered(reason),
            _ => Trouble::Refused,
        })
    }
}

enum Trouble {
    Unanswered(String),
    /// It answered, but not with what was asked for.
    Refused,
}

/// A record as a listed network; `None` if it makes no sense.
pub(crate) fn listed(wire: &v1::NetworkRecord) -> Option<Listed> {
    Some(Listed {
        id: convert::network(&wire.network, "network").ok()?,
        name: wire.name.parse().ok()?,
        record: wire::record(Some(wire)).ok()?,
        members: wire.members,
        stale: wire.stale,
    })
}
