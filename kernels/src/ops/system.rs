//! What the system around kernels costs: launches, fusion, occupancy; and, as workloads of their own since they are
//! no programs of kernels, transfers, their overlap with kernels, managed memory, allocation, and calls of the driver.

mod allocation;
mod call;
mod chain;
mod launch;
mod managed;
mod occupancy;
mod overlap;
mod transfer;
mod workload;

pub use chain::FusionChain;
pub use launch::Launches;
pub use occupancy::OccupancySweep;
pub use workload::{Entry, SystemWorkload};

/// Every workload of this family that is no program of kernels.
pub const WORKLOADS: &[&dyn SystemWorkload] = &[
    &transfer::Transfer,
    &overlap::Overlap,
    &managed::Managed,
    &allocation::Allocation,
    &call::DriverCall,
];
