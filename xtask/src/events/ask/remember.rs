//! `--remember`: answers that are to hold for always, written as rules of the policy that asked.
use super::shape::Shape;
use crate::output;
use crate::policy::{Answered, PolicyFiles};
use anyhow::{Context, Result};
use control::answer::Choice;
use std::path::{Path, PathBuf};

/// Rules that are written: what is answered beyond them is answered for the run.
const MAX_RULES: usize = policy::limits::MAX_RULES / 2;

/// The file to be.
#[derive(Debug)]
pub(super) struct Remember {
    path: PathBuf,
    /// The policy of the run.
    policy: PolicyFiles,
    answers: Vec<Answered>,
}

impl Remember {
    /// To be written to `path` at the end of the run. It is made now, so that trouble with it comes before.
    pub(super) fn create(path: &Path, policy: PolicyFiles) -> Result<Self> {
        output::prepare(path).with_context(|| format!("cannot write the policy {}", path.display()))?;
        Ok(Self { path: path.to_owned(), policy, answers: Vec::new() })
    }

    /// Adds what is said to such calls. `asker`: the rule that asked; `otherwise`: what it does without an answer.
    pub(super) fn add(&mut self, shape: &Shape, choice: Choice, asker: &str, otherwise: &str) -> Result<(), String> {
        if self.answers.len() >= MAX_RULES {
            return Err(format!("more than {MAX_RULES} answers for always; this one holds for the run"));
        }
        let errno = otherwise.strip_prefix("errno ").unwrap_or("EPERM");
        let action = match choice {
            Choice::Allow => "\"allow\"".to_owned(),
            Choice::Deny => format!("{{ errno = \"{errno}\" }}"),
            Choice::Kill => "\"kill\"".to_owned(),
        };
        let text = format!("{}action = {action}\nreason = \"answered so\"\n", shape.rule());
        let rule = text.parse().map_err(|error| format!("no rule: {error}"))?;
        self.answers.push(Answered { asker: asker.to_owned(), rule });
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        let path = self.path.display();
        let text = self.policy.answered(&self.answers).map_err(anyhow::Error::msg);
        let text = text.with_context(|| format!("cannot make the policy {path}"))?;
        policy::parse(&path.to_string(), &text).context("the answers make no policy")?;
        output::write(&self.path, &text).with_context(|| format!("cannot write the policy {path}"))?;
        let (count, s) = (self.answers.len(), if self.answers.len() == 1 { "" } else { "s" });
        eprintln!("cordon: {path}: the policy of this run with {count} answer{s}");
        Ok(())
    }
}
