//! Measuring: CPU time of the process, medians, and the table.

use std::fmt::Write;

/// The process's user and system time, in seconds. The kernel counts in hundredths: measure what takes longer.
pub fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold spaces; the times are the 12th and 13th fields behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A figure.
pub struct Row {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// What it is held against, in the same unit.
    pub baseline: Option<f64>,
    /// Higher is better for us.
    pub ratio: Option<f64>,
}

impl Row {
    pub fn plain(name: &str, value: f64, unit: &'static str) -> Row {
        Row { name: name.into(), value, unit, baseline: None, ratio: None }
    }

    /// More is better.
    pub fn rate(name: &str, value: f64, unit: &'static str, baseline: f64) -> Row {
        Row { baseline: Some(baseline), ratio: Some(value / baseline), ..Row::plain(name, value, unit) }
    }

    /// Less is better.
    pub fn cost(name: &str, value: f64, unit: &'static str, baseline: f64) -> Row {
        Row { baseline: Some(baseline), ratio: Some(baseline / value), ..Row::plain(name, value, unit) }
    }
}

pub fn table(rows: &[Row]) -> String {
    let mut out = format!("{:<38} {:>14} {:<12} {:>14} {:>7}\n", "", "value", "unit", "baseline", "ratio");
    for row in rows {
        let number =
            |value: Option<f64>, digits| value.map_or_else(String::new, |v: f64| format!("{v:.digits$}"));
        let digits = if row.value >= 1_000.0 { 0 } else { 2 };
        let (value, baseline) = (number(Some(row.value), digits), number(row.baseline, digits));
        let _ = writeln!(
            out,
            "{:<38} {value:>14} {:<12} {baseline:>14} {:>7}",
            row.name,
            row.unit,
            number(row.ratio, 2)
        );
    }
    out
}

pub fn json(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), |v| format!("{v}"));
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                r#"{{"name": "{}", "value": {}, "unit": "{}", "baseline": {}, "ratio": {}}}"#,
                row.name,
                row.value,
                row.unit,
                number(row.baseline),
                number(row.ratio)
            )
        })
        .collect();
    format!("[\n  {}\n]\n", rows.join(",\n  "))
}
