//! The C library's version, read out of the library file, since asking the library needs `unsafe`
//! and running `ldd` needs a process.

use super::Machine;
use crate::parts::Parts;
use crate::reading::{Gap, Reading};
use crate::roots::Roots;

const PLACES: &[&str] = &[
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/aarch64-linux-gnu/libc.so.6",
    "/lib64/libc.so.6",
    "/usr/lib64/libc.so.6",
    "/usr/lib/libc.so.6",
    "/lib/libc.so.6",
];

pub(super) fn probe(machine: &Machine<'_>, parts: &mut Parts) {
    parts.software.put("libc.version", version(machine.roots));
}

fn version(roots: &Roots) -> Reading<String> {
    let loaded = roots
        .read("/proc/self/maps")
        .ok()
        .and_then(|maps| loaded(&maps));
    let place = loaded.or_else(|| {
        PLACES
            .iter()
            .find(|place| roots.exists(place))
            .map(|&place| place.to_owned())
    });
    match place {
        Some(place) => banner(&roots.bytes(&place)?)
            .ok_or_else(|| Gap::Error(format!("{place} names no version"))),
        None => musl(roots).ok_or(Gap::Unsupported),
    }
}

/// The libc that this very process has mapped.
fn loaded(maps: &str) -> Option<String> {
    let is_libc = |path: &&str| path.ends_with("/libc.so.6");
    maps.lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(is_libc)
        .map(str::to_owned)
}

/// `GNU C Library (Debian GLIBC 2.36-9+deb12u9) stable release version 2.36.` as `Debian GLIBC 2.36-9+deb12u9`.
fn banner(library: &[u8]) -> Option<String> {
    const START: &[u8] = b"GNU C Library (";
    let at = find(library, START)? + START.len();
    let rest = &library[at..library.len().min(at + 200)];
    let line = String::from_utf8_lossy(rest.split(|&b| b == b'\n' || b == 0).next()?).into_owned();
    let (build, release) = line.split_once(')')?;
    // Distributions name their build; a plain build says only `GNU libc`.
    let number = release.rsplit("version ").next()?.trim_end_matches('.');
    Some(if build.contains(number) {
        build.to_owned()
    } else {
        format!("glibc {number} ({build})")
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    while let Some(step) = haystack.get(from..)?.iter().position(|b| b == first) {
        from += step;
        if haystack[from..].starts_with(needle) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn musl(roots: &Roots) -> Option<String> {
    let loader = roots
        .list("/lib")
        .ok()?
        .into_iter()
        .find(|name| name.starts_with("ld-musl-"))?;
    Some(format!("musl ({loader}; its file names no version)"))
}

#[cfg(test)]
mod tests {
    use super::banner;

    #[test]
    fn the_banner_is_found_between_other_bytes() {
        let debian = b"\x7fELF\0GNU C\0GNU C Library (Debian GLIBC 2.36-9+deb12u9) stable release version 2.36.\nCopyright";
        assert_eq!(banner(debian).unwrap(), "Debian GLIBC 2.36-9+deb12u9");
        let plain = b"..GNU C Library (GNU libc) stable release version 2.39.\n";
        assert_eq!(banner(plain).unwrap(), "glibc 2.39 (GNU libc)");
        assert_eq!(banner(b"GNU C Library ("), None);
        assert_eq!(banner(b""), None);
    }
}
