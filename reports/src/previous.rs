//! The site that lies there already. A page that is made of the same again is taken over instead of rendered.
//!
//! Each site has a list of its pages with a key: a digest over all that the page is made of, the code that makes it included. Two
//! sites of the same keys have the same bytes, whatever was taken over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use assay_protocol::Digest;

/// The list, within the site.
pub const LIST: &str = ".assay-pages";

/// A file of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Digest over what it is made of.
    pub key: Digest,
    /// Its length.
    pub bytes: u64,
}

/// The files of a site that have keys, by their paths from its root.
#[derive(Debug, Default)]
pub struct Previous {
    root: PathBuf,
    files: BTreeMap<String, File>,
}

impl Previous {
    /// What lies in a folder; nothing where there is no site, or none with a list that can be read.
    pub fn of(root: &Path) -> Self {
        let text = fs::read_to_string(root.join(LIST)).unwrap_or_default();
        Self {
            root: root.into(),
            files: text.lines().filter_map(parse).collect(),
        }
    }

    /// Whether a file of this key was written, and is as long as it was.
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
        (found.is_file() && found.len() == file.bytes).then_some(file)
    }

    /// Makes the file part of another site; `false` where that cannot be done.
    pub fn take(&self, path: &str, root: &Path) -> bool {
        let (from, to) = (self.root.join(path), root.join(path));
        fs::hard_link(&from, &to).is_ok() || fs::copy(&from, &to).is_ok()
    }
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
}
