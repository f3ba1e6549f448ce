//! Calls of the driver that a program makes between kernels: what one costs the host.
//!
//! | call         | one iteration                                                    |
//! |--------------|------------------------------------------------------------------|
//! | event-record | an event is enqueued                                             |
//! | event-sync   | an event is enqueued and waited for                              |
//! | event-wait   | a stream is made to wait for an event that has come              |
//! | stream-sync  | a stream is waited for that has nothing to do                    |

use assay_protocol::{DeviceKind, Failure, TimingMode, Work};

use super::workload::{Activity, Plan, SystemWorkload};
use crate::device::cuda::driver::{Cuda, Event};
use crate::ops::OpInfo;
use crate::parameters::{self, Arguments};
use crate::program::Checked;

/// Which call.
#[derive(Clone, Copy, Debug)]
enum Call {
    EventRecord,
    EventSync,
    EventWait,
    StreamSync,
}

const CALLS: &[(&str, Call)] = &[
    ("event-record", Call::EventRecord),
    ("event-sync", Call::EventSync),
    ("event-wait", Call::EventWait),
    ("stream-sync", Call::StreamSync),
];

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct DriverCall;

impl SystemWorkload for DriverCall {
    fn info(&self) -> OpInfo {
        let names: Vec<_> = CALLS.iter().map(|(name, _)| *name).collect();
        OpInfo {
            name: "driver-call",
            summary: "call of the driver between kernels: events and waiting",
            parameters: vec![parameters::choice("call", &names)],
            devices: &[DeviceKind::Cuda],
        }
    }

    fn timing(&self) -> &'static [TimingMode] {
        &[TimingMode::Host]
    }

    fn plan(&self, arguments: &Arguments, cuda: &Cuda) -> Result<Plan, Failure> {
        let call = arguments.choice("call", CALLS)?;
        let event = Event::new()?;
        event.record(cuda.stream())?;
        cuda.synchronize()?;
        let work = Work {
            items: Some(1),
            formula: "items = 1 call".into(),
            ..Work::default()
        };
        Ok(Plan {
            is_awaited: false,
            ..Plan::new(work, Calling { call, event })
        })
    }
}

struct Calling {
    call: Call,
    event: Event,
}

impl Activity for Calling {
    fn once(&mut self, cuda: &Cuda) -> Result<(), Failure> {
        match self.call {
            Call::EventRecord => self.event.record(cuda.stream()),
            Call::EventSync => {
                self.event.record(cuda.stream())?;
                self.event.synchronize()
            }
            Call::EventWait => self.event.hold(cuda.stream()),
            Call::StreamSync => cuda.synchronize(),
        }
    }

    fn judge(&mut self, _cuda: &Cuda) -> Result<Checked, Failure> {
        let has_come = self.event.has_come()?;
        Ok(Checked::exact(
            usize::from(!has_come),
            "1 if the stream is idle and its last event has not come",
        ))
    }
}
