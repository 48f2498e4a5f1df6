//! Where a client puts a video of its own: presigned addresses of the store, or signed addresses of this service.
//!
//! A store that signs addresses (S3) takes the bytes itself, large ones in parts. For any other store the service is the target:
//! `PUT /uploads/{id}` with the raw bytes. Its address carries everything that was agreed on, signed with HMAC-SHA256 (RFC 2104),
//! so it needs no API key and no memory here.

mod ticket;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{post, put};
use axum::{Json, Router};
use futures::StreamExt;
use halfpipe_store::{Key, ObjectMeta, PutMode, S3Store, StoreError, UploadedPart};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;

use crate::clock::now_ms;
use crate::http::error::ApiError;
use crate::http::upload::{look_at_disk, safe_name, spool_error};
use crate::jobs::work::spool_folder;
use crate::{App, Config};
use ticket::Ticket;

/// Videos that clients upload go here, where the default planner looks for work.
const INCOMING: &str = "incoming/";
/// How long an address is good.
const VALID: Duration = Duration::from_secs(3600);
/// Largest object of S3, bytes.
const MOST_OBJECT_BYTES: u64 = 5 << 40;
/// Uploads beyond this size go in parts where the store can.
const SINGLE_BYTES: u64 = 1 << 30;
/// Smallest part.
const PART_BYTES: u64 = 64 << 20;
/// Most parts of an upload (S3's limit).
const MOST_PARTS: u64 = 10_000;

/// A store whose addresses can be signed, so that clients put objects without passing through this service. Calls block.
pub trait Presign: Send + Sync + Debug {
    /// An address for one PUT of a whole object.
    ///
    /// # Errors
    /// Where the store refuses.
    fn put(&self, key: &Key, expires: Duration, content_type: Option<&str>) -> Result<String, StoreError>;
    /// Begins an upload in parts and gives its id.
    ///
    /// # Errors
    /// Where the store refuses.
    fn start_multipart(&self, key: &Key) -> Result<String, StoreError>;
    /// An address for one PUT of a part, numbered from 1.
    ///
    /// # Errors
    /// Where the store refuses.
    fn part_url(&self, key: &Key, upload: &str, number: u16, expires: Duration) -> Result<String, StoreError>;
    /// Makes the object of its parts, in ascending order.
    ///
    /// # Errors
    /// Where the store refuses, e.g. for want of a part.
    fn complete(&self, key: &Key, upload: &str, parts: &[UploadedPart]) -> Result<ObjectMeta, StoreError>;
    /// Gives up an upload in parts.
    ///
    /// # Errors
    /// Where the store refuses.
    fn abort(&self, key: &Key, upload: &str) -> Result<(), StoreError>;
}

impl Presign for S3Store {
    fn put(&self, key: &Key, expires: Duration, content_type: Option<&str>) -> Result<String, StoreError> {
        self.presign_put(key, expires, content_type)
    }

    fn start_multipart(&self, key: &Key) -> Result<String, StoreError> {
        Self::start_multipart(self, key)
    }

    fn part_url(&self, key: &Key, upload: &str, number: u16, expires: Duration) -> Result<String, StoreError> {
        self.presign_part(key, upload, number, expires)
    }

    fn complete(&self, key: &Key, upload: &str, parts: &[UploadedPart]) -> Result<ObjectMeta, StoreError> {
        self.complete_multipart(key, upload, parts)
    }

    fn abort(&self, key: &Key, upload: &str) -> Result<(), StoreError> {
        self.abort_multipart(key, upload)
    }
}

/// The routes that need an API key.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/uploads", post(start))
}

/// The routes whose address is signed, so that they need no API key.
pub fn signed_routes() -> Router<Arc<App>> {
    Router::new().route("/uploads/{id}", put(receive).delete(abort)).route("/uploads/{id}/complete", post(complete))
}

/// What POST /uploads takes.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct UploadRequest {
    /// The file's name; its extension decides whether the planner takes it for a video.
    name: String,
    /// Its size, bytes.
    #[schema(minimum = 1, maximum = 5_497_558_138_880_u64)]
    size: u64,
    /// Its media type, to be sent as `Content-Type` with the bytes.
    content_type: Option<String>,
    /// Whether to upload in parts; without it, from 1 GiB on where the store can.
    multipart: Option<bool>,
}

/// One part of an upload.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct PartUrl {
    /// From 1.
    number: u16,
    /// Where it goes, by PUT. Keep the answer's `ETag`.
    url: String,
    /// Its size, bytes.
    size: u64,
}

/// What POST /uploads answers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct UploadTicket {
    /// The upload's id.
    upload_id: String,
    /// Key of the object to be: name it in POST /process_video_async.
    key: String,
    /// Where the bytes go; none for an upload in parts.
    url: Option<String>,
    /// Always `PUT`.
    method: &'static str,
    /// Headers to send with the bytes.
    headers: BTreeMap<String, String>,
    /// Until when the addresses are good, RFC 3339.
    expires_at: String,
    /// The parts, for an upload in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartUrl>>,
    /// Where to POST `{parts: [{number, etag}]}` once all parts are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_url: Option<String>,
    /// Where to send DELETE to give the upload up.
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_url: Option<String>,
}

