//! A fingerprint that is being filled in.

use assay_record::{Fingerprint, Section, Timestamp};

use crate::reading::IntoField;

/// One part of a fingerprint that is being filled in.
#[derive(Default)]
pub(crate) struct Sheet(Section);

impl Sheet {
    /// Notes what came of reading `name`.
    pub(crate) fn put(&mut self, name: impl Into<String>, value: impl IntoField) {
        self.0.insert(name.into(), value.into_field());
    }
}

/// The four parts.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) hardware: Sheet,
    pub(crate) software: Sheet,
    pub(crate) settings: Sheet,
    pub(crate) volatile: Sheet,
}

impl Parts {
    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint {
            taken: Timestamp::now(),
            hardware: self.hardware.0,
            software: self.software.0,
            settings: self.settings.0,
            volatile: self.volatile.0,
        }
    }
}
