//! How a site presents itself, as it is used: settings with what they name.

use std::fs;
use std::ops::Deref;
use std::path::Path;

use crate::error::ReportError;
use crate::model::SiteSettings;
use crate::templates::{SCRIPT, Templates};

/// Endings of files that browsers show as images.
const IMAGES: [&str; 6] = ["svg", "png", "webp", "jpg", "jpeg", "gif"];

/// Settings of a site, its templates and its logo.
pub struct Presentation<'a> {
    settings: &'a SiteSettings,
    /// What pages are made with.
    pub templates: Templates,
    /// Name of the logo's file in the site; empty where there is none.
    pub logo: String,
    stylesheet: String,
}

impl<'a> Presentation<'a> {
    /// Reads what the settings name.
    pub fn of(settings: &'a SiteSettings) -> Result<Self, ReportError> {
        let (templates, stylesheet) = Templates::new(settings.templates.as_deref())?;
        Ok(Self {
            logo: settings.logo.as_deref().map_or(Ok(String::new()), logo)?,
            settings,
            templates,
            stylesheet,
        })
    }

    /// Writes stylesheet, script and logo; returns their bytes.
    pub fn write(&self, root: &Path) -> Result<u64, ReportError> {
        let mut bytes = 0;
        for (name, text) in [
            ("assay.css", self.stylesheet.as_str()),
            ("assay.js", SCRIPT),
        ] {
            let path = root.join(name);
            fs::write(&path, text).map_err(ReportError::io("write", &path))?;
            bytes += text.len() as u64;
        }
        if let Some(logo) = &self.settings.logo {
            let to = root.join(&self.logo);
            bytes += fs::copy(logo, &to).map_err(ReportError::io("copy the logo", logo))?;
        }
        Ok(bytes)
    }
}

impl Deref for Presentation<'_> {
    type Target = SiteSettings;

    fn deref(&self) -> &SiteSettings {
        self.settings
    }
}

fn logo(path: &Path) -> Result<String, ReportError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.map(str::to_ascii_lowercase).unwrap_or_default();
    if !IMAGES.contains(&ending.as_str()) {
        return Err(ReportError::Logo { path: path.into() });
    }
    Ok(format!("logo.{ending}"))
}
