//! What `cargo xtask bench` has found out, as a table or as JSON.
use serde_json::{Value, json};

/// One line: a figure of a sandbox beside what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What was measured.
    pub(super) name: String,
    /// In what.
    pub(super) unit: &'static str,
    /// In the sandbox.
    pub(super) inside: Option<f64>,
    /// What it is compared with: plain Linux in the same machine, if not said otherwise.
    pub(super) outside: Option<f64>,
    /// The most that the ratio, or without one the figure, should be.
    pub(super) aim: Option<f64>,
}

impl Row {
    /// A line.
    pub(super) fn new(name: &str, unit: &'static str, inside: Option<f64>, outside: Option<f64>) -> Self {
        Self { name: name.to_owned(), unit, inside, outside, aim: None }
    }

    /// With an aim.
    pub(super) fn aim(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }

    /// How many times as much it is.
    fn ratio(&self) -> Option<f64> {
        Some(self.inside? / self.outside.filter(|outside| *outside > 0.0)?)
    }

    /// Whether the aim is reached, if there is one and it was measured.
    fn reached(&self) -> Option<bool> {
        let value = if self.outside.is_some() { self.ratio()? } else { self.inside? };
        Some(value <= self.aim?)
    }
}

/// The table.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = format!("{:<50}{:>12}{:>12}  {:<13}{:>7}{:>7}\n", "", "sandbox", "beside", "unit", "ratio", "aim");
    let number = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for row in rows {
        let digits = if row.inside.is_some_and(|value| value < 100.0) { 2 } else { 0 };
        let verdict = match row.reached() {
            Some(false) => "  missed",
            _ => "",
        };
        text += &format!(
            "{:<50}{:>12}{:>12}  {:<13}{:>7}{:>7}{verdict}\n",
            row.name,
            number(row.inside, digits),
            number(row.outside, digits),
            row.unit,
            number(row.ratio(), 2),
            number(row.aim, 2)
        );
    }
    text
}

/// The same for programs.
pub(super) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "name": row.name, "unit": row.unit, "sandbox": row.inside, "beside": row.outside,
            "ratio": row.ratio(), "aim": row.aim, "reached": row.reached(),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_aims() {
        let row = Row::new("a", "ns", Some(30.0), Some(20.0));
        assert_eq!(row.ratio(), Some(1.5));
        assert_eq!(row.reached(), None);
        assert_eq!(row.clone().aim(1.5).reached(), Some(true));
        assert_eq!(row.aim(1.4).reached(), Some(false));
        assert_eq!(Row::new("b", "KiB", Some(600.0), None).aim(512.0).reached(), Some(false));
        assert_eq!(Row::new("c", "ns", None, Some(1.0)).aim(2.0).reached(), None);
        assert!(text(&[Row::new("c", "ns", None, Some(0.0)).aim(2.0)]).contains(" - "));
    }
}
