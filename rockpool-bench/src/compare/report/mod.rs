//! The report of a comparison: Markdown, HTML and the JSON that both are made from.

mod plot;
mod view;

use std::path::{Path, PathBuf};

use minijinja::value::Serde;
use minijinja::{Environment, context};

use self::view::Page;
use crate::compare::failure::Failure;
use crate::compare::results::{FORMAT, Results};

/// Names end with what minijinja escapes by.
const MARKDOWN: &str = "report.md";
const HTML: &str = "report.html";

/// Both forms of a report.
#[derive(Debug)]
pub struct Report {
    /// The tables.
    pub markdown: String,
    /// One file: it opens without a network.
    pub html: String,
}

impl Report {
    /// Renders the results.
    ///
    /// # Errors
    /// When a template is wrong.
    pub fn new(results: &Results) -> Result<Self, Failure> {
        let page = Page::new(results);
        let mut environment = Environment::new();
        let render = |environment: &Environment, name: &str| {
            environment.get_template(name)?.render(context! { page => Serde(&page) })
        };
        let both = environment
            .add_template(MARKDOWN, include_str!("report.md.jinja"))
            .and_then(|()| environment.add_template(HTML, include_str!("report.html.jinja")))
            .and_then(|()| Ok((render(&environment, MARKDOWN)?, render(&environment, HTML)?)));
        let (markdown, html) =
            both.map_err(|error| Failure::new(format!("the report cannot be rendered: {error:#}")))?;
        Ok(Self { markdown: format!("{}\n", markdown.trim_end()), html })
    }

    /// Writes OUT.md and OUT.html.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, out: &Path) -> Result<(), Failure> {
        write(&with_ending(out, "md"), &self.markdown)?;
        write(&with_ending(out, "html"), &self.html)
    }
}

/// Makes the directory that OUT is to lie in, so that it does not fail when there is something to be written.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(out: &Path) -> Result<(), Failure> {
    match out.parent() {
        Some(parent) => {
            std::fs::create_dir_all(parent).map_err(|error| Failure::new(format!("{}: {error}", parent.display())))
        }
        None => Ok(()),
    }
}

/// Writes OUT.json.
///
/// # Errors
/// When it cannot be written.
pub fn write_results(results: &Results, out: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(results).map_err(|error| Failure::new(error.to_string()))?;
    write(&with_ending(out, "json"), &format!("{json}\n"))
}

/// Reads what [`write_results`] wrote.
///
/// # Errors
/// When the file cannot be read, or is none of that kind.
pub fn read_results(path: &Path) -> Result<Results, Failure> {
    let fail = |reason: &dyn std::fmt::Display| Failure::new(format!("{}: {reason}", path.display()));
    let json = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    let results: Results = serde_json::from_str(&json).map_err(|error| fail(&error))?;
    if results.format == FORMAT {
        Ok(results)
    } else {
        Err(fail(&format!("its format is {}, not {FORMAT}", results.format)))
    }
}

fn with_ending(out: &Path, ending: &str) -> PathBuf {
    let mut path = out.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    prepare(path)?;
    std::fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
