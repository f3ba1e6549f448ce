//! Processes that train one model together: each takes its part of a step's turns, and all get the same sums of gradients.
//!
//! Ranks are connected in pairs, as recursive doubling needs it: in round `l` rank `r` and rank `r ^ 2^l` send each other all that they
//! have, and add up that of the lower one and that of the higher one (R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
//! collective communication operations in MPICH", IJHPCA 19(1), 2005, section 4.5). So every rank has the bits of every other, and they
//! are those of one process that adds up turns as a [tree](super::step) does. Plain sockets of the machine, without regard to speed.

pub mod processes;

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_protocol::Failure;

/// Most ranks: they are all of one machine.
pub const MOST: usize = 64;
/// How long a rank waits for another: longer than any step.
const PATIENCE: Duration = Duration::from_mins(10);
/// How long until it looks again whether another is there.
const PAUSE: Duration = Duration::from_millis(2);

/// Where a process stands among those that train together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub rank: usize,
    /// How many there are, a power of two.
    pub of: usize,
}

impl Place {
    /// The only one.
    pub const ALONE: Self = Self { rank: 0, of: 1 };
}

/// The connections of a rank, shared by the steps that use them.
#[derive(Clone)]
pub struct Ranks {
    /// Where it stands.
    pub place: Place,
    /// To the partner of each round; or why there are none any more.
    links: Arc<Mutex<Result<Vec<UnixStream>, String>>>,
}

fn socket(folder: &Path, [lower, higher]: [usize; 2]) -> PathBuf {
    folder.join(format!("{lower}-{higher}"))
}

/// Waits for a connection, or until one is taken.
fn until<T>(deadline: Instant, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn connect(folder: &Path, place: Place, partner: usize) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    let path = socket(folder, [place.rank.min(partner), place.rank.max(partner)]);
    let link = if place.rank < partner {
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let (link, _) = until(deadline, || listener.accept())?;
        std::fs::remove_file(&path)?;
        link
    } else {
        until(deadline, || UnixStream::connect(&path))?
    };
    link.set_nonblocking(false)?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    Ok(link)
}

/// Sends all of `own` and receives as much into `other`. The lower one sends first, so that both never wait to send.
fn exchange(link: &mut UnixStream, first: bool, own: &[u8], other: &mut [u8]) -> io::Result<()> {
    if first {
        link.write_all(own)?;
        link.read_exact(other)
    } else {
        link.read_exact(other)?;
        link.write_all(own)
    }
}

