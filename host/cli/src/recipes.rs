//! `halfpipe models make` and `halfpipe models import`: the recipes, which are Python scripts that come with the sources.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use crate::exit::{Environment, Told};

const IMPORT_EXAMPLES: &str = "\
Examples:
  halfpipe models import hmr2 --checkpoint 'epoch=35-step=1000000.ckpt' --smpl SMPL_NEUTRAL.pkl
  halfpipe models import hmr2 --checkpoint hmr2.ckpt --smpl SMPL_NEUTRAL.npz --fp16  # for GPUs
  halfpipe models import hmr2 --checkpoint hmr2.ckpt --smpl SMPL_NEUTRAL.pkl --accept-licence

Where the files come from, what is made of them, and how much memory it takes: models/hmr2.md";

/// `halfpipe models ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum ModelsCommand {
    /// Make the models and bodies of the built-in catalog (`make models` does it too)
    Make {
        /// Where the recipes and the models are
        #[command(flatten)]
        recipes: Recipes,
    },
    /// Import models that may not be passed on, from files that you bring
    Import {
        /// Which
        #[command(subcommand)]
        import: Import,
    },
}

/// `halfpipe models import ...`.
#[derive(Debug, Clone, Subcommand)]
pub enum Import {
    /// HMR2 (4D-Humans) as `hmr2`, and SMPL as `smpl_neutral`
    #[command(after_help = IMPORT_EXAMPLES)]
    Hmr2(Hmr2Args),
}

/// Where the recipes and the models are.
#[derive(Debug, Clone, Args)]
pub struct Recipes {
    /// Folder of model files [default: the user cache]
    #[arg(long, env = "HALFPIPE_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Folder of the recipes, `models` in the sources [default: found from where this program is]
    #[arg(long, env = "HALFPIPE_RECIPES", value_name = "DIR")]
    pub recipes: Option<PathBuf>,
}

/// `halfpipe models import hmr2`.
#[derive(Debug, Clone, Args)]
pub struct Hmr2Args {
    /// 4D-Humans' checkpoint
    #[arg(long, value_name = "FILE")]
    pub checkpoint: PathBuf,
    /// SMPL's neutral model, .pkl or .npz
    #[arg(long, value_name = "FILE")]
    pub smpl: PathBuf,
    /// Weights and computation in float16, for GPUs; compared with float32 first
    #[arg(long)]
    pub fp16: bool,
    /// Accept the terms that are shown, without being asked
    #[arg(long, alias = "accept-license")]
    pub accept_licence: bool,
    /// Also take a network with more or fewer layers than the released one
    #[arg(long)]
    pub any_size: bool,
    /// Where the recipes and the models are
    #[command(flatten)]
    pub recipes: Recipes,
}

impl ModelsCommand {
    /// Runs the recipe; its own output, questions and errors go to and come from the terminal.
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Make { recipes } => recipes.command("make.py").and_then(finish),
            Self::Import { import: Import::Hmr2(args) } => {
                let mut command = args.recipes.command("import_hmr2.py")?;
                command.arg("--checkpoint").arg(&args.checkpoint).arg("--smpl").arg(&args.smpl);
                for (flag, on) in [("--fp16", args.fp16), ("--accept-licence", args.accept_licence), ("--any-size", args.any_size)] {
                    command.args(on.then_some(flag));
                }
                finish(command)
            }
        }
    }
}

impl Recipes {
    /// Python with the recipe `script` and the folder of models.
    fn command(&self, script: &str) -> anyhow::Result<Command> {
        let models = halfpipe_nn::catalog::models_dir(self.models.as_deref()).map_err(halfpipe_runtime::RuntimeError::from)?;
        let script = self.find(script)?;
        let mut command = Command::new(python()?);
        command.arg(script).arg("--dir").arg(models);
        Ok(command)
    }

    /// The script in the folder as given, else beside the build's folder, else where `make install` puts it.
    fn find(&self, script: &str) -> anyhow::Result<PathBuf> {
        let folders = match &self.recipes {
            Some(folder) => vec![folder.clone()],
            None => {
                let program = std::env::current_exe().context("cannot tell where this program is; give --recipes DIR")?;
                let folder = program.parent().unwrap_or(Path::new("/"));
                vec![folder.join("../../models"), folder.join("../share/halfpipe/models")]
            }
        };
        let looked = || folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" and ");
        folders.iter().map(|folder| folder.join(script)).find(|file| file.is_file()).ok_or_else(|| {
            Environment(format!(
                "the recipe {script} is not in {}; give --recipes with the folder `models` of Halfpipe's sources, or run it there: \
                 python3 models/{script} --help",
                looked()
            ))
            .into()
        })
    }
}

/// A Python that can run the recipes, by the rule of `infra/local/python.sh`.
fn python() -> anyhow::Result<String> {
    const FIT: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    let named = std::env::var("PYTHON").ok().filter(|names| !names.trim().is_empty());
    let names = named.unwrap_or_else(|| "python3 python3.14 python3.13 python3.12 python3.11".to_owned());
    let fits = |name: &&str| {
        let mut trial = Command::new(name);
        trial.args(["-c", FIT]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    };
    let found = names.split_whitespace().find(fits).map(str::to_owned);
    found.ok_or_else(|| Environment(format!("no Python 3.11 or later with venv among: {names}; install one, or name it in PYTHON")).into())
}

/// Waits for a recipe, which tells its own errors.
fn finish(mut command: Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    match status.code().map(u8::try_from) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Told(code).into()),
        _ => Err(anyhow!("nothing was made: the recipe was ended from outside ({status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipes(folder: &Path) -> Recipes {
        Recipes { models: Some("/m".into()), recipes: Some(folder.to_owned()) }
    }

    #[test]
    fn a_recipe_that_is_not_there_says_where_to_run_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = recipes(dir.path()).find("import_hmr2.py").unwrap_err().to_string();
        assert!(text.contains(dir.path().to_str().unwrap()) && text.contains("python3 models/import_hmr2.py"), "{text}");
    }

    #[test]
    fn a_recipe_gets_the_folder_of_models_and_its_failure_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("r.py");
        std::fs::write(&script, "import sys\nsys.exit(sys.argv[1:] != ['--dir', '/m'])\n").unwrap();
        finish(recipes(dir.path()).command("r.py").unwrap()).unwrap();
        std::fs::write(&script, "raise SystemExit(3)\n").unwrap();
        let error = finish(recipes(dir.path()).command("r.py").unwrap()).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Told(3))), "{error}");
    }
}
