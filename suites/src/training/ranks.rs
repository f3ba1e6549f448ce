//! Processes that train one model together: each takes its part of a step's turns, and all get the same sums of gradients.
//!
//! Ranks are connected in pairs, as recursive doubling needs it: in round `l` rank `r` and rank `r ^ 2^l` send each other all that they
//! have, and add up that of the lower one and that of the higher one (R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of
//! collective communication operations in MPICH", IJHPCA 19(1), 2005, section 4.5). So every rank has the bits of every other, and they
//! are those of one process that adds up turns as a [tree](super::step) does. Plain sockets of the machine, without regard to speed.

mod links;
pub mod processes;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assay_kernels::device::cuda::nccl::{AllReduce, Peers};
use assay_kernels::program::{Program, Step};
use assay_protocol::{Digest, Failure};

use links::{connect, exchange, is_cut};

/// Most ranks: they are all of one machine.
pub const MOST: usize = 64;
/// What is said of a rank that is gone, by those which it leaves.
const GONE: &str = "is no longer there";

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

    /// The connections, or why there are none.
    fn links(&self) -> MutexGuard<'_, Result<Vec<UnixStream>, String>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partner of a round.
    fn partner(&self, round: usize) -> usize {
        self.place.rank ^ (1 << round)
    }

    /// Exchanges bytes with the partner of each round; `merge(is_lower, own, other)` makes of both what goes on.
    fn rounds(
        &self,
        mut own: Vec<u8>,
        merge: impl Fn(bool, Vec<u8>, &[u8]) -> Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let mut links = self.links();
        let streams = links.as_mut().map_err(|why| why.clone())?;
        let mut failure = None;
        for (round, link) in streams.iter_mut().enumerate() {
            let is_lower = self.place.rank >> round & 1 == 0;
            let mut other = vec![0; own.len()];
            if let Err(error) = exchange(link, is_lower, &own, &mut other) {
                let partner = self.partner(round);
                failure = Some(format!("rank {partner} {GONE}: {error}"));
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

    /// Appends the sums over all ranks to a program, in place of each rank's own numbers, of `f32`: of the host in the order of a tree,
    /// of GPUs by NCCL.
    pub fn all_reduce(&self, program: &mut Program, buffers: &[usize]) {
        let lens = buffers.iter().map(|buffer| program.buffers[*buffer].len);
        let on_cuda = AllReduce::new(self.clone(), buffers.iter().copied().zip(lens).collect());
        program.cuda.push(Step::Library(Box::new(on_cuda)));
        for buffer in buffers {
            let (buffer, ranks) = (*buffer, self.clone());
            program.step_on_cpu(move |_, buffers| ranks.add_up(buffers.0[buffer].get_mut()));
        }
    }

    /// Replaces numbers by the sums of those of all ranks; by what is no number, where one of these is gone, which [`Peers::check`] tells.
    fn add_up(&self, numbers: &mut [f32]) {
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

    /// The bytes of all ranks, in the order of these; each has as many.
    fn gather_bytes(&self, own: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let all = self.rounds(own, |is_lower, own, other| {
            if is_lower {
                [&own[..], other].concat()
            } else {
                [other, &own[..]].concat()
            }
        });
        all.map_err(Failure::Failed)
    }

    /// The numbers of all ranks, in the order of these; each has as many.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn gather(&self, own: &[f64]) -> Result<Vec<f64>, Failure> {
        let bytes = self.gather_bytes(own.iter().flat_map(|x| x.to_le_bytes()).collect())?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
    }

    /// Fails unless all ranks have the same digests of what is named, of which all have as much.
    ///
    /// # Errors
    /// Of what not, and which rank has another than the first; or if a rank is gone.
    pub fn agree(&self, own: &[(String, Digest)]) -> Result<(), Failure> {
        if own.is_empty() {
            return Ok(());
        }
        let bytes: String = own.iter().map(|(_, digest)| digest.to_string()).collect();
        let len = bytes.len();
        let all = self.gather_bytes(bytes.into_bytes())?;
        let of_rank = |rank: usize| all[rank * len..][..len].chunks_exact(len / own.len());
        for rank in 1..self.place.of {
            let mut pairs = of_rank(0).zip(of_rank(rank));
            if let Some(place) = pairs.position(|(first, other)| first != other) {
                let name = &own[place].0;
                return Err(Failure::Failed(format!(
                    "{name}: rank {rank} has other bits than rank 0"
                )));
            }
        }
        Ok(())
    }

    /// Parts from the others, for a reason of this rank's own: those who wait for it learn that it is gone.
    pub fn part(&self, why: &Failure) {
        let mut links = self.links();
        if links.is_ok() {
            *links = Err(why.to_string());
        }
    }
}

impl Peers for Ranks {
    fn place(&self) -> (usize, usize) {
        (self.place.rank, self.place.of)
    }

    fn share(&self, own: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut all = self.gather_bytes(own.to_vec())?;
        all.truncate(own.len());
        Ok(all)
    }

    fn check(&self) -> Result<(), Failure> {
        let mut links = self.links();
        let streams = links.as_ref().map_err(|why| Failure::Failed(why.clone()))?;
        let Some(round) = streams.iter().position(is_cut) else {
            return Ok(());
        };
        let why = format!("rank {} {GONE}", self.partner(round));
        *links = Err(why.clone());
        Err(Failure::Failed(why))
    }
}

#[cfg(test)]
mod tests {
    use assay_kernels::device::cuda::nccl::Peers as _;
    use assay_protocol::{Digest, Failure};

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
    fn all_have_what_the_first_has_and_digests_are_compared() {
        let found = together(4, |ranks| {
            let rank = ranks.place.rank;
            let shared = ranks.share(&[rank as u8 + 7; 3]).unwrap();
            let own = |b: &str| {
                [("a", "same"), ("b", b), ("c", b)]
                    .map(|(name, of)| (name.to_owned(), Digest::of(of)))
            };
            let same = ranks.agree(&own("same"));
            let other = if rank == 2 { "other" } else { "same" };
            let words = ranks.agree(&own(other)).unwrap_err().to_string();
            (shared, same, words)
        });
        let words = "failed: b: rank 2 has other bits than rank 0".to_owned();
        assert!(
            found
                .iter()
                .all(|one| *one == (vec![7; 3], Ok(()), words.clone()))
        );
    }

    /// Who has sent what it had to and ends is missed before anybody waits for more of it.
    #[test]
    fn a_rank_that_parts_is_missed_by_those_who_look() {
        let found = together(2, |ranks| {
            ranks.gather(&[1.0]).unwrap();
            if ranks.place.rank == 1 {
                ranks.part(&Failure::Failed("of its own".into()));
                return ranks.gather(&[1.0]).unwrap_err().to_string();
            }
            while ranks.check().is_ok() {}
            ranks.gather(&[1.0]).unwrap_err().to_string()
        });
        let [first, second] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(first.ends_with("rank 1 is no longer there"), "{first}");
        assert!(second.ends_with("of its own"), "{second}");
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