impl Ranks {
    /// Meets the others in a folder that all know and nobody else uses.
    ///
    /// # Errors
    /// If another does not come.
    pub fn meet(folder: &Path, place: Place) -> Result<Self, Failure> {
        let rounds = place.of.trailing_zeros();
        let link = |round: u32| {
            let partner = place.rank ^ (1 << round);
            connect(folder, place, partner).map_err(|error| {
                let rank = place.rank;
                Failure::Failed(format!("rank {rank} cannot meet rank {partner}: {error}"))
            })
        };
        let links = (0..rounds).map(link).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            place,
            links: Arc::new(Mutex::new(Ok(links))),
        })
    }

    /// Exchanges bytes with the partner of each round; `merge(is_lower, own, other)` makes of both what goes on.
    fn rounds(
        &self,
        mut own: Vec<u8>,
        merge: impl Fn(bool, Vec<u8>, &[u8]) -> Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = links.as_mut().map_err(|why| why.clone())?;
        let mut failure = None;
        for (round, link) in streams.iter_mut().enumerate() {
            let is_lower = self.place.rank >> round & 1 == 0;
            let mut other = vec![0; own.len()];
            if let Err(error) = exchange(link, is_lower, &own, &mut other) {
                let partner = self.place.rank ^ (1 << round);
                failure = Some(format!("rank {partner} is no longer there: {error}"));
                break;
            }
            own = merge(is_lower, own, &other);
        }
        if let Some(failure) = failure {
            // Whoever still waits for this rank learns of it, too.
            *links = Err(failure.clone());
            return Err(failure);
        }
        Ok(own)
    }

    /// Replaces numbers by the sums of those of all ranks; by what is no number, where one of these is gone, which [`Self::check`] tells.
    pub fn add_up(&self, numbers: &mut [f32]) {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let sums = self.rounds(bytes, |_, own, other| {
            let (words, _) = own.as_chunks::<4>();
            let (others, _) = other.as_chunks::<4>();
            // Addition is commutative: the bits are those of lower and higher in this order.
            let sums = words.iter().zip(others);
            let sum =
                |(a, b): (&[u8; 4], &[u8; 4])| f32::from_le_bytes(*a) + f32::from_le_bytes(*b);
            sums.flat_map(|pair| sum(pair).to_le_bytes()).collect()
        });
        match sums {
            Ok(bytes) => {
                let (words, _) = bytes.as_chunks::<4>();
                let pairs = numbers.iter_mut().zip(words);
                pairs.for_each(|(x, word)| *x = f32::from_le_bytes(*word));
            }
            Err(_) => numbers.fill(f32::NAN),
        }
    }

    /// The numbers of all ranks, in the order of these; each has as many.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn gather(&self, own: &[f64]) -> Result<Vec<f64>, Failure> {
        let bytes = own.iter().flat_map(|x| x.to_le_bytes()).collect();
        let all = self.rounds(bytes, |is_lower, own, other| {
            if is_lower {
                [&own[..], other].concat()
            } else {
                [other, &own[..]].concat()
            }
        });
        let bytes = all.map_err(Failure::Failed)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
    }

    /// Fails if another rank is gone.
    ///
    /// # Errors
    /// Which one, and why.
    pub fn check(&self) -> Result<(), Failure> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links
            .as_ref()
            .map(|_| ())
            .map_err(|why| Failure::Failed(why.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Ranks};

    /// What each of so many ranks gets.
    fn together<T: Send>(of: usize, run: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let start = |rank| {
                let (folder, run) = (folder.path(), &run);
                scope.spawn(move || run(Ranks::meet(folder, Place { rank, of }).unwrap()))
            };
            let all: Vec<_> = (0..of).map(start).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    }

    #[test]
    fn all_ranks_have_the_sums_of_a_tree() {
        // Large enough that no buffer of a socket holds them.
        let numbers = |rank: usize| -> Vec<f32> {
            (0..300_001)
                .map(|i| 1.0 / (1 + rank * 7 + i) as f32)
                .collect()
        };
        let sums = together(4, |ranks| {
            let mut own = numbers(ranks.place.rank);
            ranks.add_up(&mut own);
            own
        });
        let [a, b, c, d] = [0, 1, 2, 3].map(numbers);
        let tree: Vec<f32> = (0..a.len())
            .map(|i| (a[i] + b[i]) + (c[i] + d[i]))
            .collect();
        assert!(sums.iter().all(|found| *found == tree));
    }

    #[test]
    fn numbers_are_gathered_in_the_order_of_ranks() {
        let all = together(8, |ranks| {
            let rank = f64::from(ranks.place.rank as u32);
            ranks.gather(&[rank, rank + 0.5]).unwrap()
        });
        let expected: Vec<f64> = (0..16).map(|i| f64::from(i) / 2.0).collect();
        assert!(all.iter().all(|found| *found == expected), "{all:?}");
    }

    #[test]
    fn a_rank_that_is_gone_is_named() {
        let found = together(2, |ranks| {
            if ranks.place.rank == 1 {
                return None;
            }
            let mut own = [1.0, 2.0];
            ranks.add_up(&mut own);
            assert!(own[0].is_nan());
            Some(ranks.check().unwrap_err().to_string())
        });
        let words = found[0].as_deref().unwrap();
        assert!(words.contains("rank 1 is no longer there"), "{words}");
    }
}
