//! Logins to registries, from Docker's own configuration: what `docker login` wrote there, or a helper that it names.
//!
//! Read anew for every use, so that a new login needs no restart. Nothing of a login reaches a message or a log: what a
//! helper or the library says is not passed on.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

/// The registry of names that name none, as Docker's configuration spells it.
const HUB: &str = "https://index.docker.io/v1/";

/// What a helper says when it has no login for a registry.
const NO_LOGIN: &str = "credentials not found";

/// The login for an image's registry; `None` where there is none, and in words why one cannot be used. `file` is a
/// `config.json`; where it is not given, the one of `DOCKER_CONFIG` or `~/.docker`. Blocks while a helper runs.
pub(super) fn login(image: &str, file: Option<&Path>) -> Result<Option<DockerCredentials>, String> {
    let Some(path) = file.map(Path::to_owned).or_else(usual_file) else { return Ok(None) };
    let mut reader = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("failed to read logins in `{}`: {error}", path.display())),
    };
    match reader.fill_buf() {
        // An empty file holds no logins.
        Ok([]) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(format!("failed to read logins in `{}`: {error}", path.display())),
    }
    let registry = registry(image);
    let found = match get_credential_from_reader(reader, registry) {
        Ok(found) => credentials(registry, found),
        Err(CredentialRetrievalError::NoCredentialConfigured) => return Ok(None),
        Err(CredentialRetrievalError::HelperFailure { stdout, .. }) if stdout.contains(NO_LOGIN) => return Ok(None),
        Err(error) => return Err(format!("no login for {registry} from `{}`: {}", path.display(), trouble(&error))),
    };
    if is_sendable(&found) {
        return Ok(Some(found));
    }
    Err(format!(
        "the login for {registry} cannot be sent to the engine: its password has one of > ? ~, or a letter beyond ASCII, \
         in a place where the engine does not read it; use another password or a token"
    ))
}

fn usual_file() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

/// The registry that an image's name leads to, as Docker's configuration spells it.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => HUB,
    }
}

fn credentials(registry: &str, found: DockerCredential) -> DockerCredentials {
    let mut credentials = DockerCredentials { serveraddress: Some(registry.to_owned()), ..Default::default() };
    match found {
        DockerCredential::IdentityToken(token) => credentials.identitytoken = Some(token),
        DockerCredential::UsernamePassword(name, password) => {
            credentials.username = Some(name);
            credentials.password = Some(password);
        }
    }
    credentials
}

/// What went wrong, without a word of what was read: the library's own texts quote helpers.
fn trouble(error: &CredentialRetrievalError) -> String {
    match error {
        CredentialRetrievalError::HelperFailure { helper, .. } => format!("`{helper}` failed"),
        CredentialRetrievalError::HelperCommunicationError => "the credential helper cannot be run".to_owned(),
        CredentialRetrievalError::MalformedHelperResponse => "the credential helper's answer cannot be read".to_owned(),
        CredentialRetrievalError::CredentialDecodingError => "its `auth` is not base64 of name:password".to_owned(),
        CredentialRetrievalError::CredentialMismatchError => "its `auth` differs from its name and password".to_owned(),
        CredentialRetrievalError::ConfigReadError | CredentialRetrievalError::ConfigNotFound => {
            "it is not what `docker login` writes".to_owned()
        }
        CredentialRetrievalError::NoCredentialConfigured => "there is none".to_owned(),
    }
}

/// Whether the engine can read what bollard sends: the one expects base64 for URLs, the other writes the common one, and
/// they differ in the last two of 64 digits. The engine then takes the login for none.
fn is_sendable(credentials: &DockerCredentials) -> bool {
    let json = serde_json::to_vec(credentials).unwrap_or_default();
    json.chunks(3).all(|three| {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        [18, 12, 6, 0].iter().all(|shift| bits >> shift & 63 < 62)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name and password for an image with this `config.json`.
    fn check(image: &str, config: &str) -> Result<Option<(String, String)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let found = login(image, Some(file.path()))?;
        Ok(found.map(|found| (found.username.unwrap_or_default(), found.password.unwrap_or_default())))
    }

    fn secret() -> Option<(String, String)> {
        Some(("me".to_owned(), "secret".to_owned()))
    }

    #[test]
    fn the_login_is_that_of_the_images_registry() {
        // "me:secret".
        let config = r#"{"auths":{"localhost:5000":{"auth":"bWU6c2VjcmV0"},"https://index.docker.io/v1/":{}}}"#;
        assert_eq!(check("localhost:5000/sas/x:1", config), Ok(secret()));
        assert_eq!(check("localhost:5001/sas/x:1", config), Ok(None));
        assert_eq!(check("sas/x:1", config), Ok(None));
        let hub = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2VjcmV0"}}}"#;
        for image in ["debian", "sas/x:1", "docker.io/sas/x@sha256:ab"] {
            assert_eq!(check(image, hub), Ok(secret()), "{image}");
        }
        assert_eq!(check("registry.example/x", hub), Ok(None));
        assert_eq!(check("registry.example/x", ""), Ok(None));
        assert_eq!(login("x", Some(Path::new("/nowhere/config.json"))).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_secret() {
        for (config, word) in [
            ("secret", "not what `docker login` writes"),
            (r#"{"auths":{"r.example":{"auth":"secret"}}}"#, "not base64"),
            (r#"{"credHelpers":{"r.example":"no-such-helper"}}"#, "cannot be run"),
            (r#"{"auths":{"r.example":{"username":"me","password":"secret>>>"}}}"#, "another password"),
        ] {
            let said = check("r.example/x", config).unwrap_err();
            assert!(said.contains(word) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_failing_helper_is_named_and_not_quoted() {
        let [helper, stdout, stderr] = ["docker-credential-x", "secret", "secret"].map(str::to_owned);
        let said = trouble(&CredentialRetrievalError::HelperFailure { helper, stdout, stderr });
        assert_eq!(said, "`docker-credential-x` failed");
    }
}
