//! The discovery services: who they are, whether they answer, and what they list together.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
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
use p2p_chat_transport::{
    DialSettings, Line, UrlError,
    dial::plaintext_with,
    sizes::{MAX_PAGE_BYTES, MAX_RECORD_BYTES},
};
use tokio::{task::JoinHandle, time::timeout_at};
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::{metrics::Metrics, wire};

/// How long a discovery service may take to answer a question.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long the other services have to say that another network has the name, once one has found it.
const SECOND_OPINION: Duration = Duration::from_millis(500);
/// Records asked for at a time, and at most taken of one service.
const PAGE: u32 = 1_000;
const MAX_LISTED: usize = 10_000;
/// Pages read of one service, and for how long it is asked for more.
const MAX_PAGES: usize = 100;
const LISTING: Duration = Duration::from_secs(9);

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
    services: Vec<Arc<Service>>,
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

impl Listed {
    /// To be shown, not called: of ten thousand networks the contacts are much.
    fn without_contacts(mut self) -> Self {
        self.record.contacts = Vec::new();
        self
    }
}

/// Why a network was not found.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LookupError {
    /// Those that answer do not list it.
    #[error("no discovery service lists a network {0}; see `p2p-chat networks`, or create it")]
    Unknown(String),
    /// More than one has the name.
    #[error("the discovery services list different networks named {name}: {ids}; join the one you mean by its id")]
    Ambiguous { name: Name, ids: String },
    /// None answers.
    #[error("no discovery service answers: {0}; start one with `p2p-chat nds`, or name one with --nds")]
    Unreachable(String),
}

impl Directory {
    /// # Errors
    /// When a URL makes no sense.
    pub(crate) fn new(urls: &[String], dialling: DialSettings, metrics: &Metrics) -> Result<Self, UrlError> {
        let service = |url: &String| {
            let channel = plaintext_with(url, dialling, &metrics.traffic)?;
            let channel = Line::new(channel, &metrics.made);
            let (trouble, answered) = (Mutex::default(), Mutex::default());
            Ok(Arc::new(Service { url: url.clone(), channel, trouble, answered }))
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

    pub(crate) fn url(&self, service: usize) -> &str {
        self.services.get(service).map_or("nowhere", |service| &service.url)
    }

    /// This process hosts the first service now, or no more.
    pub(crate) fn set_embedded(&self, embedded: bool) {
        self.embedded.store(embedded, Ordering::Relaxed);
    }

    /// Notes how a call to a service ended. What it refuses for a reason counts as answered.
    pub(crate) fn note(&self, service: usize, error: Option<&CallError>) {
        if let Some(service) = self.services.get(service) {
            service.note(error);
        }
    }

    pub(crate) fn states(&self) -> Vec<ServiceState> {
        let embedded = self.embedded.load(Ordering::Relaxed);
        let state = |(index, service): (usize, &Arc<Service>)| ServiceState {
            url: service.url.clone(),
            trouble: service.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            embedded: embedded && index == 0,
            last_answer_age: service.answered.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed()),
        };
        self.services.iter().enumerate().map(state).collect()
    }

    /// Looks a network up by id or name, at the first service that lists it. Takes as long as the slowest service before
    /// it; by name the others are heard too, if they answer soon.
    pub(crate) async fn find(&self, wanted: &str) -> Result<Listed, LookupError> {
        let key = match wanted.parse::<NetworkId>() {
            Ok(id) => Key::Network(id.to_wire()),
            Err(_) => Key::Name(wanted.to_owned()),
        };
        let look_up = |service: Arc<Service>| {
            let request = v1::GetNetworkRequest { key: Some(key.clone()) };
            async move { service.ask(async |mut client| client.get_network(request).await).await }
        };
        let by_id = matches!(key, Key::Network(_));
        let (mut answered, mut troubles) = (false, Vec::new());
        let mut first: Option<(Listed, Instant)> = None;
        for asked in self.ask_all(look_up) {
            let asked = match &first {
                Some((_, until)) => match timeout_at((*until).into(), asked).await {
                    Ok(asked) => asked,
                    Err(_) => continue,
                },
                None => asked.await,
            };
            let asked = asked.unwrap_or_else(|error| Err(Trouble::Unanswered(format!("bug: {error}"))));
            match (asked.map(|found| found.into_inner().record.as_ref().and_then(listed)), &first) {
                (Ok(Some(found)), _) if by_id => return Ok(found),
                (Ok(Some(found)), None) => first = Some((found, Instant::now() + SECOND_OPINION)),
                (Ok(Some(found)), Some((first, _))) if found.id != first.id => {
                    let (name, ids) = (first.name.clone(), format!("{} and {}", first.id, found.id));
                    return Err(LookupError::Ambiguous { name, ids });
                }
                (Ok(Some(_)), Some(_)) => {}
                (Ok(None) | Err(Trouble::Refused), _) => answered = true,
                (Err(Trouble::Unanswered(reason)), _) => troubles.push(reason),
            }
        }
        match first {
            Some((found, _)) => Ok(found),
            None if answered => Err(LookupError::Unknown(p2p_chat_model::name::printable(wanted))),
            None => Err(LookupError::Unreachable(troubles.join("; "))),
        }
    }

    /// Everything the services list, by id; of two records the one with the higher epoch.
    pub(crate) async fn list(&self) -> Vec<Listed> {
        let mut all: BTreeMap<NetworkId, Listed> = BTreeMap::new();
        for asked in self.ask_all(Service::list) {
            for listed in asked.await.unwrap_or_default() {
                let better = |known: &Listed| known.record.leader.epoch >= listed.record.leader.epoch;
                if !all.get(&listed.id).is_some_and(better) {
                    all.insert(listed.id, listed);
                }
            }
        }
        all.into_values().collect()
    }

    /// Asks all services at the same time; the answers come in the order of the services. One that is not waited for
    /// is asked to the end all the same: so it shows whether it answers.
    fn ask_all<T: Send + 'static, F>(&self, ask: impl Fn(Arc<Service>) -> F) -> Vec<JoinHandle<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.services.iter().map(|service| tokio::spawn(ask(Arc::clone(service)))).collect()
    }
}

