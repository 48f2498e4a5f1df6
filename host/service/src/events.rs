//! Notifications of object stores, read into one form: AWS S3, MinIO, and S3 through EventBridge.
//!
//! Shapes: [S3](https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html) (`Records`; MinIO sends
//! the same with `EventName` and `Key` beside it), [EventBridge](https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html)
//! (`detail-type`, `detail`), and the test event that S3 sends when a notification is set up (`"Event": "s3:TestEvent"`).
//! Keys come URL-encoded in `Records` and as they are from EventBridge; here they are always decoded, and never changed
//! otherwise: whether a key such as `../a` may be worked on is for the planner and the store to say.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Most records of one notification; it usually holds one.
pub const MAX_RECORDS: usize = 1000;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was written: put, posted, copied, or put together from parts.
    Created,
    /// It was removed, by somebody or by a lifecycle rule.
    Removed,
}

/// One object of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEvent {
    /// What happened.
    pub kind: EventKind,
    /// Bucket, never empty.
    pub bucket: String,
    /// Key, decoded, never empty.
    pub key: String,
    /// Size in bytes; none where the store does not say, as with removals.
    pub size: Option<u64>,
    /// Entity tag without quotes.
    pub etag: Option<String>,
    /// Version, in buckets that keep versions.
    pub version: Option<String>,
    /// Orders events of the same key: compare as text, the shorter one padded with zeros on its right-hand side.
    pub sequencer: Option<String>,
}

/// Why a notification cannot be read. Nothing of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body is not JSON.
    #[error("the notification is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON of a shape that no supported store sends.
    #[error("the notification is of no known shape: {0}; known are S3 and MinIO notifications with Records, and EventBridge events of S3")]
    UnknownShape(String),
    /// The event says that something happened that is neither a creation nor a removal.
    #[error("the event {name:?} at {path} is not known; subscribe to ObjectCreated and ObjectRemoved events only")]
    UnknownEvent {
        /// JSON path of the name.
        path: String,
        /// The name.
        name: String,
    },
    /// A field is not there.
    #[error("the notification lacks {path}")]
    MissingField {
        /// JSON path of the field.
        path: String,
    },
    /// A field is there but holds something else.
    #[error("the notification's {path} is not {expected}")]
    BadField {
        /// JSON path of the field.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key is not URL-encoded UTF-8.
    #[error("the key {key:?} at {path} cannot be decoded: {problem}")]
    BadEncoding {
        /// JSON path of the key.
        path: String,
        /// The key as it came.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More records than are taken at once.
    #[error("the notification holds {count} records; at most {MAX_RECORDS} are taken, send it in parts")]
    TooManyRecords {
        /// Records it holds.
        count: usize,
    },
}

impl EventError {
    /// A stable name of the error for API answers and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "event_not_json",
            Self::UnknownShape(_) => "event_unknown_shape",
            Self::UnknownEvent { .. } => "event_unknown_name",
            Self::MissingField { .. } => "event_missing_field",
            Self::BadField { .. } => "event_bad_field",
            Self::BadEncoding { .. } => "event_bad_key_encoding",
            Self::TooManyRecords { .. } => "event_too_many_records",
        }
    }
}

/// Reads a notification. A test event gives an empty list.
///
/// # Errors
/// [`EventError`] with what does not fit and where.
pub fn parse(body: &[u8]) -> Result<Vec<ObjectEvent>, EventError> {
    let value: Value = serde_json::from_slice(body).map_err(|e| EventError::NotJson(e.to_string()))?;
    let root = Node { value: &value, path: String::new() };
    if !value.is_object() {
        return Err(EventError::UnknownShape("it is not a JSON object".into()));
    }
    if let Some(records) = root.find("Records") {
        return parse_records(&records);
    }
    if value.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if root.find("detail-type").is_some() {
        return parse_event_bridge(&root).map(|event| vec![event]);
    }
    // MinIO's own fields without the records they come with
    if root.find("EventName").is_some() {
        return Err(EventError::MissingField { path: "Records".into() });
    }
    Err(EventError::UnknownShape("it has neither Records nor detail-type".into()))
}

/// `Records` of S3 and MinIO.
fn parse_records(records: &Node) -> Result<Vec<ObjectEvent>, EventError> {
    let list = records.value.as_array().ok_or_else(|| records.is_not("a list"))?;
    if list.len() > MAX_RECORDS {
        return Err(EventError::TooManyRecords { count: list.len() });
    }
    list.iter().enumerate().map(|(i, value)| parse_record(&Node { value, path: format!("{}[{i}]", records.path) })).collect()
}

