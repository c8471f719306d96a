//! Steps that all run, and the table at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What ran, how it ended, how long it took.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    /// A short note, or why it failed.
    outcome: Result<String, String>,
}

impl Report {
    /// Runs one step. A failure is remembered; the steps after it run all the same.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<String>) {
        let name = name.trim_end();
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = work().map_err(|error| format!("{error:#}"));
        if let Err(why) = &outcome {
            eprintln!("{name} failed: {why}");
        }
        let (name, took) = (name.to_owned(), start.elapsed());
        self.steps.push(Step {
            name,
            took,
            outcome,
        });
    }

    /// Prints the table.
    ///
    /// # Errors
    ///
    /// When a step failed; it names all that did.
    pub(crate) fn finish(self) -> Result<()> {
        if !self.steps.is_empty() {
            print!("\n{}", self.table());
        }
        let failed = self.steps.iter().filter(|step| step.outcome.is_err());
        let failed = failed.map(|step| step.name.as_str()).collect::<Vec<_>>();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let width = self.steps.iter().map(|step| step.name.len()).max();
        let width = width.unwrap_or(0);
        let line = |step: &Step| {
            let (verdict, note) = match &step.outcome {
                Ok(note) => ("ok    ", note),
                Err(why) => ("FAILED", why),
            };
            let (minutes, seconds) = (step.took.as_secs() / 60, step.took.as_secs() % 60);
            let (name, note) = (&step.name, note.lines().next().unwrap_or_default());
            let line = format!("{name:width$}  {verdict}  {minutes:>3}m {seconds:02}s  {note}");
            format!("{}\n", line.trim_end())
        };
        self.steps.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs_and_one_failure_fails_the_whole_by_name() {
        let mut report = Report::default();
        let mut ran = 0;
        report.step("first", || bail!("it broke\nat length"));
        report.step("second", || {
            ran += 1;
            Ok("9 passed".to_owned())
        });
        assert_eq!(ran, 1);
        for step in &mut report.steps {
            step.took = Duration::from_secs(61);
        }
        assert_eq!(
            report.table(),
            "first   FAILED    1m 01s  it broke\nsecond  ok        1m 01s  9 passed\n"
        );
        assert_eq!(report.finish().unwrap_err().to_string(), "failed: first");
    }
}
