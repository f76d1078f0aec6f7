//! Rows of the comparison: a table for people, a JSON object a line for programs.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Failure;

/// What one second buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// A whole solve, from arrays on the host to potentials.
    Solve,
    /// One full iteration: both potentials.
    Iteration,
    /// One pass of a micro-benchmark.
    Pass,
}

/// One measurement of one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Who.
    pub name: String,
    /// Seconds, the median.
    pub seconds: f64,
    /// Iterations of a solve.
    pub iterations: Option<usize>,
    /// Recomputed marginal error.
    pub error: Option<f64>,
    /// Recomputed value: the dual objective, or what a suite compares.
    pub value: Option<f64>,
}

/// A measurement of a peer, and whether it got there.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) measured: Measured,
    /// Is the recomputed error within the tolerance?
    pub(super) met: bool,
}

impl Measured {
    /// A time alone.
    #[must_use]
    pub fn seconds(name: impl Into<String>, seconds: f64) -> Self {
        Self { name: name.into(), seconds, iterations: None, error: None, value: None }
    }
}

/// One line: ours, a peer if there is one, and the limit.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the columns described above")]
pub struct Row {
    pub suite: &'static str,
    pub case: String,
    pub n: usize,
    pub m: usize,
    pub d: Option<usize>,
    pub epsilon: Option<f64>,
    pub dtype: &'static str,
    pub threads: usize,
    pub per: Per,
    pub ours: String,
    pub ours_s: f64,
    pub ours_iterations: Option<usize>,
    pub ours_error: Option<f64>,
    pub ours_value: Option<f64>,
    pub peer: Option<String>,
    pub peer_s: Option<f64>,
    pub peer_iterations: Option<usize>,
    pub peer_error: Option<f64>,
    pub peer_value: Option<f64>,
    pub ratio: Option<f64>,
    pub limit_s: Option<f64>,
    pub fraction_of_limit: Option<f64>,
    pub note: String,
}

impl Row {
    /// A row of ours alone.
    #[must_use]
    pub fn new(
        suite: &'static str,
        case: impl Into<String>,
        (n, m): (usize, usize),
        threads: usize,
        per: Per,
        ours: Measured,
    ) -> Self {
        Self {
            suite,
            case: case.into(),
            n,
            m,
            d: None,
            epsilon: None,
            dtype: "f64",
            threads,
            per,
            ours: ours.name,
            ours_s: ours.seconds,
            ours_iterations: ours.iterations,
            ours_error: ours.error,
            ours_value: ours.value,
            peer: None,
            peer_s: None,
            peer_iterations: None,
            peer_error: None,
            peer_value: None,
            ratio: None,
            limit_s: None,
            fraction_of_limit: None,
            note: String::new(),
        }
    }

    /// With a peer, if there is one: the ratio is how many times longer it takes.
    #[must_use]
    pub fn with_peer(self, peer: impl Into<Option<Measured>>) -> Self {
        let Some(peer) = peer.into() else { return self };
        Self {
            peer: Some(peer.name),
            peer_s: Some(peer.seconds),
            peer_iterations: peer.iterations,
            peer_error: peer.error,
            peer_value: peer.value,
            ratio: Some(peer.seconds / self.ours_s),
            ..self
        }
    }

    /// With a peer that was to meet a tolerance, if it ran.
    #[must_use]
    pub(super) fn with_reached(self, peer: Option<Reached>) -> Self {
        let missed = peer.as_ref().is_some_and(|peer| !peer.met);
        let note = missed.then(|| "the peer missed the tolerance: the ratio is a lower bound".to_owned());
        self.with_peer(peer.map(|peer| peer.measured)).with_remark(note)
    }

    /// With the least seconds that the machine allows, if they are known.
    #[must_use]
    pub fn with_limit(self, seconds: impl Into<Option<f64>>) -> Self {
        let Some(seconds) = seconds.into() else { return self };
        Self { limit_s: Some(seconds), fraction_of_limit: Some(seconds / self.ours_s), ..self }
    }

    /// With a remark, if there is one.
    #[must_use]
    pub fn with_remark(self, remark: Option<String>) -> Self {
        match remark {
            Some(remark) => self.with_note(remark),
            None => self,
        }
    }

    /// With a remark, after those it has.
    #[must_use]
    pub fn with_note(mut self, note: impl Display) -> Self {
        let separator = if self.note.is_empty() { "" } else { "; " };
        self.note = format!("{}{separator}{note}", self.note);
        self
    }

    /// What the columns of the table say.
    fn cells(&self) -> [String; COLUMNS.len()] {
        fn cell<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
            value.map_or_else(|| NOTHING.to_owned(), show)
        }
        let short = |value: f64| format!("{value:.1e}");
        let seconds = |value: f64| format!("{value:.3e}");
        let count = |value: usize| value.to_string();
        let number = |value: f64| format!("{value:.10}");
        [
            self.case.clone(),
            if self.n == self.m { self.n.to_string() } else { format!("{} x {}", self.n, self.m) },
            cell(self.d, count),
            cell(self.epsilon, short),
            self.dtype.to_owned(),
            format!("{:?}", self.per).to_lowercase(),
            seconds(self.ours_s),
            cell(self.ours_iterations, count),
            cell(self.ours_error, short),
            cell(self.ours_value, number),
            self.peer.clone().unwrap_or_else(|| NOTHING.to_owned()),
            cell(self.peer_s, seconds),
            cell(self.peer_iterations, count),
            cell(self.peer_error, short),
            cell(self.peer_value, number),
            cell(self.ratio, |ratio| if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }),
            cell(self.limit_s, seconds),
            cell(self.fraction_of_limit, |fraction| format!("{fraction:.2}")),
            self.note.clone(),
        ]
    }
}

