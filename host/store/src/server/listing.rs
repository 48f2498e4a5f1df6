//! Listings as S3 gives them: pages, with keys beyond a delimiter folded together.

use s3s::S3Result;

use super::conditions::refused;
use crate::{DirectoryStore, Key, ObjectMeta, ObjectStore};

/// Objects read from the store at a time.
const PAGE: usize = 1000;

/// What a page is of.
pub(super) struct Query {
    pub prefix: String,
    /// Keys up to and with this text are left out.
    pub after: String,
    pub delimiter: Option<String>,
    pub limit: usize,
}

/// One page.
#[derive(Default)]
pub(super) struct Page {
    pub objects: Vec<ObjectMeta>,
    pub folders: Vec<String>,
    /// Where the next page goes on; None where this is the last.
    pub next: Option<String>,
}

pub(super) fn page(store: &DirectoryStore, query: &Query) -> S3Result<Page> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    // a text that is no key cannot be told to the store: what lies before it is skipped
    let mut after = Key::new(query.after.as_str()).ok();
    let mut last = query.after.clone();
    loop {
        let metas = store.list(&query.prefix, after.as_ref(), PAGE).map_err(refused)?;
        let Some(end) = metas.last() else { return Ok(page) };
        after = Some(end.key.clone());
        for meta in metas.into_iter().filter(|meta| meta.key.as_str() > query.after.as_str()) {
            let key = meta.key.to_string();
            let folder = folder(&key, query);
            let known = folder.as_ref().is_some_and(|folder| page.folders.last() == Some(folder));
            if !known && page.objects.len() + page.folders.len() == query.limit {
                page.next = Some(last);
                return Ok(page);
            }
            match folder {
                None => page.objects.push(meta),
                Some(folder) if !known => page.folders.push(folder),
                Some(_) => {}
            }
            last = key;
        }
    }
}

/// The key up to the first delimiter after the prefix.
fn folder(key: &str, query: &Query) -> Option<String> {
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = &key[query.prefix.len()..];
    let at = rest.find(delimiter)?;
    Some(key[..query.prefix.len() + at + delimiter.len()].to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PutMode;

    #[test]
    fn pages_join_to_the_whole_and_folders_come_once() {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(root.path()).unwrap();
        for name in ["a/1", "a/2", "b", "c/d/1", "c/d/2", "c/e", "z"] {
            (&store as &dyn ObjectStore).put(&Key::new(name).unwrap(), b"", PutMode::Create).unwrap();
        }
        for limit in 1..6 {
            let (mut objects, mut folders) = (Vec::new(), Vec::new());
            let mut query = Query { prefix: String::new(), after: String::new(), delimiter: Some("/".into()), limit };
            loop {
                let page = page(&store, &query).unwrap();
                assert!(page.objects.len() + page.folders.len() <= limit);
                objects.extend(page.objects.into_iter().map(|meta| meta.key.to_string()));
                folders.extend(page.folders);
                match page.next {
                    Some(next) => query.after = next,
                    None => break,
                }
            }
            assert_eq!((objects, folders), (vec!["b".to_string(), "z".into()], vec!["a/".to_string(), "c/".into()]), "limit {limit}");
        }
        let query = Query { prefix: "c/".into(), after: "c/d/".into(), delimiter: None, limit: 9 };
        let keys: Vec<String> = page(&store, &query).unwrap().objects.into_iter().map(|meta| meta.key.to_string()).collect();
        assert_eq!(keys, ["c/d/1", "c/d/2", "c/e"], "a text that is no key is a place as well");
    }
}
