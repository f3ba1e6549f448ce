//! Everything that the built-in worker can run, one line each.

use std::sync::OnceLock;

use assay_protocol::Catalog;

use crate::synthetic::items::workload::MakeItems;
use crate::synthetic::workload::Synthesis;
use crate::training::autoencoder::workload::TrainVae;
use crate::training::batches::FindBatch;
use crate::training::convnet::workload::TrainCnn;
use crate::training::language::TrainLm;
use crate::training::perceptron::TrainMlp;
use crate::{command, faults, spin};

/// Workloads of this crate; the ops of `assay-kernels` come before them.
const OWN: &[&dyn Catalog] = &[
    &command::PlainCommand,
    &assay_kernels::user::UserKernel,
    &spin::Spin,
    &Synthesis::Fit,
    &Synthesis::Rows,
    &Synthesis::Table,
    &MakeItems,
    &TrainLm,
    &TrainMlp,
    &TrainCnn,
    &TrainVae,
    &FindBatch,
    &faults::Fault,
];

/// Every workload of the built-in worker.
pub fn catalog() -> &'static [&'static dyn Catalog] {
    static ALL: OnceLock<Vec<&'static dyn Catalog>> = OnceLock::new();
    ALL.get_or_init(|| [assay_kernels::catalog(), OWN].concat())
}
