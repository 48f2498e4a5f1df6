//! An object on its way into a bucket: one request where it is small, parts where it is not.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tokio::task::JoinHandle;

use super::connection::{Connection, patient, quoted, unquoted};
use super::fault::Fault;
use crate::{Key, ObjectMeta, ObjectWriter, PutMode, StoreError};

/// Size of the first parts, and of the largest object that goes in one request, bytes.
const PART: usize = 8 << 20;
/// After so many parts their size doubles: 10,000 parts hold 8 TiB, more than the 5 TiB that an object may have, and a video of
/// 100 GiB still passes in parts of 64 MiB.
const DOUBLING: usize = 1000;

/// Collects a part while the one before is under way, so it holds at most two.
pub(super) struct Writer {
    link: Arc<Connection>,
    key: Key,
    mode: PutMode,
    size: u64,
    buffer: Vec<u8>,
    upload: Option<Upload>,
}

struct Upload {
    id: String,
    parts: Vec<CompletedPart>,
    under_way: Option<JoinHandle<Result<CompletedPart, Fault>>>,
}

impl Writer {
    pub fn new(link: &Arc<Connection>, key: &Key, mode: PutMode) -> Self {
        Self { link: Arc::clone(link), key: key.clone(), mode, size: 0, buffer: Vec::new(), upload: None }
    }

    fn failed(&self, fault: Fault) -> StoreError {
        match (fault, &self.mode) {
            (Fault::Condition, PutMode::Create) => StoreError::AlreadyExists { store: self.link.name.clone(), key: self.key.clone() },
            (Fault::Condition | Fault::NoObject, PutMode::Update(expected)) => {
                StoreError::Changed { store: self.link.name.clone(), key: self.key.clone(), expected: expected.clone() }
            }
            (fault, _) => self.link.failed(self.key.as_str(), "written", fault),
        }
    }

    fn limit(&self) -> usize {
        let sent = self.upload.as_ref().map_or(0, |upload| upload.parts.len() + usize::from(upload.under_way.is_some()));
        PART << (sent / DOUBLING).min(9)
    }

    /// Sends what is collected as a part, once the part before it has arrived.
    fn send_part(&mut self) -> Result<(), StoreError> {
        let id = match &self.upload {
            Some(upload) => upload.id.clone(),
            None => {
                let id = start(&self.link, &self.key)?;
                self.upload = Some(Upload { id: id.clone(), parts: Vec::new(), under_way: None });
                id
            }
        };
        self.await_part()?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let number = i32::try_from(upload.parts.len() + 1).unwrap_or(i32::MAX);
        let link = &self.link;
        let request = link.client.upload_part().bucket(&link.bucket).key(link.full(self.key.as_str())).upload_id(id).part_number(number);
        let request = request.body(ByteStream::from(std::mem::take(&mut self.buffer))).customize().config_override(patient());
        upload.under_way = Some(link.handle.spawn(async move {
            let answer = request.send().await.map_err(Fault::of)?;
            Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
        }));
        Ok(())
    }

    fn await_part(&mut self) -> Result<(), StoreError> {
        let Some(under_way) = self.upload.as_mut().and_then(|upload| upload.under_way.take()) else { return Ok(()) };
        let arrived = match self.link.wait(under_way) {
            Ok(outcome) => outcome,
            Err(error) => Err(Fault::Other(error.to_string())),
        };
        let part = arrived.map_err(|fault| self.failed(fault))?;
        if let Some(upload) = &mut self.upload {
            upload.parts.push(part);
        }
        Ok(())
    }

    fn conditions(&self) -> (Option<String>, Option<String>) {
        match &self.mode {
            PutMode::Overwrite => (None, None),
            PutMode::Create => (Some("*".into()), None),
            PutMode::Update(etag) => (None, Some(quoted(etag))),
        }
    }

