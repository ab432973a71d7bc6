//! Whether the engine sees the same files as this process. A worker that itself runs in a container hands the engine paths;
//! they must mean the same on the engine's host as in the container.

use std::path::Path;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, ListImagesOptions};
use store::presence::SignOfLife;

use super::super::RunnerError;
use super::{DockerRunner, container, end, engine};

/// What the engine says of a mount whose source its host does not have.
pub(super) const NO_SOURCE: &str = "bind source path does not exist";

impl DockerRunner {
    /// Refuses an engine whose host does not have the directory `folder`, or has another in its place: a container that
    /// mounts a directory just made in it can be created, or it cannot. Nothing is started.
    pub async fn probe(&self, folder: &Path) -> Result<(), RunnerError> {
        let directory = |source| RunnerError::Directory { doing: "write to", path: folder.to_owned(), source };
        let prefix = format!("{}-probe-", self.owner.host);
        let fresh = tempfile::Builder::new().prefix(&prefix).tempdir_in(folder).map_err(directory)?;
        // Where the store goes away meanwhile it stays behind, and is swept like what other dead owners left.
        let _presence = SignOfLife::show(fresh.path()).map_err(directory)?;
        let images = self.docker.list_images(None::<ListImagesOptions>).await;
        let any = images.map_err(|error| engine("list images", &error))?.into_iter().next();
        let name = format!("sas-probe-{}", uuid::Uuid::new_v4());
        let body = ContainerCreateBody {
            // Mounts are looked at before images are: without any image the answer is that there is none.
            image: Some(any.map_or_else(|| "sas/none".to_owned(), |image| image.id)),
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(container::owned(&self.owner)),
            host_config: Some(HostConfig {
                mounts: Some(vec![container::mount(fresh.path(), "/probe", true)]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        match self.docker.create_container(Some(options), body).await {
            Ok(_) => end::remove(&self.docker, &name).await,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            Err(Error::DockerResponseServerError { message, .. }) if message.contains(NO_SOURCE) => {
                let reason = format!(
                    "the engine's host does not have `{}`: a worker in a container must see the store at the same \
                     absolute path as that host (in compose.yaml SAS_STORE)",
                    fresh.path().display()
                );
                Err(RunnerError::Engine { doing: "find the store", reason })
            }
            Err(error) => Err(engine("create a container that shows the store", &error)),
        }
    }
}
