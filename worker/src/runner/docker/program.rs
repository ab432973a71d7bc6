//! The program of a container that was made and is not started: for which processor it is, by its own first bytes. What an image
//! says of itself may be wrong: `FROM scratch` and a program that was built elsewhere is labelled like the host that built it.
//!
//! What cannot be found out is left to the start.

use std::io::Read;
use std::path::{Path, PathBuf};

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, InspectContainerOptions};
use domain::id::ImageName;
use futures::StreamExt;
use tar::Archive;

use super::super::RunnerError;
use super::{DockerRunner, image};

/// Links and interpreters that are followed at most.
const LINKS: usize = 16;

/// Bytes of an archive that are read: headers, and the beginning of a file.
const HEAD: usize = 8 << 10;

/// Where programs are looked for when nothing else is said.
const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an archive says first.
#[derive(Debug, PartialEq, Eq)]
enum ProgramFile {
    /// A link to there.
    Link(PathBuf),
    /// A file that begins so.
    File(Vec<u8>),
}

impl DockerRunner {
    /// Refuses a container whose program is for another processor than this host has.
    pub(super) async fn look_at_program(&self, container: &str, image: &ImageName) -> Result<(), RunnerError> {
        match self.processor_of(container).await {
            Some(of_program) if !image::runs_on(of_program, &self.processor) => {
                Err(RunnerError::Refused(refusal(image, of_program, &self.processor)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// For which processor a container's program is.
    async fn processor_of(&self, container: &str) -> Option<&'static str> {
        let found = self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let (program, config) = (found.path?, found.config.unwrap_or_default());
        for place in places(&program, config.working_dir.as_deref(), &config.env.unwrap_or_default()) {
            if let Some(head) = self.head(container, place).await {
                return processor(&head);
            }
        }
        None
    }

    /// How a file begins that a program is in: at the end of links, and with its interpreter in the place of a script.
    async fn head(&self, container: &str, mut path: PathBuf) -> Option<Vec<u8>> {
        for _ in 0..LINKS {
            match read(&self.archive(container, &path).await?)? {
                ProgramFile::Link(to) => path = path.parent()?.join(to),
                ProgramFile::File(head) => match interpreter(&head) {
                    Some(interpreter) => path = interpreter,
                    None => return Some(head),
                },
            }
        }
        None
    }

    /// The first bytes of an archive of what is at `path`.
    async fn archive(&self, container: &str, path: &Path) -> Option<Vec<u8>> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path.to_str()?).build();
        let mut chunks = Box::pin(self.docker.download_from_container(container, Some(options)));
        let mut head = Vec::new();
        while head.len() < HEAD {
            match chunks.next().await {
                Some(chunk) => head.extend_from_slice(&chunk.ok()?),
                None => break,
            }
        }
        Some(head)
    }
}

/// That an image's program is for another processor.
fn refusal(image: &ImageName, of_program: &str, host: &str) -> String {
    format!(
        "the program of image `{image}` is for {of_program} and this host is {host}: build it for {host}, or for both (`docker \
         buildx build --platform`)"
    )
}

/// Where a program may be that a container is to start.
fn places(program: &str, directory: Option<&str>, environment: &[String]) -> Vec<PathBuf> {
    let root = Path::new("/");
    if program.contains('/') {
        return vec![root.join(directory.unwrap_or_default()).join(program)];
    }
    let searched = environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    searched.unwrap_or(SEARCHED).split(':').map(|folder| root.join(folder).join(program)).collect()
}

/// What an archive says first, of which this is the beginning.
fn read(archive: &[u8]) -> Option<ProgramFile> {
    let mut archive = Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let kind = entry.header().entry_type();
    if kind.is_symlink() {
        return Some(ProgramFile::Link(entry.link_name().ok()??.into_owned()));
    }
    let mut head = Vec::new();
    // A long file ends in its middle here.
    let _ = entry.read_to_end(&mut head);
    kind.is_file().then_some(ProgramFile::File(head))
}

/// The interpreter that a script names.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let path = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    path.starts_with('/').then(|| path.into())
}

/// For which processor a program is, as images name processors.
fn processor(head: &[u8]) -> Option<&'static str> {
    let (b"\x7fELF", [_, order, ..]) = (head.get(..4)?, head.get(4..)?) else { return None };
    let machine: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    Some(match if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) } {
        3 => "386",
        21 => "ppc64le",
        22 => "s390x",
        40 => "arm",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tar::{Builder, EntryType, Header};

    use super::*;

    /// An archive of one entry.
    fn archive(kind: EntryType, path: &str, content: &[u8], link: &str) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        let mut archive = Builder::new(Vec::new());
        if kind.is_symlink() {
            archive.append_link(&mut header, path, link).unwrap();
        } else {
            archive.append_data(&mut header, path, content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn what_an_archive_holds_is_found_behind_what_adds_to_it() {
        let long = "long/".repeat(60);
        for path in ["x", &long[..]] {
            let link = archive(EntryType::Symlink, path, b"", "../lib/sh");
            assert_eq!(read(&link), Some(ProgramFile::Link("../lib/sh".into())));
            let file = archive(EntryType::Regular, path, b"abc", "");
            assert_eq!(read(&file), Some(ProgramFile::File(b"abc".to_vec())));
        }
        let file = archive(EntryType::Regular, "x", &[7; 10_000], "");
        assert_eq!(read(&file[..HEAD]), Some(ProgramFile::File(vec![7; HEAD - 512])), "the rest was not asked for");
        assert_eq!(read(&archive(EntryType::Directory, "x", b"", "")), None);
        assert_eq!(read(b"short"), None);
    }

    #[test]
    fn a_program_says_for_which_processor_it_is() {
        let elf = |order, machine: [u8; 2]| [&b"\x7fELF\x02"[..], &[order], &[0; 12], &machine].concat();
        assert_eq!(processor(&elf(1, [0xb7, 0])), Some("arm64"));
        assert_eq!(processor(&elf(1, [0x3e, 0])), Some("amd64"));
        assert_eq!(processor(&elf(2, [0, 0x16])), Some("s390x"));
        assert_eq!(processor(&elf(1, [0xff, 0xff])), None);
        assert_eq!(processor(b"\x7fELF"), None);
        assert_eq!(processor(b"#!/bin/sh\n"), None);
        assert_eq!(interpreter(b"#! /usr/bin/env python3\nx"), Some("/usr/bin/env".into()));
        assert_eq!((interpreter(b"#!sh\n"), interpreter(b"#!\n"), interpreter(b"")), (None, None, None));
    }

    #[test]
    fn a_program_is_looked_for_as_the_engine_does_it() {
        let found = |program, directory, environment: &[&str]| {
            let environment: Vec<String> = environment.iter().map(|variable| (*variable).to_owned()).collect();
            let places = places(program, directory, &environment);
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("/bin/x", Some("/srv"), &[]), ["/bin/x"]);
        assert_eq!(found("./x", Some("/srv"), &[]), ["/srv/./x"]);
        assert_eq!(found("x", Some("/srv"), &["A=1", "PATH=/a:/b"]), ["/a/x", "/b/x"]);
        assert_eq!(found("x", None, &[]).len(), 6);
    }
}
