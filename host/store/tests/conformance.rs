//! Every store keeps the promises of `ObjectStore`, and the directory store what it promises beyond.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Barrier;

use halfpipe_store::{DirectoryStore, Key, MemoryStore, ObjectStore, PutMode, StoreError, conformance};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn as_dyn(store: &impl ObjectStore) -> &dyn ObjectStore {
    store
}

#[test]
fn memory() {
    conformance::run(&MemoryStore::new());
}

#[test]
fn directory() {
    let root = tempfile::tempdir().unwrap();
    conformance::run(&DirectoryStore::open(root.path()).unwrap());
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".halfpipe-store"], "emptied folders are removed");
    assert_eq!(fs::read_dir(root.path().join(".halfpipe-store/staging")).unwrap().count(), 0);
}

/// `flock` belongs to an open file, so two stores that open the lock file each for themselves exclude each other as two processes do.
#[test]
fn stores_opened_apart_on_one_folder_exclude_each_other() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let key = key(&format!("round/{round}"));
        let start = Barrier::new(8);
        let wins = std::thread::scope(|scope| {
            let racer = || {
                let store = DirectoryStore::open(root.path()).unwrap();
                start.wait();
                as_dyn(&store).put(&key, b"x", PutMode::Create).is_ok()
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
            racers.into_iter().map(|r| r.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1, "round {round}");
    }
}

#[test]
fn what_a_killed_writer_left_is_removed_but_not_what_a_living_one_writes() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    let staging = root.path().join(".halfpipe-store/staging");
    // a killed process leaves its file, but not its lock
    fs::write(staging.join("orphan"), b"half a video").unwrap();
    let mut writer = store.create(&key("living"), PutMode::Overwrite).unwrap();
    writer.write_all(b"whole").unwrap();
    let again = DirectoryStore::open(root.path()).unwrap();
    assert!(!staging.join("orphan").exists());
    writer.commit().unwrap();
    assert_eq!(as_dyn(&again).read(&key("living"), 10).unwrap().0, b"whole");
    assert_eq!(again.list("", None, 10).unwrap().len(), 1);
}

#[test]
fn a_staged_file_on_the_same_file_system_is_moved_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path().join("store")).unwrap();
    let staged = folder.path().join("staged");
    fs::write(&staged, b"video").unwrap();
    let inode = fs::metadata(&staged).unwrap().ino();
    store.put_file(&key("a/b.mp4"), &staged, PutMode::Create).unwrap();
    let path = store.local_path(&key("a/b.mp4")).unwrap();
    assert_eq!(fs::metadata(path).unwrap().ino(), inode);
}

#[test]
fn files_put_there_by_hand_are_objects() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    fs::create_dir(root.path().join("in")).unwrap();
    fs::write(root.path().join("in/clip.mp4"), b"abc").unwrap();
    assert_eq!(store.list("in/", None, 9).unwrap()[0].key, key("in/clip.mp4"));
    assert_eq!(as_dyn(&store).read(&key("in/clip.mp4"), 9).unwrap().0, b"abc");
    // changed by hand, it is another version
    let etag = store.head(&key("in/clip.mp4")).unwrap().etag;
    fs::write(root.path().join("in/clip.mp4"), b"abcd").unwrap();
    assert_ne!(store.head(&key("in/clip.mp4")).unwrap().etag, etag);
}

#[test]
fn symbolic_links_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("store"), folder.path().join("outside"));
    let store = DirectoryStore::open(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), b"secret").unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink(&outside, root.join("folder")).unwrap();
    for name in ["file", "folder/secret"] {
        assert!(matches!(store.open(&key(name), None), Err(StoreError::NotFound { .. })), "{name}");
        assert!(matches!(store.head(&key(name)), Err(StoreError::NotFound { .. })), "{name}");
        assert_eq!(store.local_path(&key(name)), None);
    }
    assert_eq!(store.list("", None, 9).unwrap(), vec![]);
    assert!(as_dyn(&store).put(&key("folder/new"), b"x", PutMode::Create).is_err());
    store.delete(&key("folder/secret")).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing outside was added or removed");
    // putting over a link replaces the link, not what it points to
    as_dyn(&store).put(&key("file"), b"mine", PutMode::Overwrite).unwrap();
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
}

#[test]
fn a_key_cannot_be_another_keys_folder() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    as_dyn(&store).put(&key("a/b"), b"x", PutMode::Create).unwrap();
    for name in ["a", "a/b/c"] {
        let error = as_dyn(&store).put(&key(name), b"y", PutMode::Create).unwrap_err();
        assert!(matches!(error, StoreError::FolderConflict { .. }), "{name}: {error}");
        assert!(matches!(store.head(&key(name)), Err(StoreError::NotFound { .. })));
    }
    assert_eq!(fs::read_dir(root.path().join(".halfpipe-store/staging")).unwrap().count(), 0);
}

#[test]
fn puts_and_deletes_in_one_folder_do_not_disturb_each_other() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (store, start) = (as_dyn(&store), &start);
            scope.spawn(move || {
                // each delete may take the folders away that another's put has just made
                let key = key(&format!("folder/below/{worker}"));
                start.wait();
                for _ in 0..200 {
                    store.put(&key, b"x", PutMode::Create).unwrap();
                    store.delete(&key).unwrap();
                }
            });
        }
    });
    assert!(!root.path().join("folder").exists());
}

#[test]
fn a_file_cut_short_while_it_is_read_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(root.path()).unwrap();
    as_dyn(&store).put(&key("a"), &[1; 5000], PutMode::Create).unwrap();
    let mut object = store.open(&key("a"), None).unwrap();
    fs::File::options().write(true).open(root.path().join("a")).unwrap().set_len(100).unwrap();
    let error = object.body.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn errors_name_the_store_the_key_and_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = DirectoryStore::open(&file).unwrap_err().to_string();
    assert!(error.starts_with(&format!("directory {} cannot be opened", file.display())), "{error}");
    let error = MemoryStore::new().head(&key("jobs/1/out.mp4")).unwrap_err().to_string();
    assert_eq!(error, "memory store has no object jobs/1/out.mp4; list the store to see what it has");
}
