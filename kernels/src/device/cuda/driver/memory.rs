//! Memory: of a device, managed, and pinned on the host.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Deref;

use assay_protocol::Failure;
use cudarc::driver::result;
use cudarc::driver::sys;

use super::{Cuda, StreamRef, checked};

/// Memory of a device.
#[derive(Debug)]
pub struct DeviceMemory {
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl DeviceMemory {
    /// Allocates; nothing is allocated for no bytes.
    pub fn new(bytes: usize) -> Result<Self, Failure> {
        if bytes == 0 {
            return Ok(Self { address: 0, bytes });
        }
        // SAFETY: it is written before it is read.
        let address = checked("allocation", unsafe { result::malloc_sync(bytes) })?;
        Ok(Self { address, bytes })
    }

    /// Moves managed memory to the device, as part of the stream's work.
    pub fn prefetch(&self, cuda: &Cuda) -> Result<(), Failure> {
        let location = sys::CUmemLocation {
            type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
            id: cuda.device,
        };
        // SAFETY: the range is this allocation; the driver refuses memory that is not managed.
        checked("prefetch", unsafe {
            result::mem_prefetch_async(self.address, self.bytes, location, cuda.stream)
        })
    }

    /// Its address on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies all of `from`, which has the same size, to here, after what was enqueued before, and waits.
    ///
    /// By the stream on purpose. The call without one goes by the legacy default stream, which ours does not wait for, and
    /// returns once pageable memory was staged: what is launched next could find the old bytes.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn upload(&self, stream: StreamRef, from: &[u8]) -> Result<(), Failure> {
        self.send(stream, from)?;
        stream.synchronize()
    }

    /// Copies all of it to `to`, which has the same size, after what was enqueued before, and waits.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn download(&self, stream: StreamRef, to: &mut [u8]) -> Result<(), Failure> {
        self.receive(stream, to)?;
        stream.synchronize()
    }

    /// Enqueues copying all of `from`, which has the same size, to here. Whoever calls it keeps `from` until the stream is
    /// synchronised.
    ///
    /// # Panics
    /// If the sizes differ.
    pub(crate) fn send(&self, stream: StreamRef, from: &[u8]) -> Result<(), Failure> {
        assert_eq!(from.len(), self.bytes, "sizes of an upload");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both sides have this size, and the caller keeps them until the copy is done.
        checked("upload", unsafe {
            result::memcpy_htod_async(self.address, from, stream.0)
        })
    }

    /// Enqueues copying all of it to `to`, which has the same size. Whoever calls it keeps `to`, and does not look at it,
    /// until the stream is synchronised.
    ///
    /// # Panics
    /// If the sizes differ.
    pub(crate) fn receive(&self, stream: StreamRef, to: &mut [u8]) -> Result<(), Failure> {
        assert_eq!(to.len(), self.bytes, "sizes of a download");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both sides have this size, and the caller keeps them until the copy is done.
        checked("download", unsafe {
            result::memcpy_dtoh_async(to, self.address, stream.0)
        })
    }

    /// Enqueues setting every byte.
    pub fn set(&self, stream: StreamRef, byte: u8) -> Result<(), Failure> {
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is this allocation.
        checked("memset", unsafe {
            result::memset_d8_async(self.address, byte, self.bytes, stream.0)
        })
    }

    /// Enqueues copying all of `from`, which has the same size, to here.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn copy_from(&self, stream: StreamRef, from: &Self) -> Result<(), Failure> {
        assert_eq!(from.bytes, self.bytes, "sizes of a copy");
        if self.bytes == 0 {
            return Ok(());
        }
        // SAFETY: both ranges are whole allocations of this size.
        let copied =
            unsafe { result::memcpy_dtod_async(self.address, from.address, self.bytes, stream.0) };
        checked("copy", copied)
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        if self.address != 0 {
            // SAFETY: allocated by `new` or `managed`, freed once; the driver waits for what uses it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Memory of a device that was allocated as part of a stream's work, and is freed so.
#[derive(Debug)]
pub struct StreamMemory<'a> {
    memory: ManuallyDrop<DeviceMemory>,
    stream: StreamRef<'a>,
}

impl<'a> StreamMemory<'a> {
    /// Allocates at least a byte. What comes later on the stream may use it.
    pub fn new(stream: StreamRef<'a>, bytes: usize) -> Result<Self, Failure> {
        // SAFETY: the stream is alive; what is allocated is written before it is read.
        let address = checked("allocation on a stream", unsafe {
            result::malloc_async(stream.0, bytes.max(1))
        })?;
        Ok(Self {
            memory: ManuallyDrop::new(DeviceMemory { address, bytes }),
            stream,
        })
    }
}

