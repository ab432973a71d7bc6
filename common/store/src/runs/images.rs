//! Identities of images, fixed for a run by the worker that needs one first.

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::{Store, StoreError, paths, read_json, to_json};
use domain::id::RunId;

#[derive(Debug, Serialize, Deserialize)]
struct ImageFile {
    image: String,
    identity: String,
}

impl Store {
    /// The identity that an image's name stands for in a run; `None` when nobody resolved it yet.
    pub fn image_identity(&self, run: RunId, image: &str) -> Result<Option<String>, StoreError> {
        Ok(read_json::<ImageFile>(&self.at(paths::image(run, image)))?.map(|file| file.identity))
    }

    /// Fixes the identity of an image for a run; returns the one on record, which is what the first caller said.
    pub fn fix_image_identity(&self, run: RunId, image: &str, identity: &str) -> Result<String, StoreError> {
        let file = ImageFile { image: image.to_owned(), identity: identity.to_owned() };
        durable::create(&self.at(paths::image(run, image)), &self.beside(), &to_json(&file))?;
        self.image_identity(run, image)?.ok_or_else(|| StoreError::NotFound { what: format!("identity of {image}") })
    }
}
