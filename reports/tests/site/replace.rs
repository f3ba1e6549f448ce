//! The new site takes the place of the old one as a whole, or not at all.

use std::fs;
use std::path::Path;

use assay_reports::{MARKER, ReportError, SiteModel, SiteSettings, publish};
use tempfile::TempDir;

use crate::fixture::model;

fn publish_to(out: &Path, model: &SiteModel) -> Result<assay_reports::Published, ReportError> {
    publish(model, out, &SiteSettings::default())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_site_replaces_a_site_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("site");
    let first = publish_to(&out, &model()).unwrap();
    let second = publish_to(&out, &model()).unwrap();
    assert_eq!(first, second);
    let had = entries(&out.join("runs"));
    publish_to(&out, &SiteModel::default()).unwrap();
    assert!(!had.is_empty() && entries(&out.join("runs")).is_empty());
    assert!(out.join(MARKER).is_file());
    assert_eq!(entries(folder.path()), ["site"]);
}

/// A site that is kept in git, with what its host wants beside it.
#[test]
#[cfg(unix)]
fn what_lies_beside_the_files_of_a_site_is_kept() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("site");
    publish_to(&out, &SiteModel::default()).unwrap();
    for path in [".git/refs/heads", "docs"] {
        fs::create_dir_all(out.join(path)).unwrap();
    }
    let own = [".git/HEAD", "CNAME", "docs/mine.txt", "runs/mine.txt"];
    for path in own {
        fs::write(out.join(path), path).unwrap();
    }
    std::os::unix::fs::symlink("docs", out.join("link")).unwrap();
    let published = publish_to(&out, &model()).unwrap();
    for path in own {
        assert_eq!(fs::read_to_string(out.join(path)).unwrap(), path);
    }
    assert!(out.join(".git/refs/heads").is_dir() && out.join("link").is_symlink());
    assert_eq!(entries(folder.path()), ["site"]);
    // None of it is the site's.
    let fresh = publish_to(&folder.path().join("fresh"), &model()).unwrap();
    assert_eq!(published.list, fresh.list);
    assert_eq!(assay_reports::Published::there(&out), Some(published));
    let list = fs::read_to_string(out.join(".assay-pages")).unwrap();
    assert!(!list.contains("mine.txt"));
    // A page of the site that is there no more goes.
    publish_to(&out, &SiteModel::default()).unwrap();
    assert_eq!(entries(&out.join("runs")), ["mine.txt"]);
}

#[test]
fn parents_are_made_and_an_empty_folder_is_taken() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("a/b/site");
    publish_to(&deep, &SiteModel::default()).unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(
        publish_to(&empty, &SiteModel::default())
            .unwrap()
            .index()
            .is_file()
    );
}

#[test]
fn another_folder_is_never_replaced() {
    let folder = TempDir::new().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("thesis.tex"), "years of work").unwrap();
    let error = publish_to(&home, &model()).unwrap_err();
    assert!(matches!(error, ReportError::NotASite { .. }));
    assert!(error.to_string().contains("home") && error.to_string().contains("--out"));
    assert_eq!(entries(&home), ["thesis.tex"]);
    assert_eq!(entries(folder.path()), ["home"]);
    let file = home.join("thesis.tex");
    assert!(publish_to(&file, &model()).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "years of work");
}

/// `/proc` refuses folders to everybody, root included.
#[test]
#[cfg(target_os = "linux")]
fn a_folder_that_cannot_be_written_is_named() {
    let error = publish_to(Path::new("/proc/assay/site"), &SiteModel::default()).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("/proc/assay") && words.contains("--out DIR"),
        "{words}"
    );
}

#[test]
#[cfg(unix)]
fn a_link_to_a_site_stays_a_link() {
    let folder = TempDir::new().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    publish_to(&real, &SiteModel::default()).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    publish_to(&link, &model()).unwrap();
    assert!(link.is_symlink() && real.join("index.html").is_file());
}

/// A reader who opens pages all the while sees an old site or a new one, never none.
#[test]
#[cfg(target_os = "linux")]
fn there_is_a_site_at_every_moment() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("site");
    publish_to(&out, &SiteModel::default()).unwrap();
    let (stop, index) = (
        std::sync::atomic::AtomicBool::new(false),
        out.join("index.html"),
    );
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let page = fs::read_to_string(&index).expect("a site is there");
                assert!(page.ends_with("</html>\n"));
            }
        });
        for _ in 0..20 {
            publish_to(&out, &SiteModel::default()).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
    });
}

#[test]
#[cfg(unix)]
fn leftovers_of_killed_builds_are_swept_but_not_work_in_progress() {
    let folder = TempDir::new().unwrap();
    let (killed, held) = (".assay-site-new-killed", ".assay-site-new-held");
    for name in [killed, held] {
        fs::create_dir_all(folder.path().join(name).join("site/runs")).unwrap();
    }
    let lock = fs::File::open(folder.path().join(held)).unwrap();
    lock.lock().unwrap();
    publish_to(&folder.path().join("site"), &SiteModel::default()).unwrap();
    assert_eq!(entries(folder.path()), [held, "site"]);
    drop(lock);
    publish_to(&folder.path().join("site"), &SiteModel::default()).unwrap();
    assert_eq!(entries(folder.path()), ["site"]);
}
