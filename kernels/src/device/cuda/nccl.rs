//! Sums over the GPUs of several processes, by NCCL, which is loaded at run time where there is one.
//!
//! All ranks get identical copies of a sum; in which order it is added up NCCL does not promise. Of two ranks there is but one sum; that of
//! more may have other bits with another version, other links between GPUs, another length.
//!
//! A rank that ends is waited for by NCCL's kernels of the others, for ever: those who wait ask [`Peers`] meanwhile, and let go.
//!
//! The functions are looked up here, and not by `cudarc`, which knows the library by `libnccl.so` alone: what programs need to run is
//! installed as `libnccl.so.2`.
#![allow(unsafe_code)] // NCCL's interface takes handles and addresses

mod library;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use assay_protocol::Failure;

use super::driver::attach;
use super::{Cuda, LibraryCall};
use library::{Handle, Library, UniqueId, library};

pub use library::version;

/// How long until a rank that waits for others looks after them again.
const PAUSE: Duration = Duration::from_millis(1);

/// The ranks of a sum, one process each, and a way for them to speak before there is a communicator and beside it.
pub trait Peers {
    /// Which of them this is, and how many there are.
    fn place(&self) -> (usize, usize);

    /// What the first of them has, given what each has. All call it, with as many bytes.
    ///
    /// # Errors
    /// If another is gone.
    fn share(&self, own: &[u8]) -> Result<Vec<u8>, Failure>;

    /// Looks after the others.
    ///
    /// # Errors
    /// If one is gone.
    fn check(&self) -> Result<(), Failure>;
}

/// Replaces buffers of `f32` by their sums over all ranks, as a step of a program; each rank has a device of its own.
pub struct AllReduce<P> {
    peers: P,
    /// Numbers and lengths of the buffers.
    buffers: Vec<(usize, usize)>,
    communicator: Option<Communicator>,
}

impl<P: Peers> AllReduce<P> {
    /// Of these buffers, each with its length.
    pub fn new(peers: P, buffers: Vec<(usize, usize)>) -> Self {
        Self {
            peers,
            buffers,
            communicator: None,
        }
    }
}

impl<P: Peers> LibraryCall for AllReduce<P> {
    fn prepare(&mut self, cuda: &Cuda, _: &[u64]) -> Result<BTreeMap<String, String>, Failure> {
        let library = library()?;
        let (rank, _) = self.peers.place();
        let own = if rank == 0 {
            library.unique_id()?
        } else {
            UniqueId::default()
        };
        let id = UniqueId::of(&self.peers.share(own.bytes())?);
        self.communicator = Some(Communicator::meet(library, cuda, id, &self.peers)?);
        Ok(BTreeMap::from([("nccl".into(), library.version.clone())]))
    }

    fn enqueue(&mut self, cuda: &Cuda, addresses: &[u64]) -> Result<(), Failure> {
        let communicator = self.communicator.as_ref();
        let communicator =
            communicator.ok_or_else(|| Failure::Failed("ranks have parted".into()))?;
        let places = self.buffers.iter();
        communicator.add_up(cuda, places.map(|(buffer, len)| (addresses[*buffer], *len)))
    }

    fn watch(&mut self) -> Result<(), Failure> {
        let Some(communicator) = &self.communicator else {
            return Ok(());
        };
        let outcome = self.peers.check().and_then(|()| communicator.check());
        if outcome.is_err() {
            let communicator = self.communicator.take();
            // Elsewhere, for it may wait until no graph has it any more.
            std::thread::spawn(move || drop(communicator));
        }
        outcome
    }
}

/// What connects the device that was current when it was made with those of other ranks.
struct Communicator {
    library: &'static Library,
    handle: Handle,
}

impl Communicator {
    /// Waits for all ranks, in a thread of its own: one that never comes is waited for until somebody ends this process.
    fn meet(
        library: &'static Library,
        cuda: &Cuda,
        id: UniqueId,
        peers: &impl Peers,
    ) -> Result<Self, Failure> {
        let (device, place) = (cuda.description.index, peers.place());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let met = attach(device).and_then(|_| library.meet(id, place));
            tell.send(met.map(|handle| Self { library, handle }))
        });
        loop {
            match told.recv_timeout(PAUSE) {
                Ok(met) => return met,
                Err(RecvTimeoutError::Timeout) => peers.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Failed("NCCL: nobody met the other ranks".into()));
                }
            }
        }
    }

    /// Enqueues sums in place, all together: at these addresses, of so many `f32`.
    fn add_up(
        &self,
        cuda: &Cuda,
        places: impl Iterator<Item = (u64, usize)>,
    ) -> Result<(), Failure> {
        self.library.grouped(self.handle, || {
            for (address, len) in places {
                self.library
                    .add_up(self.handle, (address, len), cuda.stream())?;
            }
            Ok(())
        })
    }

    /// Fails if something went wrong in what was enqueued.
    fn check(&self) -> Result<(), Failure> {
        self.library.check(self.handle)
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // What is still enqueued ends, whatever the other ranks do: nobody waits for it any more.
        self.library.abort(self.handle);
    }
}
