//! Signed addresses: what was agreed on about an upload, in the address itself, under an HMAC-SHA256 (RFC 2104).

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::http::StatusCode;
use halfpipe_store::Key;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::Config;
use crate::clock::now_ms;
use crate::http::error::ApiError;
use crate::jobs::ledger::hex;

/// What was agreed on, as signed addresses carry it.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ticket {
    /// Key of the object to be.
    pub(super) key: String,
    /// Its size, bytes.
    pub(super) size: u64,
    /// Unix time in seconds after which the address is void.
    pub(super) expires: u64,
    /// The store's id of an upload in parts.
    #[serde(default)]
    pub(super) parts: String,
    /// The signature.
    #[serde(default)]
    pub(super) token: String,
}

impl Ticket {
    fn mac(&self, config: &Config, id: &str) -> Hmac<Sha256> {
        // padded to a block with zeros, as the method does with any shorter key
        let mut key = [0; 64];
        key[..32].copy_from_slice(&secret(config));
        let mut mac = Hmac::<Sha256>::new(&key.into());
        // no field can hold a line break: a key has no control characters, and the store's ids are printable
        mac.update(format!("upload\n{id}\n{}\n{}\n{}\n{}", self.key, self.size, self.expires, self.parts).as_bytes());
        mac
    }

    /// The address of `path` on this service, signed.
    pub(super) fn sign(&self, config: &Config, id: &str, origin: &str, path: &str) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let token = hex(&self.mac(config, id).finalize().into_bytes());
        let mut url = format!("{origin}{path}?key={}&size={}&expires={}", encoded(&self.key), self.size, self.expires);
        if !self.parts.is_empty() {
            // writing to a text cannot fail
            write!(url, "&parts={}", encoded(&self.parts)).ok();
        }
        write!(url, "&token={token}").ok();
        url
    }

    /// The key, if the address is ours and still good.
    pub(super) fn check(&self, config: &Config, id: &str) -> Result<Key, ApiError> {
        let forged =
            || ApiError::new(StatusCode::FORBIDDEN, "bad_signature", "this address was not made by POST /uploads; ask for a new one");
        let token = unhex(&self.token).ok_or_else(forged)?;
        if [&self.key, &self.parts].iter().any(|text| text.chars().any(char::is_control)) {
            return Err(forged());
        }
        self.mac(config, id).verify_slice(&token).map_err(|_| forged())?;
        if now_ms() / 1000 > self.expires {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "upload_expired",
                "this address was good for one hour; POST /uploads gives a new one",
            ));
        }
        Ok(Key::new(&self.key)?)
    }
}

/// What addresses are signed with: the store's own secret where it keeps one, so that an address outlives this process and is taken
/// by every process on the store; else derived from the webhook secret where there is one, so that processes that share it take
/// each other's addresses; else drawn at random for the life of this process.
fn secret(config: &Config) -> [u8; 32] {
    if let Some(kept) = config.upload_secret {
        return kept;
    }
    static DRAWN: OnceLock<[u8; 32]> = OnceLock::new();
    let Some(shared) = &config.webhook_secret else {
        return *DRAWN.get_or_init(|| {
            let (a, b) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
            let mut key = [0; 32];
            key[..16].copy_from_slice(a.as_bytes());
            key[16..].copy_from_slice(b.as_bytes());
            key
        });
    };
    // a key of its own for each use of the secret
    Sha256::new().chain_update(b"halfpipe upload addresses\n").chain_update(shared.as_bytes()).finalize().into()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn ticket() -> Ticket {
        Ticket { key: "incoming/a/b c&d.mp4".into(), size: 5, expires: now_ms() / 1000 + 60, parts: String::new(), token: String::new() }
    }

    fn signed(config: &Config, ticket: &Ticket) -> Ticket {
        let url = ticket.sign(config, "id", "http://h", "/uploads/id");
        let uri: axum::http::Uri = url.parse().unwrap();
        let Query(found) = Query::<Ticket>::try_from_uri(&uri).unwrap();
        found
    }

    #[test]
    fn a_signed_address_is_taken_and_a_changed_one_is_not() {
        let config = Config::new("spool".into(), "guests".into());
        let good = signed(&config, &ticket());
        assert_eq!(good.check(&config, "id").unwrap().as_str(), "incoming/a/b c&d.mp4");
        let changed = [
            ("other", good.clone()),
            ("id", Ticket { size: 6, ..good.clone() }),
            ("id", Ticket { key: "results/x".into(), ..good.clone() }),
            ("id", Ticket { expires: good.expires + 1, ..good.clone() }),
            ("id", Ticket { parts: "x".into(), ..good.clone() }),
            ("id", Ticket { token: String::new(), ..good.clone() }),
            ("id", Ticket { token: "zz".into(), ..good.clone() }),
            ("id", Ticket { token: "é".into(), ..good }),
        ];
        for (id, ticket) in changed {
            assert_eq!(ticket.check(&config, id).unwrap_err().code, "bad_signature", "{ticket:?}");
        }
    }

    #[test]
    fn an_old_address_is_void() {
        let config = Config::new("spool".into(), "guests".into());
        let old = signed(&config, &Ticket { expires: 1, ..ticket() });
        assert_eq!(old.check(&config, "id").unwrap_err().code, "upload_expired");
    }

    #[test]
    fn processes_that_share_a_secret_take_each_others_addresses() {
        let with = |secret: &str| Config { webhook_secret: Some(secret.into()), ..Config::new("spool".into(), "guests".into()) };
        assert_eq!(secret(&with("a")), secret(&with("a")));
        assert_ne!(secret(&with("a")), secret(&with("b")));
    }
}