/// An object that was put.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Uploaded {
    /// Its key.
    key: String,
    /// Its size.
    bytes: u64,
    /// Its version.
    etag: String,
}

impl From<ObjectMeta> for Uploaded {
    fn from(meta: ObjectMeta) -> Self {
        Self { key: meta.key.to_string(), bytes: meta.size, etag: meta.etag }
    }
}

/// What POST /uploads/{id}/complete takes.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CompleteRequest {
    /// All parts.
    parts: Vec<PartDone>,
}

/// A part that the store has.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct PartDone {
    /// From 1.
    #[schema(minimum = 1, maximum = 10000)]
    number: u16,
    /// The `ETag` that the store answered with.
    etag: String,
}

/// `http://host` as the client called this service; empty (for a relative address) where it did not say.
fn origin(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text("x-forwarded-host").or_else(|| text("host"));
    let scheme = text("x-forwarded-proto").filter(|s| *s == "https").unwrap_or("http");
    host.map_or_else(String::new, |host| format!("{scheme}://{host}"))
}

fn too_large(most: u64) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a video may have {most} bytes at most; send a smaller one"))
}

/// Agrees on an upload: gives an address, or one for each part, and the key that the object will have.
#[utoipa::path(post, path = "/uploads", tag = "uploads", request_body = UploadRequest,
    responses((status = 201, body = UploadTicket),
              (status = 400, description = "`bad_size` or `bad_content_type`"),
              (status = 413, description = "`too_large`")))]
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(request): Json<UploadRequest>,
) -> Result<(StatusCode, Json<UploadTicket>), ApiError> {
    if request.size == 0 {
        return Err(ApiError::bad_request("bad_size", "size is 0; give the file's size in bytes"));
    }
    if request.size > MOST_OBJECT_BYTES {
        return Err(ApiError::bad_request("bad_size", "no object can have more than 5 TiB; give the file's size in bytes"));
    }
    if request.size > app.config.most_upload_bytes {
        return Err(too_large(app.config.most_upload_bytes));
    }
    let bad_type = |t: &String| !t.contains('/') || t.len() > 128 || HeaderValue::from_str(t).is_err();
    if request.content_type.as_ref().is_some_and(bad_type) {
        return Err(ApiError::bad_request("bad_content_type", "content_type is no media type; give one such as video/mp4, or none"));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let key = Key::new(format!("{INCOMING}{id}/{}", safe_name(&request.name)))?;
    let expires = now_ms() / 1000 + VALID.as_secs();
    let mut ticket = Ticket { key: key.to_string(), size: request.size, expires, parts: String::new(), token: String::new() };
    let mut answer = UploadTicket {
        upload_id: id.clone(),
        key: key.to_string(),
        url: None,
        method: "PUT",
        headers: request.content_type.iter().map(|t| ("Content-Type".to_owned(), t.clone())).collect(),
        expires_at: rfc3339(expires),
        parts: None,
        complete_url: None,
        abort_url: None,
    };
    let here = origin(&headers);
    match app.presign.get().cloned() {
        None => answer.url = Some(ticket.sign(&app.config, &id, &here, &format!("/uploads/{id}"))),
        Some(presign) if request.multipart.unwrap_or(request.size > SINGLE_BYTES) => {
            // the media type of an upload in parts is not the parts' own
            answer.headers.clear();
            let size = request.size;
            let (parts, urls) = app.blocking(move |_| start_parts(&*presign, &key, size)).await?;
            ticket.parts = parts;
            answer.parts = Some(urls);
            answer.complete_url = Some(ticket.sign(&app.config, &id, &here, &format!("/uploads/{id}/complete")));
            answer.abort_url = Some(ticket.sign(&app.config, &id, &here, &format!("/uploads/{id}")));
        }
        Some(presign) => {
            let kind = request.content_type;
            answer.url = Some(app.blocking(move |_| presign.put(&key, VALID, kind.as_deref())).await?);
        }
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Unix seconds as text; the number itself where no calendar has them.
fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    time.and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

/// Begins an upload in parts and signs each.
fn start_parts(presign: &dyn Presign, key: &Key, size: u64) -> Result<(String, Vec<PartUrl>), StoreError> {
    let upload = presign.start_multipart(key)?;
    let each = PART_BYTES.max(size.div_ceil(MOST_PARTS));
    let urls = (1u16..).zip(0..size.div_ceil(each)).map(|(number, i)| {
        let url = presign.part_url(key, &upload, number, VALID)?;
        Ok(PartUrl { number, url, size: each.min(size - i * each) })
    });
    match urls.collect::<Result<Vec<_>, StoreError>>() {
        Ok(urls) => Ok((upload, urls)),
        Err(error) => {
            // what nobody can complete must not stay; the first error is the one to tell
            if let Err(e) = presign.abort(key, &upload) {
                tracing::warn!(%key, error = %e, "an upload in parts was left behind");
            }
            Err(error)
        }
    }
}

/// Takes the bytes of an upload, whole, as the body. Only for stores that sign no addresses of their own.
#[utoipa::path(put, path = "/uploads/{id}", tag = "uploads", params(("id" = String, Path, description = "Id of the upload"), Ticket),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"), security(()),
    responses((status = 201, body = Uploaded),
              (status = 400, description = "`size_mismatch`: fewer bytes than agreed on"),
              (status = 403, description = "`bad_signature` or `upload_expired`"),
              (status = 408, description = "`body_timeout`: the body stopped coming"),
              (status = 409, description = "`changed`: it was uploaded before"),
              (status = 413, description = "`too_large`: more bytes than agreed on"),
              (status = 507, description = "`disk_full`")))]
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(ticket): Query<Ticket>,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), ApiError> {
    let key = ticket.check(&app.config, &id)?;
    if !ticket.parts.is_empty() {
        return Err(ApiError::bad_request("bad_request", "this upload goes in parts; PUT each part to its own address"));
    }
    let folder = spool_folder(&app.config.spool).map_err(|e| spool_error(&e))?;
    look_at_disk(folder.path(), ticket.size, app.config.disk_reserve_bytes)?;
    let file = folder.path().join("upload");
    spool(&app.config, body, &file, ticket.size).await?;
    let meta = app.blocking(move |app| app.store.put_file(&key, &file, PutMode::Create)).await?;
    tracing::info!(key = %meta.key, bytes = meta.size, "took an upload");
    Ok((StatusCode::CREATED, Json(meta.into())))
}

