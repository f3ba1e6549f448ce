//! A registry of one image: the files of an OCI layout over plain HTTP on this machine, and what it was asked for.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use assay_protocol::Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that serves until it is dropped.
pub struct Registry {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    server: Option<JoinHandle<()>>,
}

/// What it has.
struct Shelf {
    blobs: PathBuf,
    /// `/v2/NAME/`.
    prefix: String,
    index: Digest,
    manifest: Digest,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: Vec<String>,
    has_no_tag: bool,
    is_closed: bool,
}

impl Registry {
    /// Serves the one image of a layout as `name`, behind an index that knows it and one for another platform.
    pub fn serve(layout: &Path, name: &str) -> Self {
        let read =
            |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let mut one = read(layout.join("index.json"))["manifests"][0].take();
        one.as_object_mut().unwrap().remove("annotations");
        let manifest: Digest = one["digest"].as_str().unwrap().parse().unwrap();
        one["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let mut other = one.clone();
        other["digest"] = json!(Digest::of("for another platform").to_string());
        other["platform"] = json!({"os": "linux", "architecture": "s390x"});
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, one]});
        let list = list.to_string();
        let blobs = layout.join("blobs/sha256");
        let index = Digest::of(&list);
        fs::write(blobs.join(index.hex()), list).unwrap();
        let shelf = Arc::new(Shelf {
            blobs,
            prefix: format!("/v2/{name}/"),
            index,
            manifest,
            state: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn({
            let shelf = Arc::clone(&shelf);
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if shelf.state.lock().unwrap().is_closed {
                        return;
                    }
                    let shelf = Arc::clone(&shelf);
                    // Whoever asked may have gone: podman asks for TLS first, and hangs up.
                    std::thread::spawn(move || drop(shelf.answer(stream)));
                }
            }
        });
        Self {
            address,
            shelf,
            server: Some(server),
        }
    }

    /// Host and port, as an image's name begins.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    pub fn index(&self) -> Digest {
        self.shelf.index
    }

    pub fn manifest(&self) -> Digest {
        self.shelf.manifest
    }

    /// Paths that were asked for, so far.
    pub fn asked(&self) -> Vec<String> {
        self.shelf.state.lock().unwrap().asked.clone()
    }

    /// Has no tag from now on.
    pub fn take_tag_away(&self) {
        self.shelf.state.lock().unwrap().has_no_tag = true;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shelf.state.lock().unwrap().is_closed = true;
        // Wakes it up, to see that.
        let _ = TcpStream::connect(self.address);
        let _ = self.server.take().map(JoinHandle::join);
    }
}

impl Shelf {
    /// Answers one request, and hangs up.
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut words = request.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(());
        };
        // The headers; nobody sends more than those.
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let (status, kind, body) = match self.find(path) {
            Some((kind, body)) => ("200 OK", kind, body),
            None => ("404 Not Found", "application/json", b"{}".to_vec()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\nConnection: close\r\n\r\n",
            body.len(),
            Digest::of(&body)
        )?;
        if method == "GET" {
            stream.write_all(&body)?;
        }
        Ok(())
    }

    fn find(&self, path: &str) -> Option<(&'static str, Vec<u8>)> {
        if path == "/v2/" {
            return Some(("application/json", b"{}".to_vec()));
        }
        let mut state = self.state.lock().unwrap();
        state.asked.push(path.to_owned());
        let (what, name) = path.strip_prefix(&self.prefix)?.split_once('/')?;
        let digest = match name {
            "latest" if !state.has_no_tag => self.index,
            name => name.parse().ok()?,
        };
        let kind = match what {
            "manifests" if digest == self.index => INDEX,
            "manifests" => MANIFEST,
            _ => "application/octet-stream",
        };
        Some((kind, fs::read(self.blobs.join(digest.hex())).ok()?))
    }
}
