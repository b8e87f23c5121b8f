//! Values that the model would not make.

use p2p_chat_model::{Entry, EntryHash, EntryKind, Header, Identity, NetworkId, Run, VectorClock, codec::Writer};
use p2p_chat_proto::v1;

/// Names that nobody may bear, with what is wrong with them.
pub(crate) fn bad_names() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no characters", Vec::new()),
        ("nothing but white space", b"  ".to_vec()),
        ("65 characters", "é".repeat(65).into_bytes()),
        ("a control character", b"a\x1b[2Jb".to_vec()),
        ("a line break", b"a\nb".to_vec()),
        ("a mark that reverses the text", "a\u{202e}b".as_bytes().to_vec()),
        ("bytes that are not UTF-8", vec![b'a', 0xff, 0xfe]),
    ]
}

/// The body of an entry that admits somebody, with any name.
pub(crate) fn admission(name: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.fixed(&[9; 32]).varint(0).bytes(name);
    writer.0
}

/// The founding of a network with any name: its id and its genesis run.
pub(crate) fn founding(identity: &Identity, name: &[u8]) -> (NetworkId, Run) {
    let mut body = Writer::default();
    body.fixed(&[3; 32]).byte(0).bytes(name).bytes(b"mallory");
    let header = Header { lamport: 1, wall_ms: 5, clock: VectorClock::new(), kind: EntryKind::Genesis };
    let entry = Entry { header, body: body.0.into() };
    let hash = entry.hash(NetworkId::new([0; 32]), identity.peer(), 1, EntryHash::NONE);
    let network = NetworkId::new(*hash.as_bytes());
    (network, Run::sign(identity, network, 1, EntryHash::NONE, vec![entry]))
}

/// Ways to spoil a view, with what is wrong then.
pub(crate) fn spoiled_views(view: &v1::View) -> Vec<(&'static str, Option<v1::View>)> {
    let spoil = |change: fn(&mut v1::View)| {
        let mut spoiled = view.clone();
        // Newer than what is known: nothing but what is spoiled stands in its way.
        spoiled.version += 1;
        change(&mut spoiled);
        Some(spoiled)
    };
    vec![
        ("no view", None),
        ("a view of nobody", spoil(|view| view.active.clear())),
        ("a view of epoch 0", spoil(|view| view.epoch = 0)),
        ("a view of version 0", spoil(|view| view.version = 0)),
        ("a view with two nodes of one id", spoil(|view| view.active[1].node_id = view.active[0].node_id)),
        ("a view with one peer under two ids", spoil(|view| view.active[1].peer = view.active[0].peer.clone())),
        ("a view out of order", spoil(|view| view.active.swap(0, 1))),
        ("a view whose leader is not active", spoil(|view| view.leader = 99)),
        ("a view that would use ids again", spoil(|view| view.next_id = 1)),
        ("a view with a peer of 31 bytes", spoil(|view| view.active[0].peer.truncate(31))),
        ("a view with an address without a port", spoil(|view| view.active[0].address = "alice".to_owned())),
        (
            "a view with an address of a mebibyte",
            spoil(|view| view.active[0].address = format!("{}:1", "a".repeat(1 << 20))),
        ),
        (
            "a view of 1,001 members",
            spoil(|view| {
                let first = view.active[0].clone();
                let more = (view.next_id..).take(1_001 - view.active.len()).map(|node_id| {
                    let mut peer = vec![0xee; 32];
                    peer[..8].copy_from_slice(&node_id.to_be_bytes());
                    v1::ActiveMember { node_id, peer: peer.into(), ..first.clone() }
                });
                view.active.extend(more);
                view.next_id += 1_001;
            }),
        ),
    ]
}

/// Ways to spoil a vector clock.
pub(crate) fn spoiled_clocks() -> Vec<(&'static str, v1::VectorClock)> {
    let position = |author: u8, seq| v1::FeedPosition { author: vec![author; 32].into(), seq };
    let many = (0..1_001u16).map(|author| {
        let mut bytes = vec![1; 32];
        bytes[..2].copy_from_slice(&author.to_be_bytes());
        v1::FeedPosition { author: bytes.into(), seq: 1 }
    });
    vec![
        ("a clock that names an author twice", v1::VectorClock { feeds: vec![position(1, 1), position(1, 2)] }),
        ("a clock with a position of 0", v1::VectorClock { feeds: vec![position(1, 0)] }),
        (
            "a clock with an author of 31 bytes",
            v1::VectorClock { feeds: vec![v1::FeedPosition { author: vec![1; 31].into(), seq: 1 }] },
        ),
        ("a clock of 1,001 authors", v1::VectorClock { feeds: many.collect() }),
    ]
}
