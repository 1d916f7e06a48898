//! Charts as SVG text: bars, stacked bars, lines. Drawn here because they are
//! simple and must not need anything to be installed.

use std::fmt::Write;

use crate::samples::Spread;

const WIDTH: f64 = 760.0;
/// Room for the names on the left, and for the figures on the right.
const LEFT: f64 = 168.0;
const RIGHT: f64 = 120.0;
/// Below the title and the subtitle.
const TOP: f64 = 64.0;
const ROW: f64 = 26.0;
const BAR: f64 = 17.0;

const INK: &str = "#1f2328";
const FAINT: &str = "#656d76";
const GRID: &str = "#d8dee4";
pub const OURS: &str = "#d4480b";
pub const FIRST: &str = "#e8a33d";
pub const RIVAL: &str = "#5b7c99";
pub const OUTSIDE: &str = "#b9c4cf";
const PARTS: [&str; 6] = [
    "#d4480b", "#e8a33d", "#6a8d5a", "#4a7ba6", "#8a6fa8", "#c9ced4",
];

/// A drawing that grows downwards.
struct Drawing {
    body: String,
}

impl Drawing {
    fn titled(title: &str, subtitle: &str) -> Self {
        let mut drawing = Self {
            body: String::new(),
        };
        drawing.text(16.0, 28.0, "start", 17.0, INK, true, title);
        drawing.text(16.0, 47.0, "start", 12.0, FAINT, false, subtitle);
        drawing
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the attributes of one SVG element"
    )]
    fn text(
        &mut self,
        x: f64,
        y: f64,
        anchor: &str,
        size: f64,
        colour: &str,
        bold: bool,
        text: &str,
    ) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\"{weight} fill=\"{colour}\">{text}</text>"
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>",
            width.max(1.0)
        );
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            points.join(" ")
        );
    }

    fn finish(self, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n\
             <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

/// One bar: its name, its length, what is written behind it.
pub struct Bar {
    pub name: String,
    pub spread: Spread,
    pub figure: String,
    pub colour: &'static str,
}

/// How lengths follow from values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

impl Scale {
    /// The place of a value between 0 and 1, for values from `low` to `high`.
    fn place(self, value: f64, low: f64, high: f64) -> f64 {
        match self {
            Self::Linear => value / high,
            Self::Log => (value / low).ln() / (high / low).ln(),
        }
        .clamp(0.0, 1.0)
    }

    fn ticks(self, low: f64, high: f64) -> Vec<f64> {
        match self {
            Self::Linear => {
                let step = round_step(high / 5.0);
                (0..)
                    .map(|count| f64::from(count) * step)
                    .take_while(|&tick| tick <= high)
                    .collect()
            }
            Self::Log => (0..16)
                .map(|power| low * 10_f64.powi(power))
                .take_while(|&tick| tick <= high)
                .collect(),
        }
    }
}

/// 1, 2 or 5 times a power of ten, at least `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&step| step >= rough)
        .unwrap_or(power)
}

