//! Arms as the command line gives them, `--arm NAME=SPEC`, and as the manifest has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use assay_protocol::DeviceKind;
use assay_record::manifest::Engine;
use assay_record::{Arm, ArmCommit, validate};

use super::{MAIN_ARM, Options, own_digest, sources};
use crate::engines::host::Host;
use crate::engines::{self, Needs};
use crate::execute::launch::determining_environment;
use crate::settings::Settings;
use crate::suite::Suite;
use crate::{checkout, environments, workers};

/// What a SPEC may be, for messages.
const FORMS: &str =
    "here, image:ENVIRONMENT, env:KEY=VALUE, worker:PATH, commit:REV, prefix:COMMAND";

/// An arm as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    name: String,
    base: Option<Base>,
    prefix: Vec<String>,
    env: BTreeMap<String, String>,
}

/// Whose worker an arm measures.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Base {
    Here,
    Worker(PathBuf),
    Commit(String),
    Image(String),
}

/// An arm as it stands on this machine.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The arm.
    pub arm: Arm,
    /// Its built-in worker; in a container, where the image has it.
    pub worker: PathBuf,
    /// What `{dir}` stands for, on this machine.
    pub dir: PathBuf,
    /// What starts its workers.
    pub engine: Arc<dyn engines::Engine>,
}

/// Every arm that is named, in the order of first mention: a name that is given again adds to its arm.
pub fn parse(texts: &[String]) -> Result<Vec<Spec>> {
    let mut specs: Vec<Spec> = Vec::new();
    for text in texts {
        let in_text = || format!("--arm {text}");
        let (name, spec) = text
            .split_once('=')
            .with_context(|| format!("expected NAME=SPEC, where SPEC is one of {FORMS}"))
            .with_context(in_text)?;
        validate::arm(name)
            .map_err(anyhow::Error::msg)
            .with_context(in_text)?;
        let known = specs.iter().position(|arm| arm.name == name);
        let at = known.unwrap_or_else(|| {
            specs.push(Spec {
                name: name.to_owned(),
                ..Spec::default()
            });
            specs.len() - 1
        });
        specs[at].add(spec).with_context(in_text)?;
    }
    Ok(specs)
}

impl Spec {
    fn add(&mut self, text: &str) -> Result<()> {
        match text.split_once(':') {
            None if text == "here" => self.stand_on(Base::Here),
            Some(("worker", path)) if !path.is_empty() => self.stand_on(Base::Worker(path.into())),
            Some(("commit", revision)) if !revision.is_empty() => {
                self.stand_on(Base::Commit(revision.into()))
            }
            Some(("image", name)) if !name.is_empty() => self.stand_on(Base::Image(name.into())),
            Some(("prefix", command)) => self.put_before(command),
            Some(("env", assignment)) => self.set(assignment),
            _ => bail!("`{text}` is none of {FORMS}"),
        }
    }

    fn stand_on(&mut self, base: Base) -> Result<()> {
        if let Some(other) = self.base.as_ref().filter(|other| **other != base) {
            bail!("contradicts {other}, given before; name a second arm for it");
        }
        self.base = Some(base);
        Ok(())
    }

    fn put_before(&mut self, command: &str) -> Result<()> {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        ensure!(!words.is_empty(), "the command is empty");
        ensure!(
            self.prefix.is_empty() || self.prefix == words,
            "contradicts prefix:{}, given before",
            self.prefix.join(" ")
        );
        self.prefix = words;
        Ok(())
    }

    fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = assignment
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .context("expected env:KEY=VALUE")?;
        ensure!(!assignment.contains('\0'), "a variable holds no NUL byte");
        let before = self.env.insert(key.to_owned(), value.to_owned());
        match before.filter(|before| before != value) {
            Some(before) => bail!("contradicts env:{key}={before}, given before"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::Worker(path) => write!(f, "worker:{}", path.display()),
            Self::Commit(revision) => write!(f, "commit:{revision}"),
            Self::Image(name) => write!(f, "image:{name}"),
        }
    }
}

/// The arms of a run: those given, else one called `main`, or after the environment that it runs in. Their workers are kept, and built if need be.
pub fn resolve(
    suite: &Suite,
    settings: &Settings,
    options: &Options,
    dir: &Path,
) -> Result<Vec<Standing>> {
    let mut specs = parse(&options.arms)?;
    ensure!(
        specs.is_empty() || options.environment.is_none(),
        "--env is for a run of one arm; give `--arm NAME=image:ENVIRONMENT` to each that runs in one"
    );
    let environment = options.environment.as_ref().or(suite.environment.as_ref());
    if specs.is_empty() {
        // The arm's name is part of the series' key: what ran in another environment has another history.
        specs.push(Spec {
            name: environment.map_or(MAIN_ARM, String::as_str).into(),
            ..Spec::default()
        });
    }
    let needs = needs(suite, dir);
    let stand = |spec: &Spec| {
        let here = plain(spec, suite, settings, options)?;
        let base = match (&spec.base, environment) {
            (None, Some(name)) => &Base::Image(name.clone()),
            (None, None) => &Base::Here,
            (Some(base), _) => base,
        };
        stand(base, here, settings, dir, &needs).with_context(|| format!("arm `{}`", spec.name))
    };
    specs.iter().map(stand).collect()
}

/// What a suite's containers need to say what they offer.
fn needs(suite: &Suite, dir: &Path) -> Needs {
    let of_workers = suite.workers.values().flat_map(|worker| &worker.argv);
    let commands = suite.benchmarks.iter().flat_map(|one| &one.command);
    let of_commands = commands.flat_map(|command| {
        let texts = command.argv.iter().chain(command.env.values());
        texts.chain(&command.directory)
    });
    let mut texts = of_workers.chain(of_commands);
    let mut devices = suite
        .benchmarks
        .iter()
        .flat_map(|benchmark| &benchmark.devices);
    Needs {
        dir: texts
            .any(|text| text.contains(sources::DIR))
            .then(|| dir.into()),
        gpus: devices.any(|device| device.may_be(DeviceKind::Cuda)),
    }
}

