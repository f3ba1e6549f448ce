//! Critical errors that GPUs report by themselves (Xid), heard on a thread for each GPU: waiting for
//! the next one blocks.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nvml_wrapper::EventSet;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;

use super::{Meter, Shared, monotonic_ns};
use crate::gpu::{Gpus, reading};
use crate::reading::{Gap, Reading};

/// Something that went wrong on a GPU, of which it told by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// `CLOCK_MONOTONIC` when it was heard, in nanoseconds.
    pub at_ns: u64,
    /// Number of the GPU.
    pub gpu: u32,
    /// What happened, in words.
    pub text: String,
}

/// How long one wait lasts, and so how long ending the thread may take.
const WAIT: Duration = Duration::from_millis(200);

/// The body of the thread that listens to one GPU, until it is stopped or the GPU answers no more.
pub(super) fn listen(gpus: &Gpus, gpu: u32, shared: &Shared, stopped: &mpsc::Receiver<()>) {
    let set = match events_of(gpus, gpu) {
        Ok(set) => set,
        // What a machine never offered is no news.
        Err(Gap::Unsupported) => return,
        Err(gap) => return shared.note(format!("no errors of GPU {gpu} are heard: {gap}")),
    };
    let mut meter = Meter::default();
    loop {
        let begun = Instant::now();
        match set.wait(WAIT.as_millis() as u32) {
            Ok(event) => shared.lock().incidents.push(Incident {
                at_ns: monotonic_ns(),
                gpu,
                text: words(event.event_data.as_ref()),
            }),
            Err(NvmlError::Timeout) => {}
            Err(error) => {
                return shared.note(format!("errors of GPU {gpu} are heard no more: {error}"));
            }
        }
        meter.charge(shared);
        // A driver that does not wait must not keep this thread busy.
        let rest = WAIT.saturating_sub(begun.elapsed());
        if stopped.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn events_of(gpus: &Gpus, gpu: u32) -> Reading<EventSet<'_>> {
    let Gpus::Nvml(nvml) = gpus else {
        return Err(Gap::Unsupported);
    };
    let device = reading(nvml.device_by_index(gpu))?;
    let wanted = EventTypes::CRITICAL_XID_ERROR;
    if !reading(device.supported_event_types())?.contains(wanted) {
        return Err(Gap::Unsupported);
    }
    let set = reading(nvml.create_event_set())?;
    reading(
        device
            .register_events(wanted, set)
            .map_err(|error| error.error),
    )
}

/// What the commoner numbers stand for, from NVIDIA's list of Xid errors.
const MEANINGS: &[(u64, &str)] = &[
    (
        13,
        "a kernel made an illegal access, or had an illegal instruction",
    ),
    (31, "a kernel accessed memory that is not mapped"),
    (43, "a kernel was stopped for an error of its own"),
    (45, "the channels of a process were taken down"),
    (48, "an uncorrectable memory error"),
    (61, "the GPU's own processor stopped"),
    (62, "the GPU's own processor halted"),
    (63, "a memory row was remapped"),
    (64, "a memory row could not be remapped"),
    (74, "an NVLink error"),
    (79, "it has fallen off the bus"),
    (92, "many corrected memory errors"),
    (94, "a contained memory error"),
    (95, "an uncontained memory error"),
    (119, "the GPU's system processor does not answer"),
    (120, "the GPU's system processor failed"),
];

fn words(error: Option<&XidError>) -> String {
    let Some(XidError::Value(number)) = error else {
        return "reported an error without a number (Xid)".to_owned();
    };
    let meaning = MEANINGS.iter().find(|(known, _)| known == number);
    let meaning = meaning.map_or(String::new(), |(_, words)| format!(": {words}"));
    format!("reported Xid {number}{meaning}")
}

#[cfg(test)]
mod tests {
    use nvml_wrapper::enums::event::XidError;

    use super::words;

    #[test]
    fn errors_are_named_where_their_number_is_known() {
        let said = |number| words(Some(&XidError::Value(number)));
        assert_eq!(said(79), "reported Xid 79: it has fallen off the bus");
        assert_eq!(said(7), "reported Xid 7");
        assert!(words(Some(&XidError::Unknown)).contains("without a number"));
    }
}
