//! Identities of images, fixed for a run by the worker that needs one first.

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::{Store, StoreError, names_in, paths, read_json, to_json};
use domain::id::{ImageIdentity, RunId};

#[derive(Debug, Serialize, Deserialize)]
struct ImageFile {
    /// What the runner that asked calls the program: an image's name, or a command in words.
    image: String,
    identity: ImageIdentity,
}

impl Store {
    /// The identity that a subject, mostly an image's name, stands for in a run; `None` when nobody resolved it yet.
    pub fn image_identity(&self, run: RunId, subject: &str) -> Result<Option<ImageIdentity>, StoreError> {
        Ok(read_json::<ImageFile>(&self.at(paths::image(run, subject)))?.map(|file| file.identity))
    }

    /// Whether any identity is fixed in a run; before that no module of it begins.
    pub fn has_image_identities(&self, run: RunId) -> Result<bool, StoreError> {
        Ok(!names_in(&self.at(paths::images(run)))?.is_empty())
    }

    /// Fixes the identity of a subject for a run; returns the one on record, which is what the first caller said.
    pub fn fix_image_identity(
        &self,
        run: RunId,
        subject: &str,
        identity: &ImageIdentity,
    ) -> Result<ImageIdentity, StoreError> {
        let file = ImageFile { image: subject.to_owned(), identity: identity.clone() };
        durable::create(&self.at(paths::image(run, subject)), &self.beside(), &to_json(&file))?;
        self.image_identity(run, subject)?
            .ok_or_else(|| StoreError::NotFound { what: format!("identity of {subject}") })
    }
}