fn parse_record(record: &Node) -> Result<ObjectEvent, EventError> {
    // queues and topics wrap their messages in Records as well
    if let Some(source) = record.optional("eventSource", Node::text)?
        && !source.ends_with(":s3")
    {
        return Err(EventError::UnknownShape(format!("{}.eventSource is {source:?}, not an S3 store's", record.path)));
    }
    let name = record.required("eventName")?;
    let kind = record_kind(name.text()?).ok_or_else(|| name.is_unknown_event())?;
    let s3 = record.required("s3")?;
    let bucket = s3.required("bucket")?.required("name")?.filled()?.to_owned();
    let object = s3.required("object")?;
    let key = object.required("key")?;
    Ok(ObjectEvent {
        kind,
        bucket,
        key: decode_key(&key)?,
        size: object.optional("size", Node::size)?,
        etag: object.optional_text("eTag")?.map(unquoted),
        version: object.optional_text("versionId")?,
        sequencer: object.optional_text("sequencer")?,
    })
}

/// `ObjectCreated:Put` and the like. MinIO writes `s3:` before it, as in the names of subscriptions.
fn record_kind(name: &str) -> Option<EventKind> {
    match name.strip_prefix("s3:").unwrap_or(name).split_once(':')?.0 {
        "ObjectCreated" => Some(EventKind::Created),
        "ObjectRemoved" | "LifecycleExpiration" => Some(EventKind::Removed),
        _ => None,
    }
}

/// An S3 event that came through EventBridge.
fn parse_event_bridge(root: &Node) -> Result<ObjectEvent, EventError> {
    if let Some(source) = root.optional("source", Node::text)?
        && source != "aws.s3"
    {
        return Err(EventError::UnknownShape(format!("it is an EventBridge event of {source:?}, not of \"aws.s3\"")));
    }
    let name = root.required("detail-type")?;
    let kind = match name.text()? {
        "Object Created" => EventKind::Created,
        "Object Deleted" => EventKind::Removed,
        _ => return Err(name.is_unknown_event()),
    };
    let detail = root.required("detail")?;
    let object = detail.required("object")?;
    Ok(ObjectEvent {
        kind,
        bucket: detail.required("bucket")?.required("name")?.filled()?.to_owned(),
        key: object.required("key")?.filled()?.to_owned(),
        size: object.optional("size", Node::size)?,
        etag: object.optional_text("etag")?.map(unquoted),
        version: object.optional_text("version-id")?,
        sequencer: object.optional_text("sequencer")?,
    })
}

/// A key of `Records`: form encoding, where `+` is a space. Decoded strictly: a stray `%` is an error, not a character.
fn decode_key(node: &Node) -> Result<String, EventError> {
    let encoded = node.filled()?;
    let bad = |problem| EventError::BadEncoding { path: node.path.clone(), key: encoded.chars().take(256).collect(), problem };
    let is_hex = |digits: Option<&[u8]>| digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
    let bytes = encoded.as_bytes();
    if (0..bytes.len()).any(|i| bytes[i] == b'%' && !is_hex(bytes.get(i + 1..i + 3))) {
        return Err(bad("a % is not followed by two hexadecimal digits"));
    }
    let spaced = encoded.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| bad("its bytes are not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// An entity tag without the quotes that HTTP puts around it.
fn unquoted(etag: String) -> String {
    match etag.strip_prefix('"').and_then(|e| e.strip_suffix('"')) {
        Some(inner) => inner.to_owned(),
        None => etag,
    }
}

/// A JSON value that knows its path.
struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    fn child_path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field that is there and not null.
    fn find(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|v| !v.is_null())?;
        Some(Node { value, path: self.child_path(name) })
    }

    fn required(&self, name: &str) -> Result<Self, EventError> {
        self.find(name).ok_or_else(|| EventError::MissingField { path: self.child_path(name) })
    }

    fn optional<T>(&self, name: &str, read: impl FnOnce(&Self) -> Result<T, EventError>) -> Result<Option<T>, EventError> {
        self.find(name).map(|node| read(&node)).transpose()
    }

    /// A text; an empty one counts as none.
    fn optional_text(&self, name: &str) -> Result<Option<String>, EventError> {
        Ok(self.optional(name, Node::text)?.filter(|text| !text.is_empty()).map(str::to_owned))
    }

    fn text(&self) -> Result<&'a str, EventError> {
        self.value.as_str().ok_or_else(|| self.is_not("a text"))
    }

    fn filled(&self) -> Result<&'a str, EventError> {
        let text = self.text()?;
        if text.is_empty() { Err(self.is_not("a text with at least one character")) } else { Ok(text) }
    }

    fn size(&self) -> Result<u64, EventError> {
        self.value.as_u64().ok_or_else(|| self.is_not("a whole number of bytes"))
    }

    fn is_not(&self, expected: &'static str) -> EventError {
        EventError::BadField { path: self.path.clone(), expected }
    }

    fn is_unknown_event(&self) -> EventError {
        let name = self.value.as_str().unwrap_or_default();
        EventError::UnknownEvent { path: self.path.clone(), name: name.chars().take(256).collect() }
    }
}

#[cfg(test)]
mod tests;
