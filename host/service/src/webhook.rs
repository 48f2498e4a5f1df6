//! Webhooks: a signed POST that tells of a job's end.
//!
//! Signature: header `X-Halfpipe-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`, the scheme Stripe made common.
//! The timestamp is signed so that a caught request is of no use later. Addresses are resolved here and checked one by one, and the
//! connection goes to a checked address, so that a name cannot point elsewhere between check and use. What could not be delivered stays
//! owed: [`outbox`].

pub mod outbox;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::app::App;
use crate::clock::now_ms;
use crate::jobs::Record;
use crate::jobs::ledger::hex;

/// Deliveries tried.
const ATTEMPTS: u32 = 5;
/// Wait before the second delivery, doubled for each further one.
const WAIT: Duration = Duration::from_secs(1);
/// Longest delivery.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a webhook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address.
    #[error("the webhook {url} is not an http or https address of a host")]
    Address {
        /// As given.
        url: String,
    },
    /// The service has no secret to sign with.
    #[error("this service signs no webhooks; start it with a webhook secret")]
    NoSecret,
}

/// Checks what can be checked of a webhook's address when a job is submitted.
///
/// # Errors
/// [`WebhookError`].
pub fn check(app: &App, url: &str) -> Result<(), WebhookError> {
    if app.config.webhook_secret.is_none() {
        return Err(WebhookError::NoSecret);
    }
    let fits = url.parse::<Uri>().is_ok_and(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some());
    if fits { Ok(()) } else { Err(WebhookError::Address { url: url.to_owned() }) }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [first, second, ..] = a.octets();
            !(a.is_loopback()
                || a.is_private()
                || a.is_link_local()
                || a.is_unspecified()
                || a.is_broadcast()
                || a.is_multicast()
                || a.is_documentation()
                || first == 0
                || first >= 240
                // carrier-grade translation (RFC 6598) and benchmarks (RFC 2544)
                || (first == 100 && (64..128).contains(&second))
                || (first == 198 && (18..20).contains(&second)))
        }
        IpAddr::V6(a) => match inner(a) {
            Some(inner) => is_public(IpAddr::V4(inner)),
            // 2000::/3 is what is given out to the public (RFC 4291, section 2.4); 2001:db8::/32 is for documents
            None => a.segments()[0] & 0xe000 == 0x2000 && a.segments()[..2] != [0x2001, 0x0db8],
        },
    }
}

/// The IPv4 address that one of IPv6 leads to: mapped or compatible (RFC 4291), through NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let four = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    match address.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => Some(four(12)),
        [0x2002, ..] => Some(four(2)),
        _ => address.to_ipv4(),
    }
}

/// Resolves names and keeps only addresses that may be called.
#[derive(Debug)]
struct Guarded {
    allow_private: bool,
}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        use std::net::ToSocketAddrs;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let mut kept = self.empty();
        for address in (host, port).to_socket_addrs()?.filter(|a: &SocketAddr| self.allow_private || is_public(a.ip())).take(16) {
            kept.push(address);
        }
        if kept.is_empty() {
            let message = format!("{host} has no public address; webhooks go to private ones only where the service allows it");
            return Err(ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::PermissionDenied, message)));
        }
        Ok(kept)
    }
}

/// The signature header's value.
fn signature(secret: &str, seconds: u64, body: &str) -> String {
    // HMAC takes keys of any length
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes()))
}

/// Tells of a job's end in the background, where somebody wants to know: five times within a minute and a half, and later as the
/// [`outbox`] has it.
pub async fn tell(app: &Arc<App>, record: &Record) {
    let (Some(url), Some(secret)) = (record.spec.webhook.clone(), app.config.webhook_secret.clone()) else { return };
    let body = json!({
        "event": "job.finished", "job_id": record.id, "state": record.state, "metadata": record.spec.metadata,
        "error": record.error, "outputs": record.outputs, "finished_ms": record.finished_ms,
    })
    .to_string();
    let (allow_private, id, app) = (app.config.webhook_private, record.id.clone(), Arc::clone(app));
    tokio::spawn(async move {
        for attempt in 0..ATTEMPTS {
            tokio::time::sleep(if attempt == 0 { Duration::ZERO } else { WAIT * (1 << (attempt - 1)) }).await;
            let (url, body, secret) = (url.clone(), body.clone(), secret.clone());
            let sent = tokio::task::spawn_blocking(move || deliver(&url, &body, &secret, allow_private)).await;
            match sent {
                Ok(Ok(())) => return outbox::settle(&app, &id).await,
                Ok(Err(error)) => tracing::warn!(job = id, attempt, %error, "the webhook was not delivered"),
                Err(error) => tracing::warn!(job = id, attempt, %error, "the webhook's delivery was lost"),
            }
        }
    });
}

fn deliver(url: &str, body: &str, secret: &str, allow_private: bool) -> Result<(), ureq::Error> {
    // a redirect could lead anywhere
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Guarded { allow_private });
    let signed = signature(secret, now_ms() / 1000, body);
    let answer = agent.post(url).header("Content-Type", "application/json").header("X-Halfpipe-Signature", signed).send(body)?;
    // a redirect is no error to the agent, and nobody has taken the message
    if answer.status().is_success() { Ok(()) } else { Err(ureq::Error::StatusCode(answer.status().as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_apart() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.9",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "fec0::1",
            "2001:db8::1",
            "::",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_known_signature() {
        // by: printf '5.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(signature("secret", 5, "{}"), "t=5,v1=f18d2fcd9a24151471e3e2d71bc7ce901fb7b89b341918a08f95e9ffc497ea26");
    }

    #[test]
    fn nothing_goes_to_a_private_address_unasked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let refused = deliver(&url, "{}", "s", false).unwrap_err().to_string();
        assert!(refused.contains("no public address"), "{refused}");
    }

    #[test]
    fn a_redirect_is_neither_followed_nor_taken_for_a_delivery() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"{}") {
                let mut piece = [0; 1024];
                let n = stream.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..n]);
            }
            let answer = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = deliver(&url, "{}", "s", true).unwrap_err();
        assert!(matches!(error, ureq::Error::StatusCode(302)), "{error}");
        receiver.join().unwrap();
    }
}
