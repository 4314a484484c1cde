//! Medians, ratios, the table for people and the JSON for programs.
//!
//! A ratio is the median of the ratios to the baseline of the same repetition, so that a machine
//! that is slow for a while is slow for both.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is printed"
)]

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::series::Row;
use super::{Options, Sample, Workload, page};

/// The peer to which all others are compared.
const BASELINE: &str = "tokio";

pub(crate) fn progress(workload: &str, repetition: usize, repetitions: usize) {
    eprintln!("{workload}: {} of {repetitions}", repetition + 1);
}

pub(crate) fn tell(sample: &Sample) {
    println!("{sample}");
}

pub(crate) fn complain(problem: &str) {
    eprintln!("{problem}");
}

pub(crate) fn publish(options: &Options, results: &[(Workload, Vec<Row>)]) -> Result<(), String> {
    if options.growth {
        println!("{}", growth(results));
    } else {
        for (workload, rows) in results {
            println!("{}", table(*workload, rows));
        }
    }
    let objects: Vec<_> = results
        .iter()
        .flat_map(|(workload, rows)| {
            rows.iter()
                .map(|row| object(*workload, row, baseline(rows, row)))
        })
        .collect();
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&objects).map_err(|error| error.to_string())?;
        let written = std::fs::write(path, text + "\n");
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let page = options.page.as_ref();
    page.map_or(Ok(()), |path| page::write(path, &objects))
}

/// Puts what was measured before into a page.
pub(crate) fn put(measured: &Path, options: &Options) -> Result<(), String> {
    let failed = |why: String| format!("{}: {why}", measured.display());
    let text = std::fs::read_to_string(measured).map_err(|error| failed(error.to_string()))?;
    let objects: Vec<_> = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if let Some(page) = &options.page {
        return page::write(page, &objects);
    }
    println!("{}", page::tables(&objects));
    Ok(())
}

fn table(workload: Workload, rows: &[Row]) -> String {
    let mut text = format!("### {}: {}\n\n", workload.name(), workload.operation());
    let memory = workload.is_about_memory();
    text += "| peer | n | wall ns | CPU ns |";
    text += if memory { " bytes |\n" } else { "\n" };
    text += "| --- | ---: | ---: | ---: |";
    text += if memory { " ---: |\n" } else { "\n" };
    for row in rows {
        let cell = |what| figure(row, baseline(rows, row), what);
        let _ = write!(text, "| {} | {} |", row.peer, row.size);
        let _ = write!(text, " {} | {} |", cell(wall_ns), cell(cpu_ns));
        if memory {
            let _ = write!(text, " {} |", cell(rss_bytes));
        }
        text.push('\n');
    }
    text
}

/// A line per workload and peer: the cost of one operation at each size, and with which power of
/// the size the whole grows: for what is read, that of one read for each task.
fn growth(results: &[(Workload, Vec<Row>)]) -> String {
    let mut text =
        String::from("| workload | peer | CPU ns, by n | exponent |\n| --- | --- | --- | ---: |\n");
    for (workload, rows) in results {
        let mut peers: Vec<&str> = rows.iter().map(|row| row.peer).collect();
        peers.dedup();
        for peer in peers {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.peer == peer).collect();
            let each = |row: &&Row| median(row.samples.iter().map(cpu_ns));
            let cells: Vec<String> = rows
                .iter()
                .map(|row| format!("{}: {:.0}", row.tasks(), each(row)))
                .collect();
            let points = rows.iter().map(|row| (row.tasks(), each(row)));
            let exponent = exponent(points.collect())
                .map_or_else(|| String::from("–"), |slope| format!("{slope:.3}"));
            let name = workload.family();
            let cells = cells.join(", ");
            let _ = writeln!(text, "| {name} | {peer} | {cells} | {exponent} |");
        }
    }
    text
}

/// The slope of the total cost over the size, both as logarithms: least squares. One size has none.
#[allow(clippy::cast_precision_loss, reason = "sizes are small")]
fn exponent(points: Vec<(usize, f64)>) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let points: Vec<(f64, f64)> = points
        .into_iter()
        .map(|(size, each)| ((size as f64).ln(), (each * size as f64).ln()))
        .collect();
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y));
    let width = points.iter().map(|(x, _)| (x - mean_x).powi(2));
    Some(slope.sum::<f64>() / width.sum::<f64>())
}

/// The row that another is compared with: of tokio, or of the first where it has none; where there
/// are several, the one with as many tasks.
fn baseline<'a>(rows: &'a [Row], row: &Row) -> Option<&'a Row> {
    let tokio = rows.iter().find(|row| row.peer == BASELINE);
    let any = tokio.or(rows.first())?;
    let same = |it: &&Row| it.peer == any.peer && it.tasks() == row.tasks();
    Some(rows.iter().find(same).unwrap_or(any))
}

fn figure(row: &Row, baseline: Option<&Row>, what: fn(&Sample) -> f64) -> String {
    let value = median(row.samples.iter().map(what));
    match ratio(row, baseline, what) {
        Some(ratio) => format!("{value:.0} ({ratio:.2})"),
        None => format!("{value:.0}"),
    }
}

fn object(workload: Workload, row: &Row, baseline: Option<&Row>) -> serde_json::Value {
    let cpu = ratio(row, baseline, cpu_ns);
    let compared = baseline.map(|it| it.peer);
    json!({
        "workload": row.workload(workload).name(),
        "peer": row.peer,
        "n": row.size,
        "repetitions": row.samples.len(),
        "wall_ns": median(row.samples.iter().map(wall_ns)),
        "cpu_ns": median(row.samples.iter().map(cpu_ns)),
        "rss_bytes": median(row.samples.iter().map(rss_bytes)),
        "ratio_to_tokio": cpu.filter(|_| compared == Some(BASELINE)),
        "baseline": compared,
        "ratio": cpu,
        "wall_ratio": ratio(row, baseline, wall_ns),
        "n_usual": workload.size(),
        "is_about_memory": workload.is_about_memory(),
    })
}

fn ratio(row: &Row, baseline: Option<&Row>, what: fn(&Sample) -> f64) -> Option<f64> {
    let pairs = row.samples.iter().zip(&baseline?.samples);
    Some(median(
        pairs.map(|(sample, base)| what(sample) / what(base)),
    ))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn wall_ns(sample: &Sample) -> f64 {
    per_operation(sample, i64::try_from(sample.wall_ns).unwrap_or(i64::MAX))
}

fn cpu_ns(sample: &Sample) -> f64 {
    per_operation(sample, i64::try_from(sample.cpu_ns).unwrap_or(i64::MAX))
}

fn rss_bytes(sample: &Sample) -> f64 {
    per_operation(sample, sample.rss_bytes)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a figure of the table has three digits"
)]
fn per_operation(sample: &Sample, total: i64) -> f64 {
    total as f64 / sample.operations.max(1) as f64
}