/// An arm with the running executable as its worker.
fn plain(spec: &Spec, suite: &Suite, settings: &Settings, options: &Options) -> Result<Arm> {
    let mut env = settings.env.clone();
    env.extend(suite.env.clone());
    env.extend(spec.env.clone());
    ensure!(
        options.prefix.is_empty() || spec.prefix.is_empty(),
        "arm `{}` has a prefix of its own: leave --prefix away, or give it to each arm",
        spec.name
    );
    let prefix = if spec.prefix.is_empty() {
        options.prefix.clone()
    } else {
        spec.prefix.clone()
    };
    Ok(Arm {
        name: spec.name.clone(),
        engine: Engine::Host,
        image: None,
        worker: own_digest()?,
        prefix,
        env,
        commit: None,
    })
}

/// An arm on what it names. Variables of this machine that may change a result come before those that somebody set.
fn stand(
    base: &Base,
    mut here: Arm,
    settings: &Settings,
    dir: &Path,
    needs: &Needs,
) -> Result<Standing> {
    let mut env = determining_environment(matches!(base, Base::Image(_)));
    env.append(&mut here.env);
    here.env = env;
    let own = std::env::current_exe().context("the running executable cannot be found")?;
    match base {
        Base::Here => Ok(Standing {
            arm: here,
            worker: own,
            dir: dir.into(),
            engine: Arc::new(Host::new()?),
        }),
        Base::Image(name) => {
            let pinned = environments::pinned(name, settings)?;
            let arm = Arm {
                engine: pinned.engine,
                image: Some(pinned.image),
                worker: pinned.worker,
                ..here
            };
            Ok(Standing {
                engine: engines::of(&arm, settings, needs)?,
                arm,
                worker: engines::WORKER.into(),
                dir: dir.into(),
            })
        }
        Base::Worker(path) => {
            ensure!(path.is_file(), "{}: no such file", path.display());
            let (digest, worker) = kept(settings, path)?;
            Ok(Standing {
                arm: Arm {
                    worker: digest,
                    ..here
                },
                worker,
                dir: dir.into(),
                engine: Arc::new(Host::new()?),
            })
        }
        Base::Commit(revision) => {
            let commit = checkout::resolve(settings, revision)?;
            at_commit(commit, here, own, settings, dir)
        }
    }
}

fn at_commit(
    commit: ArmCommit,
    here: Arm,
    own: PathBuf,
    settings: &Settings,
    dir: &Path,
) -> Result<Standing> {
    let below = checkout::within(settings, dir)?;
    ensure!(
        commit.worker.is_some() || below.is_some(),
        "nothing of that commit would be measured: the suite lies outside the project, and no worker is built of it; \
         declare [build] with `command` and `worker` in assay.toml"
    );
    let made = checkout::make(settings, &commit)?;
    let (digest, worker) = match &made.worker {
        Some(built) => kept(settings, built)?,
        None => (here.worker, own),
    };
    Ok(Standing {
        arm: Arm {
            worker: digest,
            commit: Some(commit),
            ..here
        },
        worker,
        dir: below.map_or_else(|| dir.into(), |below| made.folder(&below)),
        engine: Arc::new(Host::new()?),
    })
}

/// An executable's digest and the copy that is kept of it.
fn kept(settings: &Settings, executable: &Path) -> Result<(assay_protocol::Digest, PathBuf)> {
    settings.prepare_folders()?;
    let digest = super::file_digest(executable)?;
    workers::keep(settings, executable, &digest)?;
    Ok((digest, workers::folder(settings).join(digest.hex())))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn error(texts: &[&str]) -> String {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        format!("{:#}", parse(&texts).unwrap_err())
    }

    #[test]
    fn a_name_given_again_adds_to_its_arm() {
        let texts = [
            "A=here",
            "B=worker:./w",
            "B=env:X=1=2",
            "B=prefix:nice -n 5",
            "B=env:Y=",
        ];
        let specs = parse(&texts.map(str::to_owned)).unwrap();
        assert_eq!(specs.len(), 2);
        assert_eq!((specs[0].name.as_str(), specs[1].name.as_str()), ("A", "B"));
        assert_eq!(specs[1].prefix, ["nice", "-n", "5"]);
        assert_eq!((&*specs[1].env["X"], &*specs[1].env["Y"]), ("1=2", ""));
    }

    #[test]
    fn contradictions_and_strangers_are_refused_in_words() {
        for (texts, expected) in [
            (&["A"][..], "expected NAME=SPEC"),
            (&["a b=here"], "no name of an arm"),
            (&["A=there"], "`there` is none of here"),
            (&["A=image:"], "is none of"),
            (&["A=image:x", "A=here"], "contradicts image:x"),
            (&["A=worker:"], "is none of"),
            (&["A=commit:"], "is none of"),
            (&["A=prefix: "], "is empty"),
            (&["A=env:X"], "expected env:KEY=VALUE"),
            (&["A=env:=1"], "expected env:KEY=VALUE"),
            (&["A=here", "A=worker:w"], "contradicts here"),
            (&["A=commit:x", "A=commit:y"], "contradicts commit:x"),
            (&["A=env:X=1", "A=env:X=2"], "contradicts env:X=1"),
            (&["A=prefix:a", "A=prefix:b"], "contradicts prefix:a"),
        ] {
            let error = error(texts);
            assert!(error.contains(expected), "{texts:?}: {error}");
            assert!(error.contains("--arm"), "{error}");
        }
    }
}
