//! `sas star verify`: whether a star's files, or a plain file, hold what is on record of them.

use std::path::{Path, PathBuf};

use clap::Args;
use coordinator::operate::OperateError;
use coordinator::operate::called::{CalledStar, find_star};
use coordinator::operate::star::OneGeneration;
use coordinator::operate::verify::{Verification, verify_file, verify_star};
use domain::id::{Generation, Quarter};
use domain::text::shown;

use crate::connect::SiteArgs;
use crate::exit::{Incomplete, usage};
use crate::installation::Configured;
use crate::output::Format;

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// A star of the store, or the first digits of its UUID: everything that its generation refers to. Or a file, wherever it is: a star file, one that was
    /// exported, a result, a delivery.
    #[arg(value_name = "STAR|FILE")]
    what: String,
    /// Of a star: the quarter of its data; the newest in which it has a generation unless given.
    #[arg(long, value_name = "Q")]
    quarter: Option<Quarter>,
    /// Of a star: the generation; the one that the star file shows unless given.
    #[arg(long, value_name = "N")]
    generation: Option<Generation>,
}

impl VerifyArguments {
    pub(super) async fn run(self, site: &SiteArgs, format: Format) -> anyhow::Result<()> {
        let Self { what, quarter, generation } = self;
        let found = match (what.parse::<CalledStar>(), Path::new(&what).is_file()) {
            (Ok(called), false) => {
                let context = Configured::load(site)?.context()?;
                let star = find_star(&context, &called, None).await?.star;
                verify_star(&context, OneGeneration { star, quarter, generation }).await?
            }
            (_, true) => verify_file(&PathBuf::from(&what)).await?,
            (Err(_), false) => return Err(usage(format!("{what:?} is neither a file nor a star")).into()),
        };
        format.print(&found, words);
        let elsewhere: usize = found.files.iter().map(|file| file.elsewhere.len()).sum();
        match (found.differences(), elsewhere) {
            (0, 0) => Ok(()),
            (0, _) => {
                let reason =
                    format!("of {elsewhere} products nobody can tell: they lie in other files, which are not here");
                Err(Incomplete(reason).into())
            }
            (count, _) => Err(OperateError::refused(format!("{count} things are not what is on record")).into()),
        }
    }
}

fn words(found: &Verification) -> String {
    let mut text = String::new();
    for file in &found.files {
        let name = file.file.display();
        text += &format!("{name}: {} products are as recorded, {} bytes\n", file.well, file.bytes);
        for difference in &file.differences {
            let product = difference.product.as_ref().map_or_else(|| "the file".to_owned(), ToString::to_string);
            text += &format!("  DIFFERS {} {}\n", shown(&product), shown(&difference.what));
        }
        for product in &file.elsewhere {
            text += &format!("  not here {}\n", shown(product.as_str()));
        }
    }
    text
}
