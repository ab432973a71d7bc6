//! Images: which one a name stands for, and how it comes to this host.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptionsBuilder, TagImageOptionsBuilder};
use domain::id::{ImageIdentity, ImageName};
use futures::TryStreamExt;

use super::super::{Program, RunnerError, identity_of};
use super::login::login;
use super::{DockerRunner, container, engine};

/// How long a registry has to say what a name stands for.
const ASKING: Duration = Duration::from_secs(20);

impl DockerRunner {
    /// What `image` stands for now: its digest in its registry if it is of one, else what it is on this host. Where the
    /// registry does not answer, the image that is here serves.
    pub(super) async fn identify_image(&self, image: &ImageName) -> Result<ImageIdentity, RunnerError> {
        let here = self.inspect(image.as_str()).await?;
        if let Some(found) = &here {
            // A name with a digest always stands for the same; what was built or loaded here is in no registry.
            let is_fixed = image.as_str().contains('@') || own_digest(image, found).is_none();
            if is_fixed || !self.config.pull {
                return identity(image, found);
            }
        }
        match (self.ask_registry(image).await, here) {
            (Ok(digest), Some(found)) if own_digest(image, &found).is_some_and(|own| own.ends_with(&digest)) => {
                identity(image, &found)
            }
            (Ok(digest), _) => identity_of(&format!("{}@{digest}", repository(image.as_str()))),
            (Err(reason), Some(found)) => {
                tracing::warn!(%image, reason, "the registry cannot be asked; what this host has of the image serves");
                identity(image, &found)
            }
            (Err(reason), None) => Err(self.missing(image, &reason)),
        }
    }

    /// Brings exactly the image that a program has in its run to this host.
    pub(super) async fn bring(&self, program: &Program, identity: &ImageIdentity) -> Result<(), RunnerError> {
        if self.inspect(identity.as_str()).await?.is_some() {
            return Ok(());
        }
        let image = &program.image;
        // An identity without repository is an image ID, which no registry knows.
        let pulled = self.pull(if identity.as_str().contains('@') { identity.as_str() } else { image.as_str() }).await;
        if self.inspect(identity.as_str()).await?.is_some() {
            self.name(image, identity).await;
            return Ok(());
        }
        let here = match self.inspect(image.as_str()).await? {
            Some(found) => format!("here it is {}", super::image::identity(image, &found)?),
            None => pulled.err().unwrap_or_else(|| "the engine pulled it and does not have it".to_owned()),
        };
        Err(self.missing(image, &format!("in this run it is {identity}; {here}")))
    }

    /// What a label of an image says; the image is brought to this host where it is not.
    pub async fn label(&self, image: &ImageName, label: &str) -> Result<Option<String>, RunnerError> {
        let found = match self.inspect(image.as_str()).await? {
            Some(found) => found,
            None => {
                let pulled = self.pull(image.as_str()).await;
                let found = self.inspect(image.as_str()).await?;
                found.ok_or_else(|| self.missing(image, &pulled.err().unwrap_or_default()))?
            }
        };
        let labels = found.config.and_then(|config| config.labels);
        Ok(labels.and_then(|mut labels| labels.remove(label)))
    }

    /// What the engine knows of an image on this host, by its name or its identity; one that no module may have is refused.
    pub(super) async fn inspect(&self, reference: &str) -> Result<Option<ImageInspect>, RunnerError> {
        match self.docker.inspect_image(reference).await {
            Ok(found) => {
                let found = without_volumes(reference, found)?;
                for_this_processor(reference, &found, &self.processor).map(|()| Some(found))
            }
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(engine("inspect an image", &error)),
        }
    }

    /// The digest that an image has in its registry now; nothing is pulled. The error is the reason in words.
    pub(super) async fn ask_registry(&self, image: &ImageName) -> Result<String, String> {
        let name = with_tag(image.as_str());
        let asked = async {
            let login = self.login(image.as_str()).await?;
            self.docker.inspect_registry_image(&name, login).await.map_err(|error| error.to_string())
        };
        match self.with_registry(ASKING, asked).await?.descriptor.digest {
            Some(digest) => Ok(digest),
            None => Err("the registry says no digest of it".to_owned()),
        }
    }

    /// Pulls an image by its name or its identity; the error is the reason in words.
    async fn pull(&self, reference: &str) -> Result<(), String> {
        let options = CreateImageOptionsBuilder::default().from_image(&with_tag(reference)).build();
        let pulled = async {
            let progress = self.docker.create_image(Some(options), None, self.login(reference).await?);
            progress.try_for_each(|_| async { Ok(()) }).await.map_err(|error| error.to_string())
        };
        self.with_registry(self.config.pull_timeout, pulled).await
    }

    /// Something that a registry is needed for.
    async fn with_registry<T>(
        &self,
        patience: Duration,
        what: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        if !self.config.pull {
            return Err("pulling is switched off ([docker] pull)".to_owned());
        }
        match tokio::time::timeout(patience, what).await {
            Ok(done) => done,
            Err(_) => Err(format!("the registry did not deliver within {} s", patience.as_secs())),
        }
    }

    async fn login(&self, reference: &str) -> Result<Option<DockerCredentials>, String> {
        let (reference, file) = (reference.to_owned(), self.config.logins.clone());
        let login = tokio::task::spawn_blocking(move || login(&reference, file.as_deref())).await;
        login.map_err(|error| format!("the login could not be read: {error}"))?
    }

