//! The other ranks of a training: workers like this one, which it starts and asks for a sample when it takes a step itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use assay_protocol::message::Line;
use assay_protocol::{
    CaseSpec, DeviceSelector, Failure, ParamValue, Reply, Request, SampleRequest,
};

use super::{GONE, Place, Ranks};

/// The signal that nobody can catch.
const SIGKILL: i32 = rustix::process::Signal::KILL.as_raw();

/// One sample.
const ONE: SampleRequest = SampleRequest {
    max_samples: 1,
    max_ns: u64::MAX,
    min_sample_ns: 0,
};

/// Bytes of a socket's name at most, its path included (`sun_path` of `unix(7)`, without its end).
const MOST_OF_NAME: usize = 107;
/// Bytes of what is behind the folder in that of the last ranks.
const OF_SOCKET: usize = "/62-63".len();

/// A folder of a name, in the one for temporary files or, where sockets in it would have names that are too long, in `/tmp`.
fn short(temporary: PathBuf, name: &str) -> Option<PathBuf> {
    let folders = [temporary, PathBuf::from("/tmp")];
    let mut paths = folders
        .iter()
        .filter(|folder| folder.is_dir())
        .map(|folder| folder.join(name));
    paths.find(|path| path.as_os_str().len() + OF_SOCKET <= MOST_OF_NAME)
}

/// A folder that nobody else can look into, which is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let say = |what: String| Failure::Failed(format!("the folder where ranks meet: {what}"));
        let random = getrandom::u64().map_err(|error| say(error.to_string()))?;
        let name = format!("assay-ranks-{random:016x}");
        let path = short(std::env::temp_dir(), &name).ok_or_else(|| {
            say(format!(
                "{}: sockets have names of at most {MOST_OF_NAME} bytes; set TMPDIR to a shorter path",
                std::env::temp_dir().display()
            ))
        })?;
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.mode(0o700).create(&path);
        made.map_err(|error| say(format!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is empty: sockets go as soon as ranks have met.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Another rank.
struct Process {
    rank: usize,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(program: &Path, rank: usize) -> Result<Self, Failure> {
        let say =
            |what: &str| Failure::Failed(format!("rank {rank}: {}: {what}", program.display()));
        let mut child = Command::new(program)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| say(&error.to_string()))?;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (input, output) = streams.ok_or_else(|| say("it has no pipes"))?;
        Ok(Self {
            rank,
            child,
            input: Some(input),
            output: BufReader::new(output),
        })
    }

    fn fail(&self, what: &str) -> Failure {
        Failure::Failed(format!("rank {}: {what}", self.rank))
    }

    fn ask(&mut self, request: &Request) -> Result<(), Failure> {
        let line = serde_json::to_string(request).map_err(|error| self.fail(&error.to_string()))?;
        let input = self.input.as_mut();
        let written = input.map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            // Who reads no more has ended, and how says more than that.
            Some(Err(_)) => Err(self.ended()),
            None => Err(self.fail("it was ended")),
        }
    }

    /// How it ended.
    fn ended(&mut self) -> Failure {
        let status = match self.child.wait() {
            Ok(how) if how.signal() == Some(SIGKILL) => {
                format!("{how}: somebody killed it, or the kernel did for want of memory")
            }
            Ok(how) => how.to_string(),
            Err(error) => error.to_string(),
        };
        self.fail(&format!("it ended: {status}"))
    }

    /// Waits for the end of a reply.
    fn wait(&mut self) -> Result<(), Failure> {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line);
            let read = read.map_err(|error| self.fail(&error.to_string()))?;
            if read == 0 {
                return Err(self.ended());
            }
            let line: Line =
                serde_json::from_str(&line).map_err(|error| self.fail(&error.to_string()))?;
            match line.reply {
                Reply::Sample(_) | Reply::Progress { .. } => {}
                Reply::Skipped { reason } => {
                    let rank = self.rank;
                    return Err(Failure::Skipped(format!("rank {rank}: {reason}")));
                }
                Reply::Failed { reason } => return Err(self.fail(&reason)),
                _ => return Ok(()),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A worker ends when its input does; one that is in the middle of something is not waited for.
        self.input = None;
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The other ranks of a training, which go step by step with it.
pub struct Processes {
    others: Vec<Process>,
    /// Kept until they have ended.
    _folder: Folder,
}

impl Processes {
    /// Starts the other ranks of a case, each as this worker's own program on its device, and meets them. They are getting ready then:
    /// [`Self::join`] waits for that.
    ///
    /// # Errors
    /// If one cannot be started, or does not come.
    pub fn start(case: &CaseSpec, devices: &[DeviceSelector]) -> Result<(Self, Ranks), Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::Failed(format!("this worker's own program: {error}")))?;
        let folder = Folder::new()?;
        let mut others = vec![];
        for (rank, device) in devices.iter().enumerate().skip(1) {
            let mut process = Process::start(&program, rank)?;
            process.ask(&Request::Prepare {
                case: case_of(case, (rank, device), &folder.0),
            })?;
            others.push(process);
        }
        let of = devices.len();
        let ranks = Ranks::meet(&folder.0, Place { rank: 0, of })?;
        let processes = Self {
            others,
            _folder: folder,
        };
        Ok((processes, ranks))
    }

    /// Lets all of them take a step, while `own` does.
    ///
    /// # Errors
    /// If that fails, or one of theirs.
    pub fn step<T>(&mut self, own: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        for process in &mut self.others {
            process.ask(&Request::Sample(ONE))?;
        }
        let own = own();
        self.join(own)
    }

    /// Waits until all of them have done what they were asked for, as this rank has or could not.
    ///
    /// # Errors
    /// What somebody could not, of several the first that was not merely left alone by others.
    pub fn join<T>(&mut self, own: Result<T, Failure>) -> Result<T, Failure> {
        let mut failures = vec![];
        let own = own.map_err(|why| failures.push(why));
        let others = self.others.iter_mut().map(Process::wait);
        failures.extend(others.filter_map(Result::err));
        let is_cause = |failure: &Failure| !failure.to_string().contains(GONE);
        let first = failures.iter().position(is_cause).unwrap_or(0);
        match own {
            Ok(done) if failures.is_empty() => Ok(done),
            _ => Err(failures.swap_remove(first)),
        }
    }
}

