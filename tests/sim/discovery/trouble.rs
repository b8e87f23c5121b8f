//! What befalls a discovery service: it ends and starts again, loses its disk, gets an old one back, or knows another
//! network of the same name.

use std::time::Duration;

use p2p_chat_model::{Epoch, Genesis, Identity, Name, Run, View};
use p2p_chat_nds::registry::{Change, Record, Registry, Terms, Tombstone};

use crate::{net::Service, world::World};

/// What the one network there is is called.
pub(crate) const LAB: &str = "lab";

impl World {
    /// The service's process ends, or its machine does.
    pub(crate) fn nds_down(&mut self, service: Service) {
        let nds = &mut self.services[service];
        nds.is_up = false;
        nds.pending.clear();
        self.trace.add(self.now, nds.name, || "CRASHES".to_owned());
    }

    /// The service starts again, with its disk. What its clock says lies ahead counts as heard just now.
    pub(crate) fn nds_up(&mut self, service: Service) {
        let nds = &mut self.services[service];
        nds.is_up = true;
        let now = Duration::from_millis(nds.clock.wall(self.now));
        let mut registry = Registry::new(Terms::default()).listening_since(now);
        for record in nds.registry.list(None) {
            let (name, view, heard) = (record.name().clone(), record.view().clone(), record.heard().min(now));
            if let Some(record) = Record::new(record.network(), name, view, record.serial(), heard) {
                registry.apply(now, Change::Put(record));
            }
        }
        if let Some(tombstone) = self.network.and_then(|network| nds.registry.tombstone(&network)) {
            registry.apply(now, Change::Remove(Tombstone { since: tombstone.since.min(now), ..tombstone.clone() }));
        }
        nds.registry = registry;
        self.trace.add(self.now, nds.name, || "STARTS AGAIN".to_owned());
    }

    /// The service loses its disk.
    pub(crate) fn nds_wipe(&mut self, service: Service) {
        let nds = &mut self.services[service];
        nds.registry = Registry::new(Terms::default());
        nds.pending.clear();
        self.oracle.nds_set_back(service, Epoch(0));
        self.trace.add(self.now, nds.name, || "LOSES ITS DISK".to_owned());
    }

    /// Somebody copies the service's disk.
    pub(crate) fn nds_copy(&mut self, service: Service) {
        let nds = &mut self.services[service];
        nds.copy = Some(nds.registry.clone());
    }

    /// The copy takes the disk's place; without one, the service is as on its first day.
    pub(crate) fn nds_restore(&mut self, service: Service) {
        let nds = &mut self.services[service];
        nds.registry = nds.copy.clone().unwrap_or_else(|| Registry::new(Terms::default()));
        nds.pending.clear();
        let epoch = self.network.and_then(|network| nds.leader(&network)).map_or(Epoch(0), |(_, epoch)| epoch);
        self.oracle.nds_set_back(service, epoch);
        self.trace.add(self.now, nds.name, || format!("IS SET BACK to epoch {epoch}"));
    }

    /// Strangers found another network of the name at the service, which knows none.
    pub(crate) fn nds_take_name(&mut self, service: Service) {
        let (nds, stranger) = (&mut self.services[service], Identity::from_seed([0xdd; 32]));
        let lab: Name = LAB.parse().expect("a name");
        let genesis = Genesis { salt: [0; 32], name: lab.clone(), creator: "stranger".parse().expect("a name") };
        let (network, _) = Run::found(&stranger, &genesis, 1_700_000_000_000);
        let view = View::founding(stranger.peer(), "stranger:7500".parse().expect("an address"));
        let now = Duration::from_millis(nds.clock.wall(self.now));
        if let Some(record) = Record::new(network, lab, view, 1, now) {
            nds.registry.apply(now, Change::Put(record));
            self.trace.add(self.now, nds.name, || "KNOWS ANOTHER NETWORK of the name".to_owned());
        }
    }

    /// The other network of the name, if there is one, ends.
    pub(crate) fn nds_free_name(&mut self, service: Service) {
        let Some(other) = self.other_network(service).cloned() else { return };
        let nds = &mut self.services[service];
        let now = Duration::from_millis(nds.clock.wall(self.now));
        let (network, epoch, leader, serial) = (other.network(), other.epoch(), other.leader().peer, other.serial());
        nds.registry.apply(now, Change::Remove(Tombstone { network, epoch, leader, serial, since: now }));
        self.trace.add(self.now, nds.name, || "HAS THE NAME FREE again".to_owned());
    }

    /// The other network of the name that the service knows, and so can't list this one.
    pub(crate) fn other_network(&self, service: Service) -> Option<&Record> {
        let lab: Name = LAB.parse().ok()?;
        self.services[service].registry.named(&lab).filter(|record| Some(record.network()) != self.network)
    }
}