    /// Gives what was pulled by its digest the image's name, by which it is found when the registry is away.
    async fn name(&self, image: &ImageName, identity: &ImageIdentity) {
        let tag = with_tag(image.as_str());
        let Some((repository, tag)) = tag.rsplit_once(':').filter(|_| !image.as_str().contains('@')) else { return };
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        if let Err(error) = self.docker.tag_image(identity.as_str(), Some(options)).await {
            tracing::debug!(%image, %error, "the image has no name on this host");
        }
    }

    fn missing(&self, image: &ImageName, reason: &str) -> RunnerError {
        RunnerError::ImageMissing(format!(
            "image `{image}` is not on host {host} and cannot be pulled ({reason}); \
             bring it there with `docker pull`, or from another host with `docker save {image} | ssh {host} docker load`",
            host = self.owner.host
        ))
    }
}

/// Refuses an image with volumes besides what is mounted anyway: each is a directory of the host that a module could fill.
fn without_volumes(reference: &str, found: ImageInspect) -> Result<ImageInspect, RunnerError> {
    let volumes = found.config.as_ref().and_then(|config| config.volumes.as_ref());
    match volumes.into_iter().flatten().find(|path| !container::is_mounted(path)) {
        None => Ok(found),
        Some(path) => Err(RunnerError::Refused(format!(
            "image `{}` has the volume {path}, which a module could write without limit: build it without VOLUME {path}; \
             modules write to /sas/out and /tmp",
            found.repo_tags.iter().flatten().next().map_or(reference, String::as_str)
        ))),
    }
}

/// A processor as images name it, where the kernel has a name of its own for it.
pub(super) fn processor(of_kernel: &str) -> &str {
    match of_kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv8l" | "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Whether programs for one processor run on a host of this one, as far as that is known.
pub(super) fn runs_on(of_program: &str, host: &str) -> bool {
    host.is_empty() || of_program == host || [("386", "amd64"), ("arm", "arm64")].contains(&(of_program, host))
}

/// Refuses an image whose programs are, as it says, for another processor than the engine's host has.
fn for_this_processor(reference: &str, found: &ImageInspect, host: &str) -> Result<(), RunnerError> {
    let of_image = found.architecture.as_deref().unwrap_or_default();
    if of_image.is_empty() || runs_on(of_image, host) {
        return Ok(());
    }
    Err(RunnerError::Refused(format!(
        "image `{}` is for {of_image} and this host is {host}: build it for {host}, or for both (`docker buildx build --platform`)",
        found.repo_tags.iter().flatten().next().map_or(reference, String::as_str)
    )))
}

pub(super) fn identity(image: &ImageName, found: &ImageInspect) -> Result<ImageIdentity, RunnerError> {
    let mut digests = found.repo_digests.clone().unwrap_or_default();
    digests.sort();
    let own = own_digest(image, found);
    let text = own.or(digests.first()).or(found.id.as_ref()).ok_or_else(|| RunnerError::Engine {
        doing: "inspect an image",
        reason: format!("it says neither digest nor ID of `{image}`"),
    })?;
    identity_of(text)
}

/// The digest that an image has in the repository of this name; none where it never was there.
fn own_digest<'a>(image: &ImageName, found: &'a ImageInspect) -> Option<&'a String> {
    let repository = repository(image.as_str());
    found.repo_digests.iter().flatten().find(|digest| digest.split('@').next() == Some(repository))
}

/// An image's name without tag and digest, short as the engine shows it.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    let hub = name.strip_prefix("docker.io/").or(name.strip_prefix("index.docker.io/"));
    let name = hub.map_or(name, |name| name.strip_prefix("library/").unwrap_or(name));
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => name,
    }
}

/// An image's name that stands for one image: the engine would pull all tags of a bare one.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_the_name_without_tag_and_digest() {
        for (image, expected) in [
            ("sas/reference:1", "sas/reference"),
            ("localhost:5000/sas/x", "localhost:5000/sas/x"),
            ("localhost:5000/sas/x:2.1", "localhost:5000/sas/x"),
            ("localhost:5000/sas/x@sha256:ab", "localhost:5000/sas/x"),
            ("docker.io/library/debian:12", "debian"),
            ("docker.io/sas/x", "sas/x"),
        ] {
            assert_eq!(repository(image), expected);
        }
        assert_eq!(with_tag("localhost:5000/x"), "localhost:5000/x:latest");
        assert_eq!(with_tag("docker.io/x"), "docker.io/x:latest");
        assert_eq!(with_tag("x:1"), "x:1");
    }

    #[test]
    fn an_image_for_another_processor_is_refused_by_name() {
        let check = |image: &str, host| {
            let found = ImageInspect { architecture: Some(image.to_owned()), ..Default::default() };
            for_this_processor("x:1", &found, host).map_err(|error| error.to_string())
        };
        for (image, host) in [("amd64", "amd64"), ("386", "amd64"), ("arm", "arm64"), ("", "amd64"), ("arm64", "")] {
            assert_eq!(check(image, host), Ok(()), "{image} on {host}");
        }
        assert!(check("arm64", "amd64").unwrap_err().contains("image `x:1` is for arm64 and this host is amd64"));
    }

    #[test]
    fn a_repository_digest_comes_before_the_image_id() {
        let found = |digests: &[&str]| ImageInspect {
            id: Some("sha256:id".to_owned()),
            repo_digests: Some(digests.iter().map(|digest| (*digest).to_owned()).collect()),
            ..Default::default()
        };
        let is = |digests: &[&str]| identity(&"b/x:1".parse().unwrap(), &found(digests)).unwrap().to_string();
        assert_eq!(is(&[]), "sha256:id");
        assert_eq!(is(&["a/x@sha256:1", "b/x@sha256:2"]), "b/x@sha256:2");
        assert_eq!(is(&["a/x@sha256:1"]), "a/x@sha256:1");
    }
}
