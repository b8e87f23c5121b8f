//! A discovery service inside a chatting node, for those who have none: hosted at the default address by whichever
//! process gets hold of it first, and by the next one when that process ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use p2p_chat_nds::{Config, Monitor};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};
use tracing::{info, warn};

use crate::directory::Directory;

/// How often a node looks whether it is its turn.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long an existing service may take to accept a connection.
const CONNECT: Duration = Duration::from_millis(500);

/// Hosts the service at `address` whenever nobody else does, until `stop`. Reports its first look through `ready`.
pub(crate) async fn host(
    address: String,
    data_dir: PathBuf,
    directory: Arc<Directory>,
    monitor: Monitor,
    mut stop: watch::Receiver<bool>,
    ready: oneshot::Sender<()>,
) {
    let mut ready = Some(ready);
    loop {
        let answers = matches!(tokio::time::timeout(CONNECT, TcpStream::connect(&address)).await, Ok(Ok(_)));
        let listener = if answers { None } else { TcpListener::bind(&address).await.ok() };
        if let Some(listener) = listener {
            info!(%address, "hosting a discovery service");
            directory.set_embedded(true);
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
            let mut stopped = stop.clone();
            let until = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            if let Err(error) = p2p_chat_nds::serve(Config::new(&data_dir), listener, until, monitor.clone()).await {
                warn!(%address, %error, "the embedded discovery service ended");
            }
            directory.set_embedded(false);
        }
        if let Some(ready) = ready.take() {
            let _ = ready.send(());
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
