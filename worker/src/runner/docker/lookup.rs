//! Where an image is, without bringing it here: for reports to operators.

use domain::id::{ImageIdentity, ImageName};

use super::image::identity;
use super::{DockerRunner, RunnerError};

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundImage {
    /// On this host, with this identity.
    Here(ImageIdentity),
    /// In its registry, which lets this host have it.
    InRegistry,
    /// Nowhere that this host knows; why, in words.
    Nowhere(String),
}

impl DockerRunner {
    /// Looks for an image on this host, then in its registry.
    pub async fn look_for(&self, image: &ImageName) -> Result<FoundImage, RunnerError> {
        if let Some(found) = self.inspect(image.as_str()).await? {
            return Ok(FoundImage::Here(identity(image, &found)?));
        }
        Ok(match self.ask_registry(image).await {
            Ok(_) => FoundImage::InRegistry,
            Err(reason) => FoundImage::Nowhere(reason),
        })
    }
}
