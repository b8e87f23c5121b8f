use super::*;

const ALICE: PeerId = PeerId::new([1; 32]);