/// Streams a body of exactly `size` bytes to a file.
async fn spool(config: &Config, body: Body, path: &FilePath, size: u64) -> Result<(), ApiError> {
    let mut file = tokio::fs::File::create(path).await.map_err(|e| spool_error(&e))?;
    let mut pieces = body.into_data_stream();
    let mut taken = 0_u64;
    loop {
        let piece = tokio::time::timeout(config.body_pause, pieces.next()).await.map_err(|_| {
            let pause = config.body_pause.as_secs();
            ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("no byte came for {pause} s; send the video again without pauses"),
            )
        })?;
        let Some(piece) = piece else { break };
        let piece = piece
            .map_err(|e| ApiError::bad_request("upload_broken", format!("the body broke off after {taken} bytes: {e}; send it again")))?;
        taken = taken.saturating_add(piece.len() as u64);
        if taken > size {
            let message = format!("the body has more than the {size} bytes that were agreed on; ask for a new upload with the true size");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        file.write_all(&piece).await.map_err(|e| spool_error(&e))?;
    }
    file.flush().await.map_err(|e| spool_error(&e))?;
    if taken < size {
        return Err(ApiError::bad_request(
            "size_mismatch",
            format!("the body has {taken} bytes where {size} were agreed on; send it again"),
        ));
    }
    Ok(())
}

/// The store that takes uploads in parts.
fn presigning(app: &App, ticket: &Ticket) -> Result<Arc<dyn Presign>, ApiError> {
    let none = || ApiError::bad_request("not_in_parts", "this upload is not one in parts; there is nothing to complete or to give up");
    app.presign.get().filter(|_| !ticket.parts.is_empty()).cloned().ok_or_else(none)
}

/// Makes the object of an upload's parts.
#[utoipa::path(post, path = "/uploads/{id}/complete", tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload"), Ticket), request_body = CompleteRequest, security(()),
    responses((status = 201, body = Uploaded), (status = 400, description = "`bad_parts` or `not_in_parts`"),
              (status = 403, description = "`bad_signature` or `upload_expired`")))]
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(ticket): Query<Ticket>,
    Json(request): Json<CompleteRequest>,
) -> Result<(StatusCode, Json<Uploaded>), ApiError> {
    let key = ticket.check(&app.config, &id)?;
    let presign = presigning(&app, &ticket)?;
    let mut parts: Vec<UploadedPart> = request.parts.into_iter().map(|p| UploadedPart { number: p.number, etag: p.etag }).collect();
    parts.sort_by_key(|p| p.number);
    if parts.is_empty() || parts.iter().zip(1..).any(|(part, number)| part.number != number) {
        return Err(ApiError::bad_request("bad_parts", "the parts must be numbered from 1 without a gap, each once; list them all"));
    }
    let meta = app.blocking(move |_| presign.complete(&key, &ticket.parts, &parts)).await?;
    Ok((StatusCode::CREATED, Json(meta.into())))
}

/// Gives up an upload in parts.
#[utoipa::path(delete, path = "/uploads/{id}", tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload"), Ticket), security(()),
    responses((status = 204), (status = 400, description = "`not_in_parts`"),
              (status = 403, description = "`bad_signature` or `upload_expired`")))]
pub(crate) async fn abort(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(ticket): Query<Ticket>,
) -> Result<StatusCode, ApiError> {
    let key = ticket.check(&app.config, &id)?;
    let presign = presigning(&app, &ticket)?;
    app.blocking(move |_| presign.abort(&key, &ticket.parts)).await?;
    Ok(StatusCode::NO_CONTENT)
}
