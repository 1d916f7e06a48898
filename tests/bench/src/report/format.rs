//! Figures and tables as text.

use std::fmt::Write;

use crate::samples::{Interval, Spread};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

/// A table in Markdown, its columns aligned so that it reads well as plain text.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|&title| title.to_owned()).collect();
    let rows: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
    let width = |cell: &String| cell.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(width).max().unwrap_or(0).max(3)
        })
        .collect();
    let mut text = String::new();
    for (place, row) in rows.iter().enumerate() {
        for (cell, &wide) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:wide$} ");
        }
        text += "|\n";
        if place == 0 {
            for &wide in &widths {
                let _ = write!(text, "|{}", "-".repeat(wide + 2));
            }
            text += "|\n";
        }
    }
    text
}

/// Text in lines as long as the README's.
pub fn wrapped(text: &str) -> String {
    const WIDTH: usize = 88;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

pub fn unknown() -> String {
    "not measured".into()
}

/// A ratio with the quartiles of its rounds.
pub fn times(ratio: Spread) -> String {
    bracketed(ratio.median, ratio.low, ratio.high)
}

/// A ratio with the interval of its median.
pub fn about(ratio: Interval) -> String {
    bracketed(ratio.median, ratio.low, ratio.high)
}

fn bracketed(ratio: f64, low: f64, high: f64) -> String {
    format!("{ratio:.3} [{low:.3}–{high:.3}]")
}

/// The median, and the quartiles where they differ in what is shown.
pub fn with_spread(spread: Spread) -> String {
    let [low, median, high] = [spread.low, spread.median, spread.high].map(number);
    if low == high {
        median
    } else {
        format!("{median} [{low}–{high}]")
    }
}

/// Three digits at least, thousands apart.
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let digits = text.find('.').unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits);
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::{number, table, wrapped};

    #[test]
    fn lines_are_no_longer_than_the_readmes() {
        let text = "word ".repeat(40);
        let lines = wrapped(&text);
        assert!(
            lines
                .lines()
                .all(|line| (80..=88).contains(&line.len()) || line.len() == 29)
        );
        assert_eq!(lines.replace('\n', " "), text);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        assert_eq!(number(1234567.8), "1,234,568");
        assert_eq!(number(-123.0), "-123");
        assert_eq!(number(57.25), "57.2");
        assert_eq!(number(1.5), "1.50");
        assert_eq!(number(16.0), "16");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(&["", "µs"], [vec!["first".into(), "1".into()]]);
        assert_eq!(text, "|       | µs  |\n|-------|-----|\n| first | 1   |\n");
    }
}
