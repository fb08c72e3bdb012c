//! A POST of JSON for each notice, in their order, tried again until it is taken or too old.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Counters, Courier, Stamped, Webhook};
use crate::clock::now_ms;
use crate::http::hyper::Method;
use crate::http::{Client, Credentials, Options, Tls, Url};
use crate::retry::Backoff;
use crate::stop::Stop;
use crate::text::ascii_json;

/// How long a notice is worth telling.
const WORTH: Duration = Duration::from_secs(600);

/// What came of a try.
enum Said {
    Taken,
    /// It will not be taken when it is told again.
    Refused(String),
    NotYet(String),
}

pub(super) async fn run(mut courier: Courier, to: &Webhook, mut stop: Stop) {
    // It was checked when the configuration was read.
    let Ok(url) = Url::parse(&to.url) else { return };
    let credentials = match &to.token_file {
        Some(token_file) => Credentials::Bearer { token_file: token_file.clone() },
        None => Credentials::None,
    };
    let tls = Tls { ca_file: to.ca_file.clone(), client: None };
    let client = Client::new(url, Options { tls, credentials, path_is_secret: true, ..Options::default() });
    let mut backoff = Backoff::default();
    while let Some(notice) = courier.next(&mut stop).await {
        deliver(&courier, &client, &mut backoff, &notice, &mut stop).await;
    }
}

async fn deliver(
    courier: &Courier,
    client: &Client,
    backoff: &mut Backoff,
    notice: &Stamped,
    stop: &mut Stop,
) {
    let counters = &courier.counters;
    let body = ascii_json(&notice.json(&courier.host));
    let began = Instant::now();
    loop {
        // It may have waited behind others that were tried again and again.
        let age = Duration::from_millis(now_ms().saturating_sub(notice.at_ms)).max(began.elapsed());
        let why = match post(client, &body).await {
            Said::Taken => {
                backoff.worked();
                return Counters::add(&counters.delivered);
            }
            Said::Refused(why) => {
                backoff.worked();
                Counters::add(&counters.lost_refused);
                tracing::warn!("webhook {}: a notice was refused: {why}", client.url().origin());
                return;
            }
            Said::NotYet(why) => why,
        };
        Counters::add(&counters.failed_tries);
        if age >= WORTH {
            Counters::add(&counters.lost_too_old);
            tracing::warn!("webhook {}: a notice was lost: {why}", client.url().origin());
            return;
        }
        tracing::warn!("webhook {}: {why}", client.url().origin());
        let wait = backoff.failed();
        let stopped = tokio::select! {
            () = sleep(wait) => stop.is_asked(),
            () = stop.asked() => true,
        };
        if stopped {
            return Counters::add(&counters.lost_at_end);
        }
    }
}

async fn post(client: &Client, body: &str) -> Said {
    let headers = [("content-type", "application/json")];
    match client.request(Method::POST, client.url().path(), &headers, body.as_bytes().to_vec()).await {
        Ok(answer) => match answer.status {
            200..=299 => Said::Taken,
            // It asks for time, or is not well.
            408 | 425 | 429 | 500..=599 => Said::NotYet(format!("status {}", answer.status)),
            status => Said::Refused(format!("status {status}: {}", answer.words())),
        },
        Err(error) => Said::NotYet(error.to_string()),
    }
}
