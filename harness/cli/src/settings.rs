//! `assay.toml`: where records, database, site and marks lie. Found upwards from where one stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use assay_record::Engine;
use assay_record::validate::is_below;
use assay_reports::NEWEST_RECORDS;
use serde::Deserialize;

use crate::suite::locate::read_text;

/// Name of the settings file.
pub const FILE_NAME: &str = "assay.toml";
/// Longest settings file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsFile {
    records: Option<PathBuf>,
    database: Option<PathBuf>,
    site: Option<PathBuf>,
    marks: Option<PathBuf>,
    title: Option<String>,
    base: Option<String>,
    logo: Option<PathBuf>,
    commits: Option<String>,
    templates: Option<PathBuf>,
    machine: Option<String>,
    baseline: Option<String>,
    publish_records: Option<String>,
    compare: Vec<String>,
    env: BTreeMap<String, String>,
    environments: Option<PathBuf>,
    engine: Option<Engine>,
    build: Option<Build>,
}

impl SettingsFile {
    /// Addresses end up in links of pages, so nothing but the web's own is let through.
    fn check_addresses(&self) -> Result<()> {
        for (field, address) in [("base", &self.base), ("commits", &self.commits)] {
            let is_web = |text: &String| {
                (text.starts_with("https://") || text.starts_with("http://"))
                    && !text.contains(char::is_whitespace)
            };
            ensure!(
                address.as_ref().is_none_or(is_web),
                "field `{field}`: expected an address that begins with https:// or http:// and has no blanks"
            );
        }
        let commits = self.commits.as_deref().unwrap_or_default();
        ensure!(
            !commits.replace("{commit}", "").contains(['{', '}']),
            "field `commits`: expected `{{commit}}` where the hash goes, and no other braces"
        );
        Ok(())
    }

    /// The title is what a page is called by, in the window and where it is read aloud.
    fn check_title(&self) -> Result<()> {
        let is_blank = |title: &String| title.trim().is_empty();
        ensure!(
            !self.title.as_ref().is_some_and(is_blank),
            "field `title`: expected some words; leave it away for \"Assay\""
        );
        Ok(())
    }
}

/// The address of a commit: as it is written if it says where the hash goes, else as the host of the repository has it.
fn commit_link(repository: &str) -> String {
    let repository = repository.trim_end_matches('/').trim_end_matches(".git");
    match () {
        () if repository.is_empty() || repository.contains("{commit}") => repository.to_owned(),
        () if host(repository).contains("gitlab") => format!("{repository}/-/commit/{{commit}}"),
        () => format!("{repository}/commit/{{commit}}"),
    }
}

/// The host of an address: what stands between its scheme and its first path.
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// `none`, `newest:N` or `all` as a number of runs.
fn newest_records(text: &str) -> Result<usize> {
    let number = match text {
        "none" => Some(0),
        "all" => Some(usize::MAX),
        _ => text
            .strip_prefix("newest:")
            .and_then(|count| count.parse().ok()),
    };
    number.context("field `publish_records`: expected \"none\", \"newest:N\" with N a whole number, or \"all\"")
}

/// How a commit of the measured project is built, for arms that name one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Program and arguments, started in the folder of `assay.toml`, at that commit.
    pub command: Vec<String>,
    /// The built-in worker that it leaves, from the same folder; absent where it builds none.
    pub worker: Option<String>,
}

impl Build {
    fn check(&self) -> Result<()> {
        ensure!(
            self.command
                .first()
                .is_some_and(|program| !program.is_empty()),
            "field `build.command` is empty"
        );
        ensure!(
            self.worker.as_deref().is_none_or(is_below),
            "field `build.worker`: a path from the folder of {FILE_NAME} that stays below it"
        );
        Ok(())
    }
}

/// Usable settings: every path is absolute.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of `assay.toml`, else the current one: the measured project is looked for here.
    pub project: PathBuf,
    /// Folder of records.
    pub records: PathBuf,
    /// The database file.
    pub database: PathBuf,
    /// Folder of the published site.
    pub site: PathBuf,
    /// The file of marks, if there is one or one is named.
    pub marks: Option<PathBuf>,
    /// Title of the site.
    pub title: String,
    /// Where the site will lie, ending in a slash; empty where nobody said.
    pub base: String,
    /// File of the site's logo.
    pub logo: Option<PathBuf>,
    /// Address of a commit of the measured project, with `{commit}` for its hash; empty where there is none.
    pub commit_link: String,
    /// Folder of templates that take the place of the built-in ones.
    pub templates: Option<PathBuf>,
    /// Name of this machine in series; else it is derived from the hardware.
    pub machine: Option<String>,
    /// The window of runs that `check` compares with, where none is named.
    pub baseline: Option<String>,
    /// Of how many of the newest runs the site carries manifests and records.
    pub newest_records: usize,
    /// Runs that the site compares on pages of their own: `A,B`, as `--compare` of `assay report` has them.
    pub compare: Vec<String>,
    /// Variables that every worker gets; they are part of the manifest.
    pub env: BTreeMap<String, String>,
    /// The lock file of environments.
    pub environments: PathBuf,
    /// What runs containers, where an environment does not say; absent: what is installed.
    pub engine: Option<Engine>,
    /// How a commit of the project is built.
    pub build: Option<Build>,
    /// A home for cargo with all that the project depends on: that of a bundle, by which commits are built without a network.
    pub cargo_home: Option<PathBuf>,
}