/// The heads of the columns.
const COLUMNS: [&str; 19] = [
    "case",
    "n",
    "d",
    "epsilon",
    "type",
    "per",
    "ours s",
    "iterations",
    "error",
    "value",
    "peer",
    "peer s",
    "iterations",
    "error",
    "value",
    "ratio",
    "limit s",
    "of limit",
    "note",
];

/// A cell without a value.
const NOTHING: &str = "-";

/// A line of a table, of the columns that are wanted.
fn line(cells: &[impl AsRef<str>], wanted: &[bool]) -> String {
    let cells = cells.iter().zip(wanted).filter(|(_, wanted)| **wanted).map(|(cell, _)| cell.as_ref());
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The head of a table.
fn head(wanted: &[bool]) -> String {
    format!("{}\n{}", line(&COLUMNS, wanted), line(&["---"; COLUMNS.len()], wanted))
}

/// A table of the columns that say something.
fn table(rows: &[Row]) -> String {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let says = |column: usize| cells.iter().any(|cells| !["", NOTHING].contains(&cells[column].as_str()));
    let wanted: Vec<bool> = (0..COLUMNS.len()).map(says).collect();
    let lines = cells.iter().map(|cells| line(cells, &wanted));
    [head(&wanted)].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

/// Where rows go: at once to the standard output and, if asked, to a file of JSON lines; at the end to a page.
#[derive(Debug)]
pub struct Report {
    json: Option<BufWriter<File>>,
    page: Option<PathBuf>,
    before: String,
    rows: Vec<Row>,
    after: String,
}

impl Report {
    /// A report that has told nothing yet.
    ///
    /// # Errors
    /// The file of JSON lines cannot be made.
    pub fn new(json: Option<&Path>, page: Option<&Path>) -> Result<Self, Failure> {
        let json = json.map(File::create).transpose()?.map(BufWriter::new);
        let page = page.map(Path::to_owned);
        Ok(Self { json, page, before: String::new(), rows: Vec::new(), after: String::new() })
    }

    /// A paragraph, before the rows or after them.
    ///
    /// # Errors
    /// The standard output cannot be written.
    pub fn paragraph(&mut self, text: impl Display) -> Result<(), Failure> {
        let page = if self.rows.is_empty() { &mut self.before } else { &mut self.after };
        page.push_str(&format!("{text}\n\n"));
        if !self.rows.is_empty() {
            writeln!(io::stdout())?;
        }
        Ok(writeln!(io::stdout(), "{text}")?)
    }

    /// Writes a row, at once.
    ///
    /// # Errors
    /// The standard output or the file cannot be written.
    pub fn add(&mut self, row: Row) -> Result<(), Failure> {
        let all = [true; COLUMNS.len()];
        if self.rows.is_empty() {
            writeln!(io::stdout(), "\n{}", head(&all))?;
        }
        writeln!(io::stdout(), "{}", line(&row.cells(), &all))?;
        if let Some(file) = &mut self.json {
            serde_json::to_writer(&mut *file, &row)?;
            writeln!(file)?;
            file.flush()?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// What has been told so far.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Puts a picture beside the page, if one was asked for, and into it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn picture(&mut self, name: &str, what: &str, picture: &str) -> Result<(), Failure> {
        let Some(folder) = self.page.as_ref().and_then(|page| page.parent()) else { return Ok(()) };
        fs::create_dir_all(folder)?;
        fs::write(folder.join(name), picture)?;
        self.after.push_str(&format!("![{what}]({name})\n\n"));
        Ok(())
    }

    /// Writes the page, if one was asked for: the columns that say something, in full.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        let Self { page: Some(path), before, rows, after, .. } = self else { return Ok(()) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, format!("{before}{}\n\n{}\n", table(&rows), after.trim_end()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_field_in_order() {
        let ours = Measured { error: Some(f64::NAN), ..Measured::seconds("ours \"f32\"", 0.5) };
        let row = Row::new("dense", "clouds", (2, 3), 2, Per::Iteration, ours)
            .with_peer(Measured { iterations: Some(7), ..Measured::seconds("theirs", 2.0) })
            .with_limit(0.25)
            .with_note("one")
            .with_note("two");
        let json = serde_json::to_string(&row).unwrap();
        let fields = "suite case n m d epsilon dtype threads per ours ours_s ours_iterations ours_error ours_value peer \
                      peer_s peer_iterations peer_error peer_value ratio limit_s fraction_of_limit note";
        let mut rest = json.as_str();
        for field in fields.split_whitespace() {
            let key = format!("\"{field}\":");
            rest = &rest[rest.find(&key).unwrap_or_else(|| panic!("{field} in {json}")) + key.len()..];
        }
        assert!(json.contains(r#""ours":"ours \"f32\"""#), "{json}");
        assert!(json.contains(r#""ours_error":null"#) && json.contains(r#""per":"iteration""#), "{json}");
        assert_eq!((row.ratio, row.fraction_of_limit), (Some(4.0), Some(0.5)));
        assert_eq!(row.note, "one; two");
    }

    #[test]
    fn a_table_has_the_columns_that_say_something() {
        let row = |case: &str| Row::new("dense", case, (2, 3), 2, Per::Solve, Measured::seconds("ours", 0.5));
        let page = table(&[row("one"), row("two").with_limit(0.25)]);
        let expected = "| case | n | type | per | ours s | limit s | of limit |\n\
                        | --- | --- | --- | --- | --- | --- | --- |\n\
                        | one | 2 x 3 | f64 | solve | 5.000e-1 | - | - |\n\
                        | two | 2 x 3 | f64 | solve | 5.000e-1 | 2.500e-1 | 0.50 |";
        assert_eq!(page, expected);
    }
}
