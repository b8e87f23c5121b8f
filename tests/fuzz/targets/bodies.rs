//! Every message of the contract: bytes that are one are still the same one after encoding and decoding.

use p2p_chat_proto::v1;
use prost::Message;

use super::{answers, calls, statements};

macro_rules! messages {
    ($($message:ident)*) => {
        const MESSAGES: &[(&str, fn(&[u8]))] = &[$((stringify!($message), one::<v1::$message>)),*];
    };
}

messages! {
    Acknowledged ActiveMember Admitted Certificate CloseNetworkRequest CloseNetworkResponse CoordinateRequest
    CoordinateResponse CreateNetworkRequest CreateNetworkResponse CreateRequest CreateResponse Custody
    DeliverRequest DeliverResponse DiscoveryState ElectRequest ElectResponse Event FeedPosition FetchRequest
    FetchResponse ForgetRequest ForgetResponse GetNetworkRequest GetNetworkResponse HistoryRequest
    InspectRequest InspectResponse JoinNetworkRequest JoinNetworkResponse JoinRequest JoinResponse LeaderHint
    LeaveNetworkRequest LeaveNetworkResponse LeaveRequest LeaveResponse ListNetworksRequest ListNetworksResponse
    MarkReadRequest MarkReadResponse Member MembersRequest MembersResponse Message Missing NetworkInfo
    NetworkRecord NetworkState NetworksRequest NetworksResponse Notice Owed PingRequest PingResponse
    PingViaRequest PingViaResponse Registration RelayRequest RelayResponse RenewLeaseRequest RenewLeaseResponse
    SendRequest SendResponse ShutdownRequest ShutdownResponse Standing StatusRequest StatusResponse
    SubscribeRequest UpdateLeaderRequest UpdateLeaderResponse UpdateViewRequest UpdateViewResponse VectorClock
    View Vote WatchNetworksRequest WatchNetworksResponse
}

pub(crate) fn check(input: &[u8]) {
    let (which, body) = input.split_first().unwrap_or((&0, &[]));
    MESSAGES[usize::from(*which) % MESSAGES.len()].1(body);
}

fn one<T: Message + Default + PartialEq>(body: &[u8]) {
    let Ok(message) = T::decode(body) else { return };
    let encoded = message.encode_to_vec();
    // Only an enumeration can grow: a negative number takes ten bytes.
    assert!(encoded.len() <= 2 * body.len(), "{} bytes become {}", body.len(), encoded.len());
    assert_eq!(encoded.len(), message.encoded_len());
    assert!(T::decode(&encoded[..]).is_ok_and(|again| again == message), "it is not the same again");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let bodies =
        [calls::seeds(), answers::seeds(), statements::seeds().into_iter().map(|seed| seed[1..].to_vec()).collect()];
    let bodies: Vec<Vec<u8>> = bodies.concat();
    // As any message whatever: what fits is found by trying.
    (0..MESSAGES.len())
        .flat_map(|which| bodies.iter().map(move |body| (which, body)))
        .filter_map(|(which, body)| {
            let fits = body.len() % MESSAGES.len() == which || which % 7 == body.len() % 7;
            fits.then(|| [&[which as u8], &body[1..]].concat())
        })
        .collect()
}