    fn put_whole(&mut self) -> Result<Option<String>, StoreError> {
        let (none_match, matching) = self.conditions();
        let link = &self.link;
        let request = link.client.put_object().bucket(&link.bucket).key(link.full(self.key.as_str()));
        let request = request.set_if_none_match(none_match).set_if_match(matching);
        let request = request.body(ByteStream::from(std::mem::take(&mut self.buffer))).customize().config_override(patient());
        let answer = link.wait(request.send()).map_err(|e| self.failed(Fault::of(e)))?;
        Ok(answer.e_tag)
    }

    fn join_parts(&mut self) -> Result<Option<String>, StoreError> {
        if !self.buffer.is_empty() {
            self.send_part()?;
        }
        self.await_part()?;
        let (none_match, matching) = self.conditions();
        let Some(upload) = &self.upload else { return Ok(None) };
        let etag = complete(&self.link, &self.key, &upload.id, upload.parts.clone(), none_match, matching).map_err(|f| self.failed(f))?;
        self.upload = None;
        Ok(etag)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // only when more comes: what fits one request is sent as one
        if self.buffer.len() >= self.limit() && !bytes.is_empty() {
            self.send_part().map_err(io::Error::other)?;
        }
        let n = bytes.len().min(self.limit() - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for Writer {
    fn commit(mut self: Box<Self>) -> Result<ObjectMeta, StoreError> {
        let etag = if self.upload.is_some() { self.join_parts() } else { self.put_whole() }?;
        let etag = etag.as_deref().map(unquoted).ok_or_else(|| self.link.no_etag(&self.key, "written"))?;
        Ok(after_put(&self.link, &self.key, etag, self.size))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let (done, wait) = mpsc::sync_channel(1);
        let (link, key) = (Arc::clone(&self.link), self.key.clone());
        // no block_on: a writer may be dropped anywhere, where it would panic
        self.link.handle.spawn(async move {
            // a part that arrives after the upload was given up would stay, and cost
            if let Some(under_way) = upload.under_way.take() {
                let _ = under_way.await;
            }
            let request = link.client.abort_multipart_upload().bucket(&link.bucket).key(link.full(key.as_str())).upload_id(&upload.id);
            if let Err(error) = request.send().await {
                let fault = Fault::of(error);
                tracing::warn!(store = %link.name, %key, upload = upload.id, ?fault, "an unfinished upload could not be removed");
            }
            let _ = done.send(());
        });
        let _ = wait.recv();
    }
}

/// Starts an upload in parts.
pub(super) fn start(link: &Connection, key: &Key) -> Result<String, StoreError> {
    let request = link.client.create_multipart_upload().bucket(&link.bucket).key(link.full(key.as_str()));
    let answer = link.wait(request.send()).map_err(|e| link.failed(key.as_str(), "written", Fault::of(e)))?;
    answer.upload_id.ok_or_else(|| link.failed(key.as_str(), "written", Fault::Other("the server gave the upload no name".into())))
}

/// Joins the parts of an upload; gives the object's etag.
pub(super) fn complete(
    link: &Connection,
    key: &Key,
    upload: &str,
    parts: Vec<CompletedPart>,
    none_match: Option<String>,
    matching: Option<String>,
) -> Result<Option<String>, Fault> {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let request = link.client.complete_multipart_upload().bucket(&link.bucket).key(link.full(key.as_str()));
    let request = request.upload_id(upload).multipart_upload(parts).set_if_none_match(none_match).set_if_match(matching);
    Ok(link.wait(request.customize().config_override(patient()).send()).map_err(Fault::of)?.e_tag)
}

/// What is known of an object just put. Its time is the server's, if no other put came between; the put stands in any case.
fn after_put(link: &Connection, key: &Key, etag: String, size: u64) -> ObjectMeta {
    match link.head(key) {
        Ok(meta) if meta.etag == etag => meta,
        _ => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
            ObjectMeta { key: key.clone(), size, etag, modified }
        }
    }
}
