"""What was measured beside a peer, in a file that says with what: for the scripts of this folder."""

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess


def digest(path):
    """SHA-256 of a file, as Assay writes it."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def commit(clone):
    """The commit that a clone is at, or None where it is no repository."""
    asked = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def versions(packages):
    """The version of each package; None of one that is not installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def processor():
    """What the kernel calls the processor."""
    with open("/proc/cpuinfo") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class Record:
    """A file that has all runs so far at any time: it is written anew, whole, after each."""

    def __init__(self, path, assay, table, packages, facts):
        asked = subprocess.run([assay, "--version"], capture_output=True, text=True, check=True)
        self.path = path
        self.content = {
            "schema": 1,
            "begun": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
            "assay": {"version": asked.stdout.strip(), "digest": digest(assay)},
            "table": {"file": table.name, "digest": digest(table)},
            "python": platform.python_version(),
            "packages": versions(packages),
            "facts": facts,
            "runs": [],
        }
        self.write()

    def add(self, **run):
        """One run of one program; numbers of any library become Python's own."""
        load = os.getloadavg()[0]
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in run.items()}
        self.content["runs"].append({**plain, "load": load})
        self.write()

    def write(self):
        beside = self.path.with_name(self.path.name + ".unfinished")
        beside.write_text(json.dumps(self.content, indent=2) + "\n")
        beside.replace(self.path)