/// Horizontal bars, the spread drawn over each end.
pub fn bars(title: &str, subtitle: &str, scale: Scale, bars: &[Bar]) -> String {
    let mut drawing = Drawing::titled(title, subtitle);
    let high = bars.iter().map(|bar| bar.spread.high).fold(1e-9, f64::max);
    let smallest = bars.iter().map(|bar| bar.spread.low).fold(high, f64::min);
    let low = 10_f64.powf(smallest.max(1e-9).log10().floor());
    let span = WIDTH - LEFT - RIGHT;
    let bottom = TOP + ROW * bars.len() as f64;
    let x = |value: f64| LEFT + span * scale.place(value, low, high);

    for tick in scale.ticks(low, high) {
        drawing.line(&[(x(tick), TOP - 4.0), (x(tick), bottom)], GRID, 1.0);
        drawing.text(
            x(tick),
            bottom + 15.0,
            "middle",
            11.0,
            FAINT,
            false,
            &short(tick),
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let middle = y + BAR / 2.0 + 4.0;
        let own = bar.colour == OURS;
        drawing.text(LEFT - 8.0, middle, "end", 12.5, INK, own, &bar.name);
        drawing.bar(LEFT, y, x(bar.spread.median) - LEFT, BAR, bar.colour);
        let ends = [
            (x(bar.spread.low), y + BAR / 2.0),
            (x(bar.spread.high), y + BAR / 2.0),
        ];
        drawing.line(&ends, INK, 1.5);
        let behind = x(bar.spread.high).max(x(bar.spread.median)) + 7.0;
        drawing.text(behind, middle, "start", 12.0, INK, own, &bar.figure);
    }
    drawing.finish(bottom + 28.0)
}

/// A stacked bar: its name and the length of each part.
pub struct Stack {
    pub name: String,
    pub parts: Vec<f64>,
    pub own: bool,
}

/// Horizontal bars of named parts, with a legend.
pub fn stacks(title: &str, subtitle: &str, names: &[&str], stacks: &[Stack]) -> String {
    let mut drawing = Drawing::titled(title, subtitle);
    let top = TOP + 22.0;
    let mut x = 16.0;
    for (name, colour) in names.iter().zip(PARTS) {
        drawing.bar(x, TOP - 6.0, 12.0, 12.0, colour);
        drawing.text(x + 17.0, TOP + 4.5, "start", 12.0, INK, false, name);
        x += 32.0 + 7.2 * name.len() as f64;
    }
    let high = stacks
        .iter()
        .map(|stack| stack.parts.iter().sum())
        .fold(1e-9, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / high;
    let bottom = top + ROW * stacks.len() as f64;
    for tick in Scale::Linear.ticks(0.0, high) {
        let x = LEFT + tick * scale;
        drawing.line(&[(x, top - 4.0), (x, bottom)], GRID, 1.0);
        drawing.text(x, bottom + 15.0, "middle", 11.0, FAINT, false, &short(tick));
    }
    for (row, stack) in stacks.iter().enumerate() {
        let y = top + ROW * row as f64;
        let middle = y + BAR / 2.0 + 4.0;
        drawing.text(LEFT - 8.0, middle, "end", 12.5, INK, stack.own, &stack.name);
        let mut x = LEFT;
        for (part, colour) in stack.parts.iter().zip(PARTS) {
            let width = part.max(0.0) * scale;
            if width >= 0.5 {
                drawing.bar(x, y, width, BAR, colour);
            }
            x += width;
        }
        let sum = format!("{:.0}", stack.parts.iter().sum::<f64>());
        drawing.text(x + 7.0, middle, "start", 12.0, INK, stack.own, &sum);
    }
    drawing.finish(bottom + 28.0)
}

/// A line over the steps: one value for each, where there is one.
pub struct Series {
    pub name: String,
    pub values: Vec<Option<f64>>,
    pub colour: &'static str,
}

/// Lines over evenly spaced, named steps.
pub fn lines(
    title: &str,
    subtitle: &str,
    axis: &str,
    steps: &[String],
    series: &[Series],
) -> String {
    const HEIGHT: f64 = 330.0;
    const GUTTER: f64 = 64.0;
    let mut drawing = Drawing::titled(title, subtitle);
    let values = || {
        series
            .iter()
            .flat_map(|line| line.values.iter().flatten().copied())
    };
    let high = values().fold(1e-9, f64::max);
    let span = WIDTH - GUTTER - LEFT - 30.0;
    let x = |step: usize| GUTTER + 30.0 + span * step as f64 / (steps.len().max(2) - 1) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / high);
    for tick in Scale::Linear.ticks(0.0, high) {
        drawing.line(
            &[(GUTTER, y(tick)), (x(steps.len() - 1) + 8.0, y(tick))],
            GRID,
            1.0,
        );
        drawing.text(
            GUTTER - 7.0,
            y(tick) + 4.0,
            "end",
            11.0,
            FAINT,
            false,
            &short(tick),
        );
    }
    for (step, name) in steps.iter().enumerate() {
        drawing.text(
            x(step),
            TOP + HEIGHT + 18.0,
            "middle",
            11.5,
            FAINT,
            false,
            name,
        );
    }
    let middle = x(0) + span / 2.0;
    drawing.text(
        middle,
        TOP + HEIGHT + 38.0,
        "middle",
        12.0,
        FAINT,
        false,
        axis,
    );

    let mut labels = Vec::new();
    for line in series {
        let points: Vec<_> = line
            .values
            .iter()
            .enumerate()
            .filter_map(|(step, value)| Some((x(step), y((*value)?))))
            .collect();
        drawing.line(
            &points,
            line.colour,
            if line.colour == OURS { 3.0 } else { 1.8 },
        );
        if let Some(&(x, y)) = points.last() {
            labels.push((y, x, line));
        }
    }
    // Names beside the ends, pushed apart where they would overlap.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = 0.0_f64;
    for (y, x, line) in labels {
        let place = y.max(free);
        free = place + 15.0;
        drawing.text(
            x + 12.0,
            place + 4.0,
            "start",
            12.0,
            line.colour,
            line.colour == OURS,
            &line.name,
        );
    }
    drawing.finish(TOP + HEIGHT + 54.0)
}

/// Colours for lines of rivals, told apart on white.
pub const LINE_COLOURS: [&str; 7] = [
    "#2f6f9f", "#5b8f4b", "#8a5fa8", "#a8782a", "#4b8f8f", "#9a4f6a", "#6b7280",
];

/// A number for an axis.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}