/// The case of another rank: it has no files of its own to write, and nothing that it has to come to.
fn case_of(case: &CaseSpec, (rank, device): (usize, &DeviceSelector), folder: &Path) -> CaseSpec {
    let mut case = CaseSpec {
        device: device.clone(),
        ..case.clone()
    };
    let mut set = |name: &str, value: ParamValue| case.params.insert(name.to_owned(), value);
    set(
        "peer",
        ParamValue::Text(format!("{rank}:{}", folder.display())),
    );
    set("save", ParamValue::Text(String::new()));
    set("quality", ParamValue::Float(0.0));
    case.params.remove("save_every");
    case
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use assay_protocol::Request;

    use super::{MOST_OF_NAME, OF_SOCKET, Process, short};

    /// Whether it is waited for, or asked for more when it is gone.
    #[test]
    fn a_rank_that_was_killed_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("rank");
        std::fs::write(&program, "#!/bin/sh\nkill -9 $$\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut process = Process::start(&program, 3).unwrap();
        let waited = process.wait().unwrap_err().to_string();
        let asked = process.ask(&Request::Verify).unwrap_err().to_string();
        let expected = "rank 3: it ended: signal: 9 (SIGKILL): somebody killed it";
        assert!(waited.contains(expected), "{waited}");
        assert_eq!(asked, waited);
    }

    #[test]
    fn sockets_have_names_that_the_system_takes() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().to_owned();
        assert_eq!(short(own.clone(), "ranks"), Some(own.join("ranks")));
        let long = own.join("x".repeat(100));
        std::fs::create_dir(&long).unwrap();
        let found = short(long, "ranks").unwrap();
        assert_eq!(found, std::path::Path::new("/tmp/ranks"));
        assert!(found.as_os_str().len() + OF_SOCKET <= MOST_OF_NAME);
        assert_eq!(short(own, &"x".repeat(110)), None);
    }
}
