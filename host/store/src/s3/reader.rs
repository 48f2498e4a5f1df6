//! An object's bytes as they come, taken up again where a connection breaks.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::connection::{Connection, modified, quoted, size_of, unquoted};
use super::fault::Fault;
use crate::{Key, Object, ObjectMeta, StoreError, causes, range};

/// Connections in a row that may break before a byte has come.
const RESUMPTIONS: u32 = 3;

pub(super) fn open(link: &Arc<Connection>, key: &Key, range: Option<Range<u64>>) -> Result<Object, StoreError> {
    if range.as_ref().is_some_and(|range| range.start >= range.end) {
        return Err(no_bytes(link, key, range)?);
    }
    let answer = match get(link, key, range.as_ref().map(header), None) {
        Ok(answer) => answer,
        Err(Fault::Range) => return Err(no_bytes(link, key, range)?),
        Err(fault) => return Err(link.failed(key.as_str(), "read", fault)),
    };
    // the header is `bytes 3-6/10`; without it the answer is the whole object
    let size = match answer.content_range().and_then(|range| range.rsplit_once('/')) {
        Some((_, size)) => size.parse().map_err(|_| link.failed(key.as_str(), "read", Fault::Other("bad Content-Range".into())))?,
        None => size_of(answer.content_length()),
    };
    let etag = answer.e_tag().map(unquoted).ok_or_else(|| link.no_etag(key, "read"))?;
    let meta = ObjectMeta { key: key.clone(), size, etag: etag.clone(), modified: modified(answer.last_modified()) };
    let range = range::resolve(&link.name, &meta, range)?;
    if size_of(answer.content_length()) != range.end - range.start {
        return Err(link.failed(key.as_str(), "read", Fault::Other("the server gave another range than asked for".into())));
    }
    let body = Body {
        link: Arc::clone(link),
        key: key.clone(),
        etag,
        left: range.clone(),
        chunk: Bytes::new(),
        stream: answer.body,
        broken: 0,
        done: false,
    };
    Ok(Object { meta, range, body: Box::new(body) })
}

/// The error of a range without bytes, which tells the object's size.
fn no_bytes(link: &Connection, key: &Key, range: Option<Range<u64>>) -> Result<StoreError, StoreError> {
    let size = link.head(key)?.size;
    Ok(StoreError::Range { store: link.name.clone(), key: key.clone(), range: range.unwrap_or(0..0), size })
}

fn header(range: &Range<u64>) -> String {
    // servers count in signed numbers; no object is that long
    if i64::try_from(range.end).is_ok() { format!("bytes={}-{}", range.start, range.end - 1) } else { format!("bytes={}-", range.start) }
}

fn get(link: &Connection, key: &Key, range: Option<String>, version: Option<&str>) -> Result<GetObjectOutput, Fault> {
    let request = link.client.get_object().bucket(&link.bucket).key(link.full(key.as_str()));
    let request = request.set_range(range).set_if_match(version.map(quoted));
    link.wait(request.send()).map_err(Fault::of)
}

struct Body {
    link: Arc<Connection>,
    key: Key,
    etag: String,
    /// What has not come yet.
    left: Range<u64>,
    chunk: Bytes,
    stream: ByteStream,
    broken: u32,
    done: bool,
}

impl Body {
    /// Waits for the next bytes; the last wait is for the end, where the checksum is compared.
    fn advance(&mut self) -> io::Result<()> {
        let next = self.link.handle.block_on(self.stream.next());
        match next {
            Some(Ok(chunk)) if chunk.len() as u64 <= self.left.end - self.left.start => {
                self.left.start += chunk.len() as u64;
                self.chunk = chunk;
                self.broken = 0;
                Ok(())
            }
            Some(Ok(_)) => Err(self.error("the server sent more than it announced".into())),
            None if self.left.is_empty() => {
                self.done = true;
                Ok(())
            }
            Some(Err(error)) if self.left.is_empty() => Err(self.error(causes(&error))),
            Some(Err(error)) => self.resume(&causes(&error)),
            None => self.resume("the connection ended early"),
        }
    }

    fn resume(&mut self, reason: &str) -> io::Result<()> {
        if self.broken == RESUMPTIONS {
            let text = format!("{reason}, {} bytes before the end", self.left.end - self.left.start);
            return Err(io::Error::other(self.link.failed(self.key.as_str(), "read", Fault::Unavailable(text))));
        }
        self.broken += 1;
        tracing::debug!(store = %self.link.name, key = %self.key, at = self.left.start, reason, "reading on after a broken connection");
        let answer = get(&self.link, &self.key, Some(header(&self.left)), Some(&self.etag)).map_err(|fault| match fault {
            Fault::Condition => self.error(format!("{reason}, and meanwhile the object was changed")),
            fault => io::Error::other(self.link.failed(self.key.as_str(), "read", fault)),
        })?;
        self.stream = answer.body;
        Ok(())
    }

    fn error(&self, reason: String) -> io::Error {
        io::Error::other(self.link.failed(self.key.as_str(), "read", Fault::Other(reason)))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.done && !buffer.is_empty() {
            self.advance()?;
        }
        let n = self.chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.chunk.split_to(n));
        Ok(n)
    }
}
