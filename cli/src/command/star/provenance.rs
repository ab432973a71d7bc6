//! `sas star provenance`: what is on record of stars, for other systems: into a file, to a receiver, or to standard output.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use coordinator::operate::called::{CalledRun, CalledStar, find_run, find_stars};
use coordinator::operate::provenance::{ProvenanceForm, Receiver, star_provenance, stars_of};
use coordinator::operate::star::OneGeneration;
use coordinator::operate::{Context, ErrorKind};
use domain::id::{Generation, Quarter, StarId};
use serde::Serialize;
use serde_json::Value;

use crate::command::export::part;
use crate::exit::{Incomplete, usage};
use crate::output::{Format, json_line, note};
use crate::selection::stars_in;

/// Which stars, in which form, to whom.
#[derive(Debug, Args)]
pub(crate) struct ProvenanceArguments {
    /// The stars, or the first digits of their UUIDs.
    #[arg(value_name = "STAR")]
    stars: Vec<CalledStar>,
    /// The stars in this text file, one a line.
    #[arg(long, value_name = "FILE")]
    stars_from: Option<PathBuf>,
    /// All stars of this run, in its quarter.
    #[arg(long)]
    run: Option<CalledRun>,
    /// The quarter of their data; of each star the newest in which it has a generation unless given.
    #[arg(long, value_name = "Q")]
    quarter: Option<Quarter>,
    /// The generation; the one that the star file shows unless given.
    #[arg(long, value_name = "N")]
    generation: Option<Generation>,
    /// The form.
    #[arg(long, value_enum)]
    form: DocumentForm,
    /// A file, which gets a document a line, or the address of a receiver (`http://…`), which gets each by POST: a hundred at a time
    /// as a list where the address ends with `/batch`. Standard output unless given.
    #[arg(long, value_name = "FILE|URL")]
    to: Option<String>,
    /// What jobs and data are known under to a receiver of OpenLineage.
    #[arg(long, value_name = "NAME", default_value = "sas")]
    namespace: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DocumentForm {
    /// W3C PROV-JSON: a document for each star.
    ProvJson,
    /// OpenLineage: START and COMPLETE, or FAIL, of each module that ran.
    #[value(alias = "openlineage")]
    OpenLineage,
}

/// What was told.
#[derive(Debug, Serialize)]
struct ToldStars {
    stars: usize,
    documents: u64,
    /// To a receiver: in so many requests.
    requests: Option<u64>,
    /// Stars of which nothing is on record.
    missing: Vec<StarId>,
}

impl ProvenanceArguments {
    pub(super) async fn run(self, context: &Context, format: Format) -> anyhow::Result<()> {
        let form = match self.form {
            DocumentForm::ProvJson => ProvenanceForm::ProvJson,
            DocumentForm::OpenLineage => ProvenanceForm::OpenLineage,
        };
        let mut quarter = self.quarter;
        let mut stars = BTreeSet::from_iter(find_stars(context, &self.stars, None).await?);
        if let Some(file) = &self.stars_from {
            stars.extend(stars_in(file)?);
        }
        if let Some(run) = &self.run {
            let (of_run, named) = stars_of(context, find_run(context, run).await?).await?;
            quarter = quarter.or(Some(of_run));
            stars.extend(named);
        }
        if stars.is_empty() {
            return Err(usage("no stars: name some, or a file of them with --stars-from, or a run with --run").into());
        }
        let mut sink = DocumentSink::open(self.to.as_deref())?;
        let (mut missing, mut documents) = (Vec::new(), 0);
        for star in &stars {
            let which = OneGeneration { star: *star, quarter, generation: self.generation };
            match star_provenance(context, which, form, &self.namespace).await {
                Ok(told) => {
                    for document in told {
                        documents += 1;
                        sink.take(document).await?;
                    }
                }
                Err(error) if error.kind == ErrorKind::NotFound => {
                    note(&error.message);
                    missing.push(*star);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let is_answer = matches!(sink, DocumentSink::Answer);
        let requests = sink.finish().await?;
        let told = ToldStars { stars: stars.len() - missing.len(), documents, requests, missing };
        if !is_answer {
            format.print(&told, |told| {
                let requests = told.requests.map(|count| format!(" in {count} requests")).unwrap_or_default();
                format!("{} documents of {} stars{requests}", told.documents, told.stars)
            });
        }
        match told.missing.len() {
            0 => Ok(()),
            count => Err(Incomplete(format!("of {count} stars nothing is on record")).into()),
        }
    }
}

/// Where documents go.
enum DocumentSink {
    /// Standard output.
    Answer,
    /// A file; one that is not whole never has its name.
    File {
        part: PathBuf,
        file: PathBuf,
        out: BufWriter<File>,
    },
    Receiver(Receiver),
}

impl DocumentSink {
    fn open(to: Option<&str>) -> anyhow::Result<Self> {
        Ok(match to {
            None => Self::Answer,
            Some(address) if address.contains("://") => Self::Receiver(Receiver::new(address)?),
            Some(file) => {
                let (file, part) = (PathBuf::from(file), part(file.as_ref()));
                let made = File::create(&part).with_context(|| format!("failed to make `{}`", part.display()))?;
                Self::File { part, file, out: BufWriter::new(made) }
            }
        })
    }

    async fn take(&mut self, document: Value) -> anyhow::Result<()> {
        match self {
            Self::Answer => json_line(&document),
            Self::File { out, part, .. } => {
                let written = serde_json::to_writer(&mut *out, &document).map_err(Into::into);
                let written = written.and_then(|()| out.write_all(b"\n"));
                written.with_context(|| format!("failed to write `{}`", part.display()))?;
            }
            Self::Receiver(receiver) => receiver.take(document).await?,
        }
        Ok(())
    }

    /// Brings out the rest; to a receiver it took so many requests.
    async fn finish(self) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Answer => Ok(None),
            Self::File { part, file, mut out } => {
                let done = out.flush().and_then(|()| std::fs::rename(&part, &file));
                done.with_context(|| format!("failed to write `{}`", file.display()))?;
                Ok(None)
            }
            Self::Receiver(receiver) => Ok(Some(receiver.finish().await?)),
        }
    }
}
