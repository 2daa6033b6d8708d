//! Owns renewal: each certificate is asked for anew long before it ends, by the node itself.

use std::time::Duration;

use jiff::Timestamp;

use super::csr::Asking;
use super::pair::Pair;
use super::store::{Purpose, Store};
use super::{Credentials, JoinError, Step, bootstrap, serving};
use crate::config::Settings;

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(30);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How long the answer to the client's request is waited for before it is asked for again.
const CLIENT_LIMIT: Duration = Duration::from_secs(600);

/// Renews certificates for as long as the process runs. `client` is the node's own.
pub async fn run(settings: Settings, credentials: Credentials, client: kube::Client) {
    let store = Store::open(&settings.root);
    let renewal = Renewal { settings, credentials, client, store };
    tokio::join!(renewal.keep_client(), renewal.keep_serving());
}

struct Renewal {
    settings: Settings,
    credentials: Credentials,
    client: kube::Client,
    store: Store,
}

impl Renewal {
    async fn keep_client(&self) {
        let identity = &self.credentials.identity;
        let mut wait = FIRST_WAIT;
        loop {
            let current = identity.client();
            sleep_until(current.renewal()).await;
            match self.renewed(&current).await {
                Ok(pair) => {
                    tracing::info!(until = %pair.validity.not_after, "renewed the certificate of this node");
                    identity.renew_client(pair);
                    wait = FIRST_WAIT;
                    // By a clock that is ahead the next one is due at once.
                    tokio::time::sleep(FIRST_WAIT).await;
                }
                Err(error) => {
                    tracing::warn!(
                        until = %current.validity.not_after,
                        "cannot renew the certificate of this node: {}", error.whole()
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    async fn renewed(&self, current: &Pair) -> Result<Pair, JoinError> {
        let pair = match current.validity.is_over(Timestamp::now()) {
            true => bootstrap::again(&self.settings, &self.store).await?,
            false => self.asking(Purpose::Client, Vec::new()).obtain(Some(CLIENT_LIMIT), &quietly).await?,
        };
        self.store.keep(Purpose::Client, &pair)?;
        Ok(pair)
    }

    async fn keep_serving(&self) {
        let identity = &self.credentials.identity;
        let mut wait = FIRST_WAIT;
        loop {
            if let Some(current) = identity.serving() {
                sleep_until(current.renewal()).await;
            }
            let names = serving::names(&self.settings.name, &self.settings.addresses);
            let asked = self.asking(Purpose::Serving, names).obtain(None, &quietly).await;
            match asked.and_then(|pair| self.store.keep(Purpose::Serving, &pair).map(|()| pair)) {
                Ok(pair) => {
                    tracing::info!(until = %pair.validity.not_after, "the cluster signed the serving certificate");
                    identity.renew_serving(pair);
                    wait = FIRST_WAIT;
                    // By a clock that is ahead the next one is due at once.
                    tokio::time::sleep(FIRST_WAIT).await;
                }
                Err(error) => {
                    tracing::warn!("there is no serving certificate from the cluster: {}", error.whole());
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn asking(&self, purpose: Purpose, names: Vec<String>) -> Asking<'_> {
        Asking {
            client: &self.client,
            server: &self.settings.server,
            store: &self.store,
            node: &self.settings.name,
            purpose,
            names,
            credentials: "certificate of this node",
        }
    }
}

fn quietly(step: &Step) {
    tracing::debug!("{step}");
}

/// Sleeps until a time of day. Looks at the clock now and then: it may be set, and the machine may sleep.
async fn sleep_until(when: Timestamp) {
    while let Ok(left) = Duration::try_from(when.duration_since(Timestamp::now()))
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(Duration::from_secs(3600))).await;
    }
}
