//! How a site presents itself, as it is used: settings with what they name.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::Path;

use assay_protocol::Digest;

use crate::error::ReportError;
use crate::keys;
use crate::model::SiteSettings;
use crate::previous::File;
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
    /// What the logo's file holds.
    image: Vec<u8>,
}

impl<'a> Presentation<'a> {
    /// Reads what the settings name.
    pub fn of(settings: &'a SiteSettings) -> Result<Self, ReportError> {
        let (templates, stylesheet) = Templates::new(settings.templates.as_deref())?;
        let logo = settings.logo.as_deref().map(logo).transpose()?;
        let (logo, image) = logo.unwrap_or_default();
        Ok(Self {
            settings,
            templates,
            logo,
            stylesheet,
            image,
        })
    }

    /// Writes stylesheet, script and logo; returns what was written.
    pub fn write(&self, root: &Path) -> Result<BTreeMap<String, File>, ReportError> {
        let mut files = BTreeMap::new();
        let mut write = |name: &str, content: &[u8]| {
            let path = root.join(name);
            fs::write(&path, content).map_err(ReportError::io("write", &path))?;
            files.insert(name.to_owned(), File::of(content));
            Ok::<(), ReportError>(())
        };
        write("assay.css", self.stylesheet.as_bytes())?;
        write("assay.js", SCRIPT.as_bytes())?;
        if !self.logo.is_empty() {
            write(&self.logo, &self.image)?;
        }
        Ok(files)
    }

    /// Digest over all of it, and over the code that pages are made by.
    pub fn digest(&self) -> Digest {
        let SiteSettings {
            title,
            base,
            logo: _,
            commit_link,
            templates: _,
            publish_source,
            newest_records,
        } = self.settings;
        let texts = [title, base, commit_link, &self.logo];
        let texts = texts.map(|text| format!("{}:{text}", text.len()));
        let digests = [
            Digest::of(&self.image),
            Digest::of(&self.stylesheet),
            self.templates.digest,
        ];
        let code = keys::CODE;
        let made_of = format!("{code} {texts:?} {digests:?} {publish_source} {newest_records}");
        Digest::of(made_of)
    }
}

impl Deref for Presentation<'_> {
    type Target = SiteSettings;

    fn deref(&self) -> &SiteSettings {
        self.settings
    }
}

/// Name and content of the logo's file.
fn logo(path: &Path) -> Result<(String, Vec<u8>), ReportError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.map(str::to_ascii_lowercase).unwrap_or_default();
    if !IMAGES.contains(&ending.as_str()) {
        return Err(ReportError::Logo { path: path.into() });
    }
    let content = fs::read(path).map_err(|source| ReportError::NoLogo {
        path: path.into(),
        source,
    })?;
    Ok((format!("logo.{ending}"), content))
}
