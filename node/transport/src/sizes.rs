//! How large messages can be, in bytes. What is taken apart takes up to seventy times the memory of what came in, where
//! it consists of nothing but empty parts: so no message is taken that is larger than its fields can get.

use p2p_chat_model::limits::MAX_FRAME_BYTES;

/// Largest message that anything takes (4 MiB), and what tonic's generated services take by default.
pub const MAX_MESSAGE_BYTES: usize = MAX_FRAME_BYTES;

/// Largest message of Liveness: a vector clock of 1,000 authors, 47 bytes each.
pub const MAX_STANDING_BYTES: usize = 64 << 10;

/// Largest message of Membership and of Election, and of Discovery but for those that follow: a view of 1,000 members,
/// 324 bytes each, and as many votes, 182 bytes each.
pub const MAX_VIEW_BYTES: usize = 512 << 10;

/// Largest message of Chat: runs of 2 MiB, and what frames them.
pub const MAX_RUNS_BYTES: usize = (2 << 20) + (64 << 10);

/// Largest request to register a network: a view, and runs of 2 MiB that show an admission.
const MAX_CREATE_BYTES: usize = MAX_RUNS_BYTES + MAX_VIEW_BYTES;

/// Largest request to fetch entries: a vector clock, and 1,000 authors of whom nothing is wanted.
const MAX_FETCH_BYTES: usize = 128 << 10;

/// Largest answer of a discovery service with one record: 16 contacts, 316 bytes each, and a reason.
pub const MAX_RECORD_BYTES: usize = 64 << 10;

/// Largest answer of a discovery service with many: pages of 2 MiB, and what frames them.
pub const MAX_PAGE_BYTES: usize = (2 << 20) + (64 << 10);

/// Largest message to reflection and health: names of services and symbols.
pub(crate) const MAX_NAME_BYTES: usize = 16 << 10;

/// Largest request of a method that others than the node's owner may call.
pub(crate) fn largest_request(path: &str) -> usize {
    match path {
        "/p2pchat.v1.Chat/Deliver" => MAX_RUNS_BYTES,
        "/p2pchat.v1.Chat/Fetch" => MAX_FETCH_BYTES,
        "/p2pchat.v1.Discovery/CreateNetwork" => MAX_CREATE_BYTES,
        path if path.starts_with("/p2pchat.v1.Liveness/") => MAX_STANDING_BYTES,
        path if path.starts_with("/p2pchat.") => MAX_VIEW_BYTES,
        _ => MAX_NAME_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use p2p_chat_model::limits::{MAX_ADDRESS_BYTES, MAX_CONTACTS, MAX_MEMBERS, MAX_NAME_CHARS};
    use p2p_chat_proto::v1;
    use prost::Message;

    use super::*;

    #[test]
    fn the_largest_messages_there_can_be_are_taken() {
        let (id, signature) = (vec![7; 32], vec![7; 64]);
        let member = v1::ActiveMember {
            node_id: u64::MAX,
            peer: id.clone().into(),
            address: "a".repeat(MAX_ADDRESS_BYTES),
            join_request: u64::MAX,
        };
        let vote = v1::Vote {
            network: id.clone().into(),
            epoch: u64::MAX,
            candidate: id.clone().into(),
            voter: id.clone().into(),
            signature: signature.clone().into(),
        };
        let (epoch, version, leader, next_id) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        let view = v1::View { epoch, version, leader, next_id, active: vec![member.clone(); MAX_MEMBERS] };
        let registration = v1::Registration {
            network: id.clone().into(),
            view: Some(view),
            expected_epoch: u64::MAX,
            serial: u64::MAX,
            signer: id.clone().into(),
            signature: signature.into(),
        };
        let record = v1::NetworkRecord {
            network: id.clone().into(),
            name: "\u{10ffff}".repeat(MAX_NAME_CHARS),
            leader: id.clone().into(),
            leader_address: member.address.clone(),
            contacts: vec![member; MAX_CONTACTS],
            ..v1::NetworkRecord::default()
        };
        assert!((4 << 10..MAX_RECORD_BYTES / 2).contains(&record.encoded_len()), "{}", record.encoded_len());
        let update = v1::UpdateLeaderRequest { registration: Some(registration), votes: vec![vote; MAX_MEMBERS] };
        let most = largest_request("/p2pchat.v1.Discovery/UpdateLeader");
        assert!((most / 2..=most).contains(&update.encoded_len()), "{} of {most}", update.encoded_len());

        let position = v1::FeedPosition { author: id.clone().into(), seq: u64::MAX };
        let clock = v1::VectorClock { feeds: vec![position; MAX_MEMBERS] };
        let standing = v1::Standing { frontier: Some(clock.clone()), ..v1::Standing::default() };
        let ping = v1::PingRequest { network: id.clone().into(), standing: Some(standing) };
        let most = largest_request("/p2pchat.v1.Liveness/Ping");
        assert!((most / 2..=most).contains(&ping.encoded_len()), "{} of {most}", ping.encoded_len());

        let not_of = vec![id.clone().into(); MAX_MEMBERS];
        let fetch = v1::FetchRequest { network: id.clone().into(), have: Some(clock.clone()), not_of };
        let most = largest_request("/p2pchat.v1.Chat/Fetch");
        assert!((most / 2..=most).contains(&fetch.encoded_len()), "{} of {most}", fetch.encoded_len());

        let runs = vec![vec![7; 512].into(); 4_096];
        let deliver = v1::DeliverRequest { network: id.clone().into(), runs: runs.clone() };
        let most = largest_request("/p2pchat.v1.Chat/Deliver");
        assert!((most / 2..=most).contains(&deliver.encoded_len()), "{} of {most}", deliver.encoded_len());

        let (registration, genesis) = (update.registration, vec![7; 4 << 10].into());
        let view = registration.as_ref().and_then(|registration| registration.view.clone());
        let create = v1::CreateNetworkRequest { registration, genesis, admission: runs };
        let most = largest_request("/p2pchat.v1.Discovery/CreateNetwork");
        assert!((most / 2..=most).contains(&create.encoded_len()), "{} of {most}", create.encoded_len());

        let admission = Some(v1::FeedPosition { author: id.into(), seq: u64::MAX });
        let admitted = v1::Admitted { view, genesis: create.genesis, admission, frontier: Some(clock) };
        assert!(admitted.encoded_len() + 16 <= MAX_VIEW_BYTES, "{}", admitted.encoded_len());
    }
}
