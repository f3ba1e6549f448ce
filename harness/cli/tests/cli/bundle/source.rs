//! The tree of a commit as an archive, and archives that would lie elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use git2::{Repository, Signature};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use assay::bundle::source::{Submodules, commit_object, pack, unpack};

fn repository() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init(folder.path()).unwrap();
    (folder, repository)
}

/// A commit of files, a program, links, names of all lengths, and a submodule.
fn committed() -> (TempDir, Repository, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, repository) = repository();
    let root = folder.path();
    let deep = root.join("d".repeat(60)).join("e".repeat(60));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "deep").unwrap();
    fs::write(root.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    symlink("program", root.join("link")).unwrap();
    symlink("../../program", deep.join("up")).unwrap();
    symlink(
        deep.strip_prefix(root).unwrap().join("f"),
        root.join("long"),
    )
    .unwrap();
    let mut index = repository.index().unwrap();
    let all = git2::IndexAddOption::DEFAULT;
    index.add_all(["*"], all, None).unwrap();
    let other = git2::Oid::from_str(&"12".repeat(20)).unwrap();
    index.add(&submodule("sub/module", other)).unwrap();
    let tree = index.write_tree().unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let who = Signature::now("a", "a@example.com").unwrap();
    let commit = repository.commit(Some("HEAD"), &who, &who, "all", &tree, &[]);
    let commit = commit.unwrap().to_string();
    drop(tree);
    (folder, repository, commit)
}

/// An entry of git's index that names a commit of another repository.
fn submodule(path: &str, id: git2::Oid) -> git2::IndexEntry {
    let never = git2::IndexTime::new(0, 0);
    git2::IndexEntry {
        ctime: never,
        mtime: never,
        dev: 0,
        ino: 0,
        mode: 0o160_000,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.into(),
    }
}

fn packed(repository: &Repository, commit: &str) -> (Vec<u8>, Submodules) {
    let mut archive = Vec::new();
    let id = git2::Oid::from_str(commit).unwrap();
    let commit = repository.find_commit(id).unwrap();
    let submodules = pack(repository, &commit, &mut archive).unwrap();
    (archive, submodules)
}

#[test]
fn a_commit_comes_back_to_the_bit() {
    let (_one, from, commit) = committed();
    let (archive, submodules) = packed(&from, &commit);
    assert_eq!(submodules.keys().collect::<Vec<_>>(), ["sub/module"]);
    assert_eq!(packed(&from, &commit).0, archive, "the same bytes twice");
    let (_two, into) = repository();
    let object = commit_object(&from, &commit).unwrap();
    let id = unpack(&into, &commit, &object, &submodules, &archive[..]).unwrap();
    assert_eq!(id.to_string(), commit);
    let tree = into.find_commit(id).unwrap().tree().unwrap();
    let link = tree.get_name("long").unwrap().id();
    assert!(into.find_blob(link).unwrap().content().ends_with(b"/f"));
}

#[test]
fn another_commit_or_tree_is_noticed() {
    let (_one, from, commit) = committed();
    let (archive, submodules) = packed(&from, &commit);
    let object = commit_object(&from, &commit).unwrap();
    let (_two, into) = repository();
    let error = |object: &[u8], submodules: &Submodules, archive: &[u8]| {
        let failed = unpack(&into, &commit, object, submodules, archive);
        format!("{:#}", failed.unwrap_err())
    };
    let other = [&object[..], b"!"].concat();
    assert!(error(&other, &submodules, &archive).contains("the object with this name is"));
    let none = Submodules::new();
    assert!(error(&object, &none, &archive).contains("not what the commit holds"));
    let mut changed = archive.clone();
    let deep = changed
        .windows(4)
        .position(|bytes| bytes == b"deep")
        .unwrap();
    changed[deep] = b'D';
    assert!(error(&object, &submodules, &changed).contains("not what the commit holds"));
    assert!(error(&object, &submodules, &archive[..700]).contains("files of commit"));
}

#[test]
fn a_path_longer_than_any_is_refused_by_what_it_says() {
    let (_one, from, commit) = committed();
    let object = commit_object(&from, &commit).unwrap();
    let (_two, into) = repository();
    for kind in [EntryType::GNULongName, EntryType::GNULongLink] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(5000);
        header.set_cksum();
        // Nothing of it is there, so that it cannot have been read.
        let alone = header.as_bytes();
        let failed = unpack(&into, &commit, &object, &Submodules::new(), &alone[..]);
        let failed = format!("{:#}", failed.unwrap_err());
        assert!(failed.contains("a path of 5000 bytes"), "{failed}");
    }
}

/// An archive of one entry, with a name and a target that nobody checked.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, target) in entries {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name.as_bytes());
        gnu.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn what_would_lie_elsewhere_is_refused_in_words() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let (_one, from, commit) = committed();
    let object = commit_object(&from, &commit).unwrap();
    let (_two, into) = repository();
    let error = |entries: &[(&str, EntryType, &str)]| {
        let none = Submodules::new();
        let failed = unpack(&into, &commit, &object, &none, &archive(entries)[..]);
        format!("{:#}", failed.unwrap_err())
    };
    for (entries, words) in [
        (&[("../x", Regular, "")][..], "a path with `..`"),
        (&[("a/../../x", Regular, "")], "a path with `..`"),
        (&[("/etc/x", Regular, "")], "an absolute path"),
        (&[("./x", Regular, "")], "not plain"),
        (&[("a//x", Regular, "")], "not plain"),
        (&[(".git/hooks/x", Regular, "")], "git's own folder"),
        (&[("a/.GIT/config", Regular, "")], "git's own folder"),
        (
            &[("x", Regular, ""), ("x", Regular, "")],
            "it is there twice",
        ),
        (&[("x", Link, "/etc/passwd")], "a hard link"),
        (&[("x", Symlink, "/etc/passwd")], "does not lie in the tree"),
        (&[("x", Symlink, "../x")], "lead out of the tree"),
        (&[("a/x", Symlink, "../../x")], "lead out of the tree"),
        (&[("a/x", Symlink, "b/../../x")], "lead out of the tree"),
        (&[("x", Symlink, "")], "a link to"),
        (&[("x", Char, "")], "a device"),
        (&[("x", Block, "")], "a device"),
        (&[("x", Fifo, "")], "a pipe"),
        (&[("x", Directory, "")], "a folder"),
    ] {
        let error = error(entries);
        assert!(error.contains(words), "{entries:?}: {error}");
    }
    // Nobody reads what would not be believed: a header may say what it likes.
    let mut header = Header::new_gnu();
    header.set_path("x").unwrap();
    header.set_entry_type(Regular);
    header.set_mode(0o644);
    header.set_size(2 << 30);
    header.set_cksum();
    let large = header.as_bytes();
    let failed = unpack(&into, &commit, &object, &Submodules::new(), &large[..]);
    let failed = format!("{:#}", failed.unwrap_err());
    assert!(failed.contains("a file of 2147483648 bytes"), "{failed}");
    // A link within the tree is fine: that this is another tree is all that is wrong with it.
    let fine = error(&[("a/x", Symlink, "../y"), ("y", Regular, "")]);
    assert!(fine.contains("not what the commit holds"), "{fine}");
}