impl Service {
    fn note(&self, error: Option<&CallError>) {
        let trouble = match error {
            Some(CallError::Unreachable(reason)) => Some(reason.clone()),
            _ => None,
        };
        if trouble.is_none() {
            *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &trouble) {
            (None, Some(error)) => warn!(url = %self.url, %error, "the discovery service does not answer"),
            (Some(_), None) => info!(url = %self.url, "the discovery service answers again"),
            _ => {}
        }
        *known = trouble;
    }

    async fn list(self: Arc<Self>) -> Vec<Listed> {
        let read = |page_token| {
            let service = Arc::clone(&self);
            async move {
                let request = v1::ListNetworksRequest { page_size: PAGE, page_token };
                let list = async |client: DiscoveryClient<Line>| {
                    client.max_decoding_message_size(MAX_PAGE_BYTES).list_networks(request).await
                };
                let page = service.ask(list).await;
                page.map(tonic::Response::into_inner)
            }
        };
        all_pages(read).await
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(DiscoveryClient<Line>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<tonic::Response<T>, Trouble> {
        let client = DiscoveryClient::new(self.channel.clone()).max_decoding_message_size(MAX_RECORD_BYTES);
        let result = match tokio::time::timeout(TIMEOUT, call(client)).await {
            Err(_) => Err(CallError::Unreachable(format!("{} did not answer in time", self.url))),
            Ok(Err(status)) if status.code() == Code::NotFound => Err(CallError::NotHere(String::new())),
            Ok(result) => result.map_err(|status| wire::discovery_error(&status, &self.url)),
        };
        self.note(result.as_ref().err());
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

/// What is on all pages, as far as they come in time: a service may say for ever that there is one more.
async fn all_pages<F>(read: impl Fn(String) -> F) -> Vec<Listed>
where
    F: Future<Output = Result<v1::ListNetworksResponse, Trouble>>,
{
    let (begun, mut found, mut token) = (Instant::now(), Vec::new(), String::new());
    for _ in 0..MAX_PAGES {
        let Ok(page) = read(token).await else { break };
        found.extend(page.records.iter().filter_map(listed).map(Listed::without_contacts));
        token = page.next_page_token;
        if token.is_empty() || found.len() >= MAX_LISTED || begun.elapsed() >= LISTING {
            break;
        }
    }
    found.truncate(MAX_LISTED);
    found
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use p2p_chat_model::limits::MAX_CONTACTS;

    use super::*;

    #[tokio::test]
    async fn a_service_that_always_has_one_more_page_is_not_read_for_ever() {
        let asked = RefCell::new(Vec::new());
        let found = all_pages(async |token| {
            asked.borrow_mut().push(token);
            Ok(v1::ListNetworksResponse { records: Vec::new(), next_page_token: "more".to_owned() })
        });
        assert!(found.await.is_empty());
        let asked = asked.into_inner();
        assert_eq!((asked.len(), &*asked[0], &*asked[1]), (MAX_PAGES, "", "more"));
    }

    #[tokio::test]
    async fn contacts_are_bounded_and_not_kept_in_lists() {
        let contact = |_| v1::ActiveMember {
            peer: vec![7; 32].into(),
            address: "alice.example:7401".to_owned(),
            ..v1::ActiveMember::default()
        };
        let record = |name: &str, contacts: usize| v1::NetworkRecord {
            network: vec![1; 32].into(),
            name: name.to_owned(),
            leader: vec![7; 32].into(),
            leader_address: "alice.example:7401".to_owned(),
            contacts: (0..contacts).map(contact).collect(),
            ..v1::NetworkRecord::default()
        };
        let (good, bad) = (record("good", MAX_CONTACTS), record("bad", MAX_CONTACTS + 1));
        assert_eq!(listed(&good).expect("it makes sense").record.contacts.len(), MAX_CONTACTS);
        let page = v1::ListNetworksResponse { records: vec![good, bad], next_page_token: String::new() };
        let found = all_pages(async |_| Ok(page.clone())).await;
        let names: Vec<_> = found.iter().map(|listed| listed.name.as_str()).collect();
        assert_eq!((names, found[0].record.contacts.len()), (vec!["good"], 0));
    }
}