impl Settings {
    /// Finds and reads the settings from the current folder upwards; defaults where there is no file.
    pub fn load() -> Result<Self> {
        let here = std::env::current_dir().context("the current folder cannot be read")?;
        let found = here
            .ancestors()
            .find(|folder| folder.join(FILE_NAME).is_file());
        Self::of(found.unwrap_or(&here))
    }

    /// Reads the settings of a folder; defaults where it has no such file.
    pub fn of(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE_NAME);
        if !file.is_file() {
            return Ok(Self::below(folder));
        }
        let text = read_text(&file, MAX_BYTES)?;
        let in_file = || file.display().to_string();
        let parsed: SettingsFile = toml::from_str(&text).with_context(in_file)?;
        let checked = parsed.build.as_ref().map_or(Ok(()), Build::check);
        checked.with_context(in_file)?;
        parsed.check_addresses().with_context(in_file)?;
        parsed.check_title().with_context(in_file)?;
        let is_host = parsed.engine == Some(Engine::Host);
        ensure!(
            !is_host,
            "{}: field `engine`: expected podman, docker or apptainer; a run without --env is on the host",
            file.display()
        );
        let published = parsed.publish_records.as_deref();
        let newest_records = published.map_or(Ok(NEWEST_RECORDS), newest_records);
        let newest_records = newest_records.with_context(in_file)?;
        Ok(Self {
            newest_records,
            ..Self::resolve(folder, parsed)
        })
    }

    fn resolve(project: &Path, file: SettingsFile) -> Self {
        let at = |path: Option<PathBuf>, default: &str| {
            project.join(path.unwrap_or_else(|| PathBuf::from(default)))
        };
        let usual_marks = project.join("marks.toml");
        let marks = file.marks.map(|path| project.join(path));
        Self {
            marks: marks.or_else(|| usual_marks.exists().then_some(usual_marks)),
            records: at(file.records, "assay-data/records"),
            database: at(file.database, "assay-data/assay.duckdb"),
            site: at(file.site, "assay-data/site"),
            environments: at(file.environments, "containers/lock.toml"),
            engine: file.engine,
            title: file.title.unwrap_or_else(|| "Assay".into()),
            base: file.base.map_or(String::new(), |base| {
                format!("{}/", base.trim_end_matches('/'))
            }),
            logo: file.logo.map(|path| project.join(path)),
            commit_link: commit_link(&file.commits.unwrap_or_default()),
            templates: file.templates.map(|path| project.join(path)),
            machine: file.machine,
            baseline: file.baseline,
            newest_records: NEWEST_RECORDS,
            compare: file.compare,
            env: file.env,
            build: file.build,
            cargo_home: None,
            project: project.to_path_buf(),
        }
    }

    /// The defaults, below a folder.
    pub fn below(project: &Path) -> Self {
        Self::resolve(project, SettingsFile::default())
    }

    /// Makes the folder of records and database, hidden from git where it is our own default.
    pub fn prepare_folders(&self) -> Result<()> {
        let data = self.project.join("assay-data");
        for folder in [Some(self.records.as_path()), self.database.parent()]
            .into_iter()
            .flatten()
        {
            std::fs::create_dir_all(folder).with_context(|| {
                format!(
                    "{}: cannot be made; name another in {FILE_NAME}",
                    folder.display()
                )
            })?;
        }
        let ignore = data.join(".gitignore");
        if data.is_dir() && !ignore.exists() {
            // Best effort: a read-only folder shows itself when the record is made.
            let _ = std::fs::write(ignore, "*\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SettingsFile, commit_link, newest_records};

    #[test]
    fn records_are_published_of_none_some_or_all() {
        for (text, number) in [
            ("none", Some(0)),
            ("newest:7", Some(7)),
            ("all", Some(usize::MAX)),
            ("newest", None),
            ("newest:-1", None),
            ("30", None),
        ] {
            assert_eq!(newest_records(text).ok(), number, "{text}");
        }
    }

    #[test]
    fn commits_are_linked_as_their_host_has_them() {
        for (repository, link) in [
            ("", ""),
            (
                "https://github.com/o/r.git",
                "https://github.com/o/r/commit/{commit}",
            ),
            (
                "https://gitlab.example/o/r/",
                "https://gitlab.example/o/r/-/commit/{commit}",
            ),
            (
                "https://git.example/?id={commit}",
                "https://git.example/?id={commit}",
            ),
            (
                "https://github.com/me/gitlab-tools",
                "https://github.com/me/gitlab-tools/commit/{commit}",
            ),
        ] {
            assert_eq!(commit_link(repository), link);
        }
    }

    #[test]
    fn a_title_has_words() {
        for (title, is_fine) in [("Nightly", true), ("", false), (" \t", false)] {
            let file = SettingsFile {
                title: Some(title.into()),
                ..SettingsFile::default()
            };
            assert_eq!(file.check_title().is_ok(), is_fine, "{title:?}");
        }
    }

    #[test]
    fn only_the_webs_addresses_are_let_through() {
        for (address, is_fine) in [
            ("https://example.org/bench", true),
            ("javascript:alert(1)", false),
            ("https://example.org/ onload=x", false),
            ("/srv/www", false),
        ] {
            let file: SettingsFile = toml::from_str(&format!("base = \"{address}\"")).unwrap();
            assert_eq!(file.check_addresses().is_ok(), is_fine, "{address}");
        }
        for (hash, is_fine) in [("{commit}", true), ("{comit}", false), ("", true)] {
            let file = SettingsFile {
                commits: Some(format!("https://example.org/{hash}")),
                ..SettingsFile::default()
            };
            assert_eq!(file.check_addresses().is_ok(), is_fine, "{hash}");
        }
    }
}
