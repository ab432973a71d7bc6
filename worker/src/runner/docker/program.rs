//! The program of a container that was made and is not started: for which processor and system it is, by its own first bytes. What
//! an image says of itself may be wrong: `FROM scratch` and a program that was built elsewhere is labelled like the host that built
//! it.
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
    /// Refuses a container whose program is for another processor or system than this host has.
    pub(super) async fn look_at_program(&self, container: &str, image: &ImageName) -> Result<(), RunnerError> {
        let head = self.program_of(container).await;
        match head.and_then(|head| refusal(image, &head, &self.processor)) {
            Some(reason) => Err(RunnerError::Refused(reason)),
            None => Ok(()),
        }
    }

    /// How a container's program begins.
    async fn program_of(&self, container: &str) -> Option<Vec<u8>> {
        let found = self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let (program, config) = (found.path?, found.config.unwrap_or_default());
        for place in places(&program, config.working_dir.as_deref(), &config.env.unwrap_or_default()) {
            if let Some(head) = self.head(container, place).await {
                return Some(head);
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

/// That an image's program, which begins so, is not for this host, where that is so.
fn refusal(image: &ImageName, head: &[u8], host: &str) -> Option<String> {
    let (of_program, host) = match (other_system(head), processor(head)) {
        (Some(system), _) if host.is_empty() => (system.to_owned(), "linux".to_owned()),
        (Some(system), _) => (system.to_owned(), format!("linux/{host}")),
        // What runs on a host with a processor of another name is not known here.
        (None, Some(processor)) if PROCESSORS.contains(&host) && !image::runs_on(&processor, host) => {
            (processor, host.to_owned())
        }
        (None, Some(_) | None) => return None,
    };
    Some(format!(
        "the program of image `{image}` is for {of_program} and this host is {host}: build it for {host}, or for both (`docker \
         buildx build --platform`)"
    ))
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

/// Processors as images name them.
const PROCESSORS: [&str; 8] = ["386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"];

/// For which processor a program of Linux is: as images name it, else as it is called, else by its number.
fn processor(head: &[u8]) -> Option<String> {
    let (b"\x7fELF", [class, order, ..]) = (head.get(..4)?, head.get(4..)?) else { return None };
    let machine: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    let (is_wide, is_big) = (*class == 2, *order == 2);
    let name = match if is_big { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) } {
        2 | 18 => "sparc",
        3 | 6 => "386",
        4 => "m68k",
        8 => match (is_wide, is_big) {
            (true, true) => "mips64",
            (true, false) => "mips64le",
            (false, true) => "mips",
            (false, false) => "mipsle",
        },
        15 => "hppa",
        20 => "ppc",
        21 if is_big => "ppc64",
        21 => "ppc64le",
        22 => "s390x",
        40 => "arm",
        42 => "sh4",
        43 => "sparc64",
        50 => "ia64",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        number => return Some(format!("ELF machine {number}")),
    };
    Some(name.to_owned())
}

/// For which other system than Linux a program is.
fn other_system(head: &[u8]) -> Option<&'static str> {
    let number = |at: usize| -> Option<[u8; 4]> { head.get(at..at + 4)?.try_into().ok() };
    match number(0)? {
        [0xfe, 0xed, 0xfa, 0xce | 0xcf] | [0xce | 0xcf, 0xfa, 0xed, 0xfe] => Some("macOS (Mach-O)"),
        // For several processors. Classes of Java begin so, too: where it has their number, they have a version of 45 or more.
        [0xca, 0xfe, 0xba, 0xbe] if u32::from_be_bytes(number(4)?) < 45 => Some("macOS (Mach-O)"),
        // What begins so is for many systems at once.
        [b'M', b'Z', b'q', b'F'] => None,
        [b'M', b'Z', ..] => {
            let at = usize::try_from(u32::from_le_bytes(number(60)?)).ok()?;
            head.get(at..)?.starts_with(b"PE\0\0").then_some("Windows (PE)")
        }
        _ => None,
    }
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

    fn elf(class: u8, order: u8, machine: [u8; 2]) -> Vec<u8> {
        [&b"\x7fELF"[..], &[class, order], &[0; 12], &machine].concat()
    }

    #[test]
    fn a_program_that_is_not_for_this_host_is_refused_by_name() {
        let image: ImageName = "x:1".parse().unwrap();
        let said = |head: &[u8], host| refusal(&image, head, host).unwrap_or_default();
        let mips = elf(1, 2, [0, 8]);
        assert!(said(&mips, "amd64").starts_with("the program of image `x:1` is for mips and this host is amd64:"));
        assert!(said(&elf(2, 1, [0xff, 0]), "arm64").contains("is for ELF machine 255 and this host is arm64"));
        let (amd64, i386) = (elf(2, 1, [0x3e, 0]), elf(1, 1, [3, 0]));
        for (head, host) in [(&mips, ""), (&mips, "mips64"), (&amd64, "amd64"), (&i386, "amd64")] {
            assert_eq!(said(head, host), "", "{host}");
        }
        for (magic, is_told) in [
            ([0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1], true),
            ([0xfe, 0xed, 0xfa, 0xce, 0, 0, 0, 7], true),
            ([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2], true),
            ([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 52], false),
            (*b"MZ=1\nabc", false),
        ] {
            let words = "is for macOS (Mach-O) and this host is linux/amd64";
            assert_eq!(said(&magic, "amd64").contains(words), is_told, "{magic:?}");
            assert_eq!(said(&magic, "amd64").is_empty(), !is_told, "{magic:?}");
        }
        let mut windows = vec![0; 256];
        windows[..2].copy_from_slice(b"MZ");
        windows[60] = 0x80;
        windows[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert!(said(&windows, "").contains("is for Windows (PE) and this host is linux: build"));
        windows[2..6].copy_from_slice(b"qFpD");
        assert_eq!(said(&windows, "amd64"), "", "such a program may run here");
    }

    #[test]
    fn a_program_says_for_which_processor_it_is() {
        let of = |class: u8, order: u8, machine: [u8; 2]| processor(&elf(class, order, machine));
        for (class, order, machine, expected) in [
            (2, 1, [0xb7, 0], "arm64"),
            (2, 1, [0x3e, 0], "amd64"),
            (2, 2, [0, 0x16], "s390x"),
            (2, 1, [21, 0], "ppc64le"),
            (2, 2, [0, 21], "ppc64"),
            (1, 2, [0, 8], "mips"),
            (2, 1, [8, 0], "mips64le"),
            (1, 1, [6, 0], "386"),
            (2, 1, [0xff, 0xff], "ELF machine 65535"),
        ] {
            assert_eq!(of(class, order, machine).as_deref(), Some(expected));
        }
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
