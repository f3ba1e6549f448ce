//! Events, and graphs captured from a stream.

use assay_protocol::Failure;
use cudarc::driver::result;
use cudarc::driver::sys;

use super::{Cuda, StreamRef, checked};

/// A moment on a stream.
#[derive(Debug)]
pub struct Event(sys::CUevent);

impl Event {
    /// An event that records when it came.
    pub fn new() -> Result<Self, Failure> {
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        checked("event", event).map(Self)
    }

    /// Enqueues it.
    pub fn record(&self, stream: StreamRef) -> Result<(), Failure> {
        // SAFETY: the event lives as long as `self`.
        checked("event", unsafe { result::event::record(self.0, stream.0) })
    }

    /// Waits until it has come.
    pub fn synchronize(&self) -> Result<(), Failure> {
        // SAFETY: the event is alive.
        checked("event", unsafe { result::event::synchronize(self.0) })
    }

    /// Whether it has come; also where it was never enqueued.
    pub fn has_come(&self) -> Result<bool, Failure> {
        // SAFETY: the event is alive.
        match unsafe { result::event::query(self.0) } {
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            other => checked("event", other).map(|()| true),
        }
    }

    /// Makes a stream wait for it.
    pub fn hold(&self, stream: StreamRef) -> Result<(), Failure> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and stream are alive.
        checked("wait", unsafe {
            result::stream::wait_event(stream.0, self.0, flags)
        })
    }

    /// Nanoseconds from `start`, which was recorded before on the same stream, to this one; both have come.
    pub fn since_ns(&self, start: &Self) -> Result<u64, Failure> {
        // SAFETY: both are alive.
        let ms = checked("elapsed time", unsafe {
            result::event::elapsed(start.0, self.0)
        })?;
        Ok((f64::from(ms) * 1e6).round() as u64)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// Work that was captured from a stream, ready to be launched again.
#[derive(Debug)]
pub struct Graph {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
}

impl Graph {
    /// Captures what `enqueue` puts on the device's stream.
    pub fn capture(
        cuda: &Cuda,
        enqueue: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        checked("graph capture", unsafe {
            result::stream::begin_capture(cuda.stream, mode)
        })?;
        let enqueued = enqueue();
        // SAFETY: the capture of this stream was begun above.
        let captured = checked("graph capture", unsafe {
            result::stream::end_capture(cuda.stream)
        });
        enqueued?;
        let graph = captured?;
        // SAFETY: the graph was just captured.
        let instance =
            unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
        match checked("graph", instance) {
            Ok(executable) => Ok(Self { graph, executable }),
            Err(failure) => {
                // SAFETY: the graph was captured above and is used by nothing.
                let _ = unsafe { result::graph::destroy(graph) };
                Err(failure)
            }
        }
    }

    /// Enqueues it.
    pub fn launch(&self, stream: StreamRef) -> Result<(), Failure> {
        // SAFETY: graph and stream are alive.
        checked("graph launch", unsafe {
            result::graph::launch(self.executable, stream.0)
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: both were made by `capture` and are destroyed once.
        unsafe {
            let _ = result::graph::exec_destroy(self.executable);
            let _ = result::graph::destroy(self.graph);
        }
    }
}
