//! The site that lies there already. A page that is made of the same again is taken over instead of rendered.
//!
//! Each site has a list of its files. What has a key, a digest over all that it is made of, the code that makes it included, has
//! that beside its path, and two files of the same key have the same bytes, whatever was taken over. What is always made anew has
//! the digest of its bytes there. So two sites of the same list are the same site.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use assay_protocol::Digest;

/// The list, within the site.
pub const LIST: &str = ".assay-pages";

/// A file of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Digest over what it is made of, or over what it holds.
    pub key: Digest,
    /// Its length.
    pub bytes: u64,
}

impl File {
    /// One that is known by what it holds.
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        Self {
            key: Digest::of(content),
            bytes: content.len() as u64,
        }
    }
}

/// The files of a site, by their paths from its root.
#[derive(Debug)]
pub struct Previous {
    root: PathBuf,
    files: BTreeMap<String, File>,
    /// When the list was written, after all files. What is younger was changed since.
    written: Option<SystemTime>,
    /// Digest of the list.
    pub list: Digest,
}

impl Previous {
    /// What lies in a folder; nothing where there is no site, or none with a list that can be read.
    pub fn of(root: &Path) -> Self {
        let text = fs::read_to_string(root.join(LIST)).unwrap_or_default();
        Self {
            root: root.into(),
            written: fs::metadata(root.join(LIST))
                .and_then(|meta| meta.modified())
                .ok(),
            list: Digest::of(&text),
            files: text.lines().filter_map(parse).collect(),
        }
    }

    /// Whether an entry is a file as it was written: of the entry itself, for a link is none that was.
    fn is_as_written(&self, found: &Metadata, file: &File) -> bool {
        let is_old = found.modified().ok() <= self.written;
        found.is_file() && found.len() == file.bytes && is_old
    }

    /// The files, if each is there as it was written.
    pub fn whole(&self) -> Option<&BTreeMap<String, File>> {
        let is_there = |(path, file): (&String, &File)| {
            let found = fs::symlink_metadata(self.root.join(path));
            found.is_ok_and(|found| self.is_as_written(&found, file))
        };
        let is_whole = !self.files.is_empty() && self.files.iter().all(is_there);
        is_whole.then_some(&self.files)
    }

    /// Makes what somebody else put beside the files of the site part of another one, where that has nothing of the same path: the
    /// `.git` and `CNAME` of a site that is kept in git. It is there in both until one of them is removed.
    pub fn keep_others(&self, root: &Path) -> io::Result<()> {
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(self.root.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                let to = root.join(&path);
                if entry.file_type()?.is_dir() {
                    if !to.is_dir() && !self.is_of_site(&path) {
                        fs::create_dir(&to)?;
                        fs::set_permissions(&to, entry.metadata()?.permissions())?;
                    }
                    folders.push(path);
                } else if !self.is_of_site(&path) && fs::symlink_metadata(&to).is_err() {
                    take(&entry.path(), &to)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a path is one of the site's: of a file in the list or of a folder that holds one, or of the list itself.
    fn is_of_site(&self, path: &Path) -> bool {
        let Some(path) = path.to_str() else {
            return false;
        };
        let below = format!("{path}/");
        let mut next = self.files.range(below.clone()..);
        path == LIST
            || self.lists(path)
            || next
                .next()
                .is_some_and(|(file, _)| file.starts_with(&below))
    }

    /// Whether a file of this key was written, and is as it was.
    pub fn has(&self, path: &str, key: &Digest) -> bool {
        self.kept(path, key).is_some()
    }

    /// Whether a file is in the list, be it still there or not.
    pub fn lists(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The file, where it is the same.
    pub fn kept(&self, path: &str, key: &Digest) -> Option<&File> {
        let file = self.files.get(path).filter(|file| file.key == *key)?;
        let found = fs::symlink_metadata(self.root.join(path)).ok()?;
        self.is_as_written(&found, file).then_some(file)
    }

    /// Makes the file part of another site; `false` where that cannot be done.
    pub fn take(&self, path: &str, root: &Path) -> bool {
        take(&self.root.join(path), &root.join(path)).is_ok()
    }
}

/// Links a file to another place, or copies it where that cannot be done; a link stays one.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}

fn parse(line: &str) -> Option<(String, File)> {
    let mut words = line.splitn(3, ' ');
    let key = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    // What is not below the site was not written by us.
    let path = words
        .next()
        .filter(|path| !path.contains("..") && !path.starts_with('/'))?;
    Some((path.to_owned(), File { key, bytes }))
}

/// The list of a site.
pub fn list(files: &BTreeMap<String, File>) -> String {
    let mut text = String::new();
    for (path, File { key, bytes }) in files {
        let _ = writeln!(text, "{key} {bytes} {path}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::time::{Duration, SystemTime};

    use assay_protocol::Digest;

    use super::{File, LIST, Previous, list};

    #[test]
    fn what_is_the_same_is_taken_over_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::create_dir(&old).unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(old.join("a.html"), "page").unwrap();
        let key = Digest::of("made of");
        let file = File { key, bytes: 4 };
        let evil = File { key, bytes: 4 };
        let files = BTreeMap::from([("a.html".into(), file), ("../old/a.html".into(), evil)]);
        fs::write(old.join(LIST), list(&files) + "what is this\n").unwrap();
        let previous = Previous::of(&old);
        assert!(previous.has("a.html", &key) && previous.take("a.html", &new));
        assert_eq!(fs::read_to_string(new.join("a.html")).unwrap(), "page");
        assert!(!previous.has("a.html", &Digest::of("made of more")));
        assert!(!previous.has("../old/a.html", &key));
        assert!(!previous.has("b.html", &key));
        // Somebody changed it.
        fs::write(old.join("a.html"), "pages").unwrap();
        assert!(!previous.has("a.html", &key));
        assert!(!Previous::of(&new).has("a.html", &key));
    }

    #[test]
    fn a_site_is_whole_with_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
        fs::create_dir(root.join("runs")).unwrap();
        put("index.html", "page");
        put("runs/a.html", "a run");
        let files = BTreeMap::from([
            ("index.html".to_owned(), File::of("page")),
            ("runs/a.html".to_owned(), File::of("a run")),
        ]);
        let is_whole = || Previous::of(root).whole().is_some();
        assert!(!is_whole());
        put(LIST, &list(&files));
        assert_eq!(Previous::of(root).whole(), Some(&files));
        // Somebody else's.
        put("runs/b.html", "more");
        assert!(is_whole());
        put("runs/a.html", "a longer run");
        assert!(!is_whole());
        fs::remove_file(root.join("runs/a.html")).unwrap();
        assert!(!is_whole());
        // As long as the file, and no file.
        std::os::unix::fs::symlink("12345", root.join("runs/a.html")).unwrap();
        assert!(!is_whole());
        fs::remove_file(root.join("runs/a.html")).unwrap();
        put("runs/a.html", "a run");
        put(LIST, &list(&files));
        assert!(is_whole());
        // Of the same length, and younger than the list.
        put("runs/a.html", "a nur");
        let file = fs::File::open(root.join("runs/a.html")).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(1))
            .unwrap();
        assert!(!is_whole());
        assert!(!Previous::of(root).has("runs/a.html", &Digest::of("a run")));
    }
}