impl Deref for StreamMemory<'_> {
    type Target = DeviceMemory;

    fn deref(&self) -> &DeviceMemory {
        &self.memory
    }
}

impl Drop for StreamMemory<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` on this stream, which is alive, and freed once: `memory` itself is never dropped.
        let _ = unsafe { result::free_async(self.memory.address, self.stream.0) };
    }
}

/// Managed memory, which the host addresses too.
#[derive(Debug)]
pub struct ManagedMemory(DeviceMemory);

impl ManagedMemory {
    /// Allocates, never more than is free on the device, and sets every byte to 0.
    pub fn new(cuda: &Cuda, bytes: usize) -> Result<Self, Failure> {
        cuda.ensure_fits(bytes as u64)?;
        let memory = Self::allocate(bytes)?;
        memory.set(cuda.stream(), 0)?;
        cuda.synchronize()?;
        Ok(Self(memory))
    }

    /// Allocates so much and frees it again, without touching it. Whoever asks has looked that it is free.
    pub fn come_and_go(bytes: usize) -> Result<(), Failure> {
        Self::allocate(bytes).map(drop)
    }

    fn allocate(bytes: usize) -> Result<DeviceMemory, Failure> {
        if bytes == 0 {
            return DeviceMemory::new(0);
        }
        let flags = sys::CUmemAttach_flags::CU_MEM_ATTACH_GLOBAL;
        // SAFETY: it is written before it is read.
        let address = checked("managed allocation", unsafe {
            result::malloc_managed(bytes, flags)
        })?;
        Ok(DeviceMemory { address, bytes })
    }

    /// The device's view.
    pub fn memory(&self) -> &DeviceMemory {
        &self.0
    }

    /// Its bytes, which come to the host when they are touched, once the device's stream is idle.
    pub fn bytes_mut(&mut self, cuda: &Cuda) -> Result<&mut [u8], Failure> {
        cuda.synchronize()?;
        if self.0.bytes == 0 {
            return Ok(&mut []);
        }
        // SAFETY: the whole allocation, set by `new`, borrowed exclusively; nothing on the device uses it now, as all work
        // of a case is on its streams, which the device's own waits for.
        Ok(unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut(self.0.address as usize),
                self.0.bytes,
            )
        })
    }
}

/// Pinned memory of the host, which the device can address.
#[derive(Debug)]
pub struct PinnedMemory {
    start: *mut c_void,
    bytes: usize,
}

impl PinnedMemory {
    /// Allocates, filled with zeros.
    pub fn new(bytes: usize) -> Result<Self, Failure> {
        crate::device::memory::ensure_fits(bytes as u64)?;
        let memory = Self::allocate(bytes)?;
        // SAFETY: at least so many bytes were allocated.
        unsafe { memory.start.cast::<u8>().write_bytes(0, bytes) };
        Ok(memory)
    }

    /// Allocates so much and frees it again, without touching it. Whoever asks has looked that it is free.
    pub fn come_and_go(bytes: usize) -> Result<(), Failure> {
        Self::allocate(bytes).map(drop)
    }

    fn allocate(bytes: usize) -> Result<Self, Failure> {
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: what is allocated is written before it is read.
        let start = checked("pinned allocation", unsafe {
            result::malloc_host(bytes.max(1), flags)
        })?;
        Ok(Self { start, bytes })
    }

    /// Its address, the same on host and device.
    pub fn address(&self) -> u64 {
        self.start.addr() as u64
    }

    /// Its bytes; nothing on the device may be writing to them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the whole allocation, initialised.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.bytes) }
    }

    /// Its bytes; nothing on the device may be writing to them.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the whole allocation, initialised, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.bytes) }
    }

    /// Word `index` of 32 bits, as it is now, while the device may write it.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn read_word(&self, index: usize) -> u32 {
        assert!(4 * (index + 1) <= self.bytes, "a word of pinned memory");
        // SAFETY: inside the allocation, which is aligned to a page.
        unsafe { self.start.cast::<u32>().add(index).read_volatile() }
    }

    /// Sets word `index` of 32 bits, for the device to see.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn write_word(&self, index: usize, value: u32) {
        assert!(4 * (index + 1) <= self.bytes, "a word of pinned memory");
        // SAFETY: inside the allocation, which is aligned to a page; the device reads whole words.
        unsafe { self.start.cast::<u32>().add(index).write_volatile(value) };
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for PinnedMemory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, freed once.
        let _ = unsafe { result::free_host(self.start) };
    }
}
