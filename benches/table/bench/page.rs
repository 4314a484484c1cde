//! All workloads side by side, as `BENCHMARKS.md` shows them, and the way into that page.
//!
//! Not here: medians and ratios (`report`).

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

/// Between these two lines of a page stands what was measured.
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// Puts the tables of these objects into the page.
pub(crate) fn write(path: &Path, objects: &[Value]) -> Result<(), String> {
    let (before, after) = around(path)?;
    let new = format!("{before}{BEGIN}\n{}\n{END}{after}", tables(objects));
    std::fs::write(path, new).map_err(|error| format!("{}: {error}", path.display()))
}

/// What stands around the tables of the page.
pub(crate) fn around(path: &Path) -> Result<(String, String), String> {
    let failed = |why: &str| format!("{}: {why}", path.display());
    let page = std::fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before.to_owned(), after.to_owned()))
    });
    parts.ok_or_else(|| failed(&format!("it needs two lines, {BEGIN}and {END}")))
}

/// One table of what plain tokio has, too, and one of the rest.
pub(crate) fn tables(objects: &[Value]) -> String {
    let has_tokio = |object: &&Value| object["baseline"] == "tokio";
    let (beside, rest): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(has_tokio);
    let mut tables = vec![table(&beside, short), table(&rest, long)];
    tables.retain(|table| !table.is_empty());
    tables.join("\n")
}

/// A row for each workload, a column for each peer; nothing of nothing.
fn table(objects: &[&Value], cell: fn(&Value) -> String) -> String {
    let peers = names(objects, "peer");
    if peers.is_empty() {
        return String::new();
    }
    let mut text = format!("| workload | {} |\n", peers.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(peers.len()));
    for workload in names(objects, "workload") {
        let _ = write!(text, "| `{workload}` |");
        for peer in &peers {
            let is_it = |it: &&&Value| it["workload"] == workload && it["peer"] == *peer;
            let known = objects.iter().find(is_it);
            let cell = known.map_or_else(|| "–".to_owned(), |it| cell(it));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

/// Each once, in the order in which they come.
fn names<'a>(objects: &[&'a Value], field: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in objects.iter().filter_map(|object| object[field].as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// CPU time, and its ratio.
fn short(object: &Value) -> String {
    let ratio = ratio(object, &["ratio"]);
    format!("{}{ratio}{}", number(object, "cpu_ns"), beside(object))
}

/// Wall and CPU time, and their ratios.
fn long(object: &Value) -> String {
    let [wall, cpu] = ["wall_ns", "cpu_ns"].map(|field| number(object, field));
    let ratio = ratio(object, &["wall_ratio", "ratio"]);
    format!("{wall}, {cpu}{ratio}{}", beside(object))
}

fn ratio(object: &Value, fields: &[&str]) -> String {
    if object["peer"] == object["baseline"] {
        return String::new();
    }
    let ratio = |field: &&str| object[*field].as_f64().map(|ratio| format!("{ratio:.2}"));
    let ratios: Vec<_> = fields.iter().filter_map(ratio).collect();
    format!(" ({})", ratios.join(", "))
}

/// Bytes where they matter, and how many were measured where that is not what the others had.
fn beside(object: &Value) -> String {
    let mut text = String::new();
    if object["is_about_memory"] == true {
        let _ = write!(text, ", {} B", number(object, "rss_bytes"));
    }
    if object["n"] != object["n_usual"] {
        let _ = write!(text, ", n {}", number(object, "n"));
    }
    text
}

/// A whole number, in groups of three digits.
fn number(object: &Value, field: &str) -> String {
    let digits = format!("{:.0}", object[field].as_f64().unwrap_or(f64::NAN));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0
            && (digits.len() - place).is_multiple_of(3)
            && digits.as_bytes()[place - 1] != b'-'
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
