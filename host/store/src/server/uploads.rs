//! Uploads in parts. s3s-fs names them, lists their parts, joins these and throws them away; every upload is a folder of its own.
//!
//! `ID/` lies in a [`DirectoryStore`] and is a file system of s3s-fs's as well: its `.upload-ID.json` and `.upload_id-ID.part-7`, and
//! beside these `target`, which holds the key that the upload is for and by which it stands and falls. So any server over the folder may
//! take the next request of an upload, also where the one that began it is gone.
//!
//! Parts are received as objects are (`reception`), since s3s-fs compares no checksum of a part, and put by the [`DirectoryStore`]: on
//! disk when the client is answered, with an etag that no other version has. To join parts s3s-fs forgets the upload first and
//! removes each part once it is copied, so it is given links of them in a folder apart. Parts stay until the object is published:
//! what is wrong in the list of parts, a condition that fails, and a server that is killed leave the upload as it was. Links are
//! numbered from 1, because S3 allows gaps between the numbers of parts and s3s-fs does not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use s3s::dto::*;
use s3s::{S3, S3Error, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::conditions::refused;
use super::reception::{BUCKET, Incoming, OBJECT, Room, asked, failed, receive};
use super::stream::blocking;
use crate::directory::etag;
use crate::{DirectoryStore, Key, MAX_KEY_BYTES, ObjectMeta, ObjectStore, PutMode, StoreError};

/// Part numbers that S3 allows.
const NUMBERS: std::ops::RangeInclusive<i32> = 1..=10_000;
/// The file that holds the key an upload is for.
const TARGET: &str = "target";

#[derive(Debug, Clone)]
pub(super) struct Uploads {
    store: DirectoryStore,
}

impl Uploads {
    /// In `folder/.uploads`; removes what is left of uploads that ended while their server was killed.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let uploads = Self { store: DirectoryStore::open(folder.join(".uploads"))? };
        let sweep = || {
            for id in uploads.ids()? {
                let folder = uploads.folder(&id);
                if ![TARGET, &record(&id)].iter().all(|name| folder.join(name).exists()) {
                    gone(fs::remove_dir_all(folder))?;
                    tracing::info!(id, "removed what was left of an upload that had ended");
                }
            }
            Ok(())
        };
        sweep().map_err(|source| StoreError::Open { store: uploads.store.name().into(), source })?;
        Ok(uploads)
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.store.root().join(id)
    }

    /// Names of folders that are those of uploads.
    fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.store.root())? {
            ids.extend(entry?.file_name().into_string().ok().filter(|name| is_id(name)));
        }
        Ok(ids)
    }

    /// Starts an upload; gives its id.
    pub async fn start(&self, key: &Key) -> S3Result<String> {
        let room = Room::open(&self.store).await?;
        let input = CreateMultipartUploadInput { bucket: BUCKET.into(), key: OBJECT.into(), ..Default::default() };
        let answer = room.files.create_multipart_upload(asked(input)).await.map_err(failed)?;
        let id = answer.output.upload_id.ok_or_else(|| s3_error!(InternalError, "s3s-fs gave the upload no name"))?;
        let (store, key, name) = (self.store.clone(), key.clone(), within(&id, None)?);
        blocking(move || {
            fs::write(room.path().join(TARGET), key.as_str()).map_err(S3Error::internal_error)?;
            store.put_folder(&name, &room.folder).map_err(refused)
        })
        .await?;
        Ok(id)
    }

    /// The key that an upload is for and when it began; None where there is no upload of this id.
    fn target(&self, id: &str) -> S3Result<Option<(String, SystemTime)>> {
        match (&self.store as &dyn ObjectStore).read(&within(id, Some(TARGET))?, MAX_KEY_BYTES as u64) {
            Ok((text, meta)) => Ok(Some((String::from_utf8_lossy(&text).into_owned(), meta.modified))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// Checks that there is an upload of this id for this key.
    fn find(&self, id: &str, key: &Key) -> S3Result<()> {
        match self.target(id)? {
            Some((target, _)) if target == key.as_str() => Ok(()),
            _ => Err(s3_error!(NoSuchUpload)),
        }
    }

    /// Receives a part.
    pub async fn part(&self, id: &str, key: &Key, number: i32, incoming: Incoming) -> S3Result<(ObjectMeta, PutObjectOutput)> {
        let at = part(id, number)?;
        let (uploads, id, key) = (self.clone(), id.to_string(), key.clone());
        let found = (uploads.clone(), id.clone(), key.clone());
        blocking(move || found.0.find(&found.1, &found.2)).await?;
        let (room, output) = receive(&self.store, incoming).await?;
        let meta = blocking(move || {
            let meta = room.publish(&uploads.store, &at, PutMode::Overwrite)?;
            // where the upload has ended meanwhile, nobody would ever remove the part
            uploads.find(&id, &key).or_else(|ended| {
                uploads.store.delete(&at).map_err(refused)?;
                Err(ended)
            })?;
            Ok(meta)
        })
        .await?;
        Ok((meta, output))
    }

    /// The parts that are there, in order, from the number after `after` on; at most `limit`, and whether there are more.
    pub async fn parts(&self, id: &str, key: &Key, after: i32, limit: usize) -> S3Result<(Vec<Part>, bool)> {
        let (uploads, upload, target) = (self.clone(), id.to_string(), key.clone());
        let files = blocking(move || {
            uploads.find(&upload, &target)?;
            Ok(FileSystem::new(uploads.folder(&upload))?)
        })
        .await?;
        let input = ListPartsInput { bucket: BUCKET.into(), key: OBJECT.into(), upload_id: id.into(), ..Default::default() };
        // all of them, in no order and without etags
        let known = files.list_parts(asked(input)).await.map_err(failed)?.output.parts.unwrap_or_default();
        let mut numbers: Vec<i32> = known.into_iter().filter_map(|part| part.part_number.filter(|number| *number > after)).collect();
        numbers.sort_unstable();
        let more = numbers.len() > limit;
        let (uploads, id) = (self.clone(), id.to_string());
        let page = blocking(move || {
            let known = numbers.into_iter().take(limit).map(|number| {
                let meta = uploads.store.head(&part(&id, number)?).map_err(refused)?;
                Ok(Part {
                    part_number: Some(number),
                    e_tag: Some(super::conditions::etag(&meta)),
                    size: i64::try_from(meta.size).ok(),
                    last_modified: Some(Timestamp::from(meta.modified)),
                    ..Default::default()
                })
            });
            known.collect::<S3Result<Vec<_>>>()
        })
        .await?;
        Ok((page, more))
    }

    /// Joins parts to an object of `bucket` and forgets the upload.
    pub async fn complete(
        &self,
        id: &str,
        key: &Key,
        parts: Vec<CompletedPart>,
        bucket: &DirectoryStore,
        mode: PutMode,
    ) -> S3Result<ObjectMeta> {
        let room = Room::open(&self.store).await?;
        let (uploads, upload, target) = (self.clone(), id.to_string(), key.clone());
        let (room, parts) = blocking(move || {
            uploads.find(&upload, &target)?;
            let linked = uploads.link(&upload, &parts, &room)?;
            Ok((room, linked))
        })
        .await?;
        let input = CompleteMultipartUploadInput {
            bucket: BUCKET.into(),
            key: OBJECT.into(),
            upload_id: id.into(),
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
            ..Default::default()
        };
        room.files.complete_multipart_upload(asked(input)).await.map_err(failed)?;
        let (bucket, target) = (bucket.clone(), key.clone());
        let meta = blocking(move || room.publish(&bucket, &target, mode)).await?;
        self.forget(id).await?;
        Ok(meta)
    }

    /// Links the parts that a client names into a room, if they are there, in order and of the versions named. What is linked does not
    /// change any more.
    fn link(&self, id: &str, parts: &[CompletedPart], room: &Room) -> S3Result<Vec<CompletedPart>> {
        if parts.is_empty() {
            return Err(s3_error!(InvalidRequest, "an upload needs at least one part"));
        }
        if parts.windows(2).any(|pair| pair[0].part_number >= pair[1].part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let link = |from: Key, to: String| {
            let to = room.path().join(to);
            fs::hard_link(self.store.root().join(from.as_str()), &to)?;
            fs::metadata(to)
        };
        link(within(id, Some(&record(id)))?, record(id)).map_err(|e| match e.kind() {
            // it has ended just now
            io::ErrorKind::NotFound => s3_error!(NoSuchUpload),
            _ => failed(S3Error::internal_error(e)),
        })?;
        let mut linked = Vec::with_capacity(parts.len());
        for (named, place) in parts.iter().zip(1..) {
            let number = named.part_number.ok_or_else(|| s3_error!(InvalidPart, "a part has no number"))?;
            let found = match link(part(id, number)?, part_file(id, place)) {
                Ok(found) => etag(found.modified().map_err(S3Error::internal_error)?, found.len()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(s3_error!(InvalidPart, "there is no part {number}")),
                Err(e) => return Err(failed(S3Error::internal_error(e))),
            };
            if named.e_tag.as_ref().is_none_or(|etag| etag.value() != found) {
                return Err(s3_error!(InvalidPart, "part {number} has another etag"));
            }
            linked.push(CompletedPart { part_number: Some(place), ..Default::default() });
        }
        Ok(linked)
    }

    /// Forgets an upload and its parts.
    pub async fn abort(&self, id: &str, key: &Key) -> S3Result<()> {
        let (uploads, upload, key) = (self.clone(), id.to_string(), key.clone());
        blocking(move || uploads.find(&upload, &key)).await?;
        self.forget(id).await
    }

    async fn forget(&self, id: &str) -> S3Result<()> {
        let (store, target) = (self.store.clone(), within(id, Some(TARGET))?);
        // from here on there is no such upload
        blocking(move || store.delete(&target).map_err(refused)).await?;
        let folder = self.folder(id);
        if let Err(error) = clear(folder.clone(), id).await
            && folder.exists()
        {
            tracing::warn!(path = %folder.display(), %error, "what is left of an upload stays until the next start");
        }
        Ok(())
    }

    /// All uploads with their ids, keys and when they began; in the order of keys.
    pub fn list(&self) -> S3Result<Vec<(String, String, SystemTime)>> {
        let mut found = Vec::new();
        for id in self.ids().map_err(S3Error::internal_error)? {
            // one without a target has ended just now
            found.extend(self.target(&id)?.map(|(key, began)| (id, key, began)));
        }
        found.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        Ok(found)
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// s3s-fs's file about an upload.
fn record(id: &str) -> String {
    format!(".upload-{id}.json")
}

/// s3s-fs's file of a part.
fn part_file(id: &str, number: i32) -> String {
    format!(".upload_id-{id}.part-{number}")
}

fn part(id: &str, number: i32) -> S3Result<Key> {
    if !NUMBERS.contains(&number) {
        return Err(s3_error!(InvalidArgument, "parts are numbered from 1 to 10000"));
    }
    within(id, Some(&part_file(id, number)))
}

/// A file of an upload's folder, or the folder.
fn within(id: &str, name: Option<&str>) -> S3Result<Key> {
    if !is_id(id) {
        return Err(s3_error!(NoSuchUpload));
    }
    Key::new(name.map_or(id.to_string(), |name| format!("{id}/{name}"))).map_err(|_| s3_error!(NoSuchUpload))
}

/// Removes an upload's folder.
async fn clear(folder: PathBuf, id: &str) -> S3Result<()> {
    let at = folder.clone();
    let files = blocking(move || Ok(FileSystem::new(at)?)).await?;
    let input = AbortMultipartUploadInput { bucket: BUCKET.into(), key: OBJECT.into(), upload_id: id.into(), ..Default::default() };
    files.abort_multipart_upload(asked(input)).await?;
    blocking(move || match gone(fs::remove_dir(folder)) {
        // a part has come this moment; who brought it finds the upload gone, and removes it
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        outcome => outcome.map_err(S3Error::internal_error),
    })
    .await
}

/// Well where there was nothing to remove.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
