//! Charts as SVG text: bars, stacked bars, lines. Drawn here because they are
//! simple and must not need anything to be installed.
//!
//! A page that shows them may be light or dark, and an image does not know: a style
//! that asks for the reader's colour scheme follows the system, not the page. So each
//! chart is a card of its own, light on both, and its text is as readable on one as on
//! the other. The colours are told apart by all kinds of colour vision (after Okabe and
//! Ito, darker where they are lines or text). Every axis begins at zero.

use std::fmt::Write;

use crate::report::format::number;
use crate::samples::Spread;

const WIDTH: f64 = 800.0;
const MARGIN: f64 = 20.0;
/// Room for the names on the left, and for the figures on the right.
const LEFT: f64 = 176.0;
const RIGHT: f64 = 160.0;
/// Below the title and the subtitle.
const TOP: f64 = 82.0;
const ROW: f64 = 29.0;
const BAR: f64 = 20.0;
/// From the bottom of the rows to that of the card.
const BELOW: f64 = 46.0;

const CARD: &str = "#ffffff";
const EDGE: &str = "#d0d7de";
const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const GRID: &str = "#e4e8ec";
pub const OURS: &str = "#c64600";
pub const FIRST: &str = "#e69f00";
pub const RIVAL: &str = "#7f9bb3";
pub const OUTSIDE: &str = "#cdd6de";

/// The parts of a stacked bar, and what can be read on each.
const PARTS: [(&str, &str); 6] = [
    ("#0072b2", "#ffffff"),
    ("#e69f00", INK),
    ("#2fae87", INK),
    ("#d694b9", INK),
    ("#7cc4ec", INK),
    ("#d5dbe1", INK),
];

/// Lines other than ours.
pub const LINE_COLOURS: [&str; 7] = [
    "#946300", "#0072b2", "#00795a", "#9a4a86", "#57606a", "#6b4fbb", "#7a5230",
];

/// What a text is for, which says how it looks.
#[derive(Clone, Copy)]
enum Style {
    Title,
    Subtitle,
    /// A name or a figure.
    Label,
    /// The same of the server that the chart is about.
    Own,
    Tick,
    /// Inside a bar, in a colour that can be read there.
    Inside(&'static str),
    /// Beside a line, in its colour.
    Line(&'static str),
    OwnLine(&'static str),
}

impl Style {
    /// Size, weight, colour.
    fn attributes(self) -> (f64, u32, &'static str) {
        match self {
            Self::Title => (19.0, 600, INK),
            Self::Subtitle => (13.5, 400, FAINT),
            Self::Label => (13.5, 400, INK),
            Self::Own => (13.5, 700, INK),
            Self::Tick => (12.5, 400, FAINT),
            Self::Inside(colour) => (12.5, 400, colour),
            Self::Line(colour) => (13.5, 400, colour),
            Self::OwnLine(colour) => (13.5, 700, colour),
        }
    }

    /// A label, or that of our own.
    fn label(own: bool) -> Self {
        if own { Self::Own } else { Self::Label }
    }

    /// How wide a text may be: more than it is in most fonts.
    fn width(self, text: &str) -> f64 {
        0.62 * self.attributes().0 * text.chars().count() as f64
    }
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A drawing that grows downwards, and the same in words.
struct Drawing {
    title: String,
    description: String,
    body: String,
}

impl Drawing {
    fn titled(title: &str, subtitle: &str) -> Self {
        let mut drawing = Self {
            title: title.into(),
            description: subtitle.into(),
            body: String::new(),
        };
        drawing.text((MARGIN, 35.0), Anchor::Start, Style::Title, title);
        drawing.text((MARGIN, 57.0), Anchor::Start, Style::Subtitle, subtitle);
        drawing
    }

    /// For who does not see the drawing.
    fn describe(&mut self, name: &str, figure: &str) {
        let _ = write!(self.description, " {name}: {figure}.");
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, style: Style, text: &str) {
        let (size, weight, colour) = style.attributes();
        let (anchor, text) = (anchor.name(), escaped(text));
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             font-weight=\"{weight}\" fill=\"{colour}\">{text}</text>"
        );
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        // What is next to nothing is still to be seen.
        let width = width.max(1.5);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
        );
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            points.join(" ")
        );
    }

    /// Vertical lines behind the bars, and their values below.
    fn grid(&mut self, high: f64, top: f64, bottom: f64) {
        for tick in ticks(high) {
            let x = along(tick, high);
            self.line(&[(x, top - 5.0), (x, bottom)], GRID, 1.0);
            let place = (x, bottom + 17.0);
            self.text(place, Anchor::Middle, Style::Tick, &short(tick));
        }
    }

    fn finish(self, height: f64) -> String {
        let (title, description) = (escaped(&self.title), escaped(&self.description));
        let (width, height) = (WIDTH, height.round());
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"title description\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"description\">{description}</desc>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"{CARD}\" stroke=\"{EDGE}\"/>\n{}</svg>\n",
            width - 1.0,
            height - 1.0,
            self.body
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Where a value is on the axis of the bars, which begins at zero.
fn along(value: f64, high: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * value / high
}

/// The first line of a text that stands beside a bar.
fn beside(y: f64) -> f64 {
    y + BAR / 2.0 + 4.8
}

fn ticks(high: f64) -> impl Iterator<Item = f64> {
    let step = round_step(high / 5.0);
    (0..)
        .map(move |count| f64::from(count) * step)
        .take_while(move |&tick| tick <= high)
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

/// One bar: its name, its length, what is written behind it, and a note, in it if there
/// is room.
pub struct Bar {
    pub name: String,
    pub spread: Spread,
    pub figure: String,
    pub note: &'static str,
    pub colour: &'static str,
}

/// Horizontal bars, the spread drawn over each end.
pub fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let mut drawing = Drawing::titled(title, subtitle);
    let high = bars.iter().map(|bar| bar.spread.high).fold(1e-9, f64::max);
    let bottom = TOP + ROW * bars.len() as f64;
    drawing.grid(high, TOP, bottom);
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let style = Style::label(bar.colour == OURS);
        drawing.text((LEFT - 10.0, beside(y)), Anchor::End, style, &bar.name);
        let end = along(bar.spread.median, high);
        drawing.bar((LEFT, y), (end - LEFT, BAR), bar.colour);
        let inside = Style::Inside(INK);
        let mut figure = bar.figure.clone();
        if inside.width(bar.note) + 16.0 < end - LEFT {
            drawing.text((LEFT + 8.0, beside(y)), Anchor::Start, inside, bar.note);
        } else if !bar.note.is_empty() {
            figure = format!("{figure}, {}", bar.note);
        }
        let (low, most) = (along(bar.spread.low, high), along(bar.spread.high, high));
        if most - low > 2.0 {
            let middle = y + BAR / 2.0;
            drawing.line(&[(low, middle), (most, middle)], INK, 1.2);
            for x in [low, most] {
                drawing.line(&[(x, middle - 4.0), (x, middle + 4.0)], INK, 1.2);
            }
        }
        let behind = (most.max(end) + 8.0, beside(y));
        drawing.text(behind, Anchor::Start, style, &figure);
        drawing.describe(&bar.name, &bar.figure);
    }
    let corner = (WIDTH - MARGIN, bottom + 33.0);
    let key = "whiskers: quartiles; ×: times that of rot13d";
    drawing.text(corner, Anchor::End, Style::Tick, key);
    drawing.finish(bottom + BELOW)
}

/// A stacked bar: its name and the length of each part.
pub struct Stack {
    pub name: String,
    pub parts: Vec<f64>,
    pub own: bool,
}

impl Stack {
    /// On a machine that is busy memory may seem to have been given back.
    fn sum(&self) -> f64 {
        self.parts.iter().sum::<f64>().max(0.0)
    }
}

/// Horizontal bars of named parts. The names are above the bars in the same order, with
/// the sizes in each; a part that no bar has is left out.
pub fn stacks(title: &str, subtitle: &str, names: &[&str], stacks: &[Stack]) -> String {
    let mut drawing = Drawing::titled(title, subtitle);
    let seen = |part: usize| stacks.iter().any(|stack| stack.parts[part] >= 0.5);
    let mut x = LEFT;
    for (part, (name, (colour, _))) in names.iter().zip(PARTS).enumerate() {
        if seen(part) {
            drawing.bar((x, TOP - 2.0), (13.0, 13.0), colour);
            drawing.text((x + 18.0, TOP + 9.5), Anchor::Start, Style::Tick, name);
            x += 30.0 + 0.97 * Style::Tick.width(name);
        }
    }
    let top = TOP + 28.0;
    let high = stacks.iter().map(Stack::sum).fold(1e-9, f64::max);
    let bottom = top + ROW * stacks.len() as f64;
    drawing.grid(high, top, bottom);
    for (row, stack) in stacks.iter().enumerate() {
        let y = top + ROW * row as f64;
        let style = Style::label(stack.own);
        drawing.text((LEFT - 10.0, beside(y)), Anchor::End, style, &stack.name);
        let mut before = 0.0;
        for (part, (colour, readable)) in stack.parts.iter().zip(PARTS) {
            if *part < 0.5 {
                continue;
            }
            let (start, end) = (along(before, high), along(before + part, high));
            before += part;
            drawing.bar((start, y), (end - start, BAR), colour);
            let (inside, size) = (Style::Inside(readable), format!("{part:.0}"));
            if inside.width(&size) + 4.0 < end - start {
                let middle = ((start + end) / 2.0, beside(y));
                drawing.text(middle, Anchor::Middle, inside, &size);
            }
        }
        let sum = format!("{:.0}", stack.sum());
        let behind = (along(stack.sum(), high) + 8.0, beside(y));
        drawing.text(behind, Anchor::Start, style, &sum);
        drawing.describe(&stack.name, &sum);
    }
    drawing.finish(bottom + BELOW)
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
    const HEIGHT: f64 = 340.0;
    const GUTTER: f64 = 62.0;
    const APART: f64 = 17.0;
    const BOTTOM: f64 = TOP + HEIGHT;
    let mut drawing = Drawing::titled(title, subtitle);
    let values = series
        .iter()
        .flat_map(|line| line.values.iter().flatten().copied());
    let high = values.fold(1e-9, f64::max);
    let span = WIDTH - GUTTER - LEFT - 40.0;
    let x = |step: usize| GUTTER + 20.0 + span * step as f64 / (steps.len().max(2) - 1) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / high);
    let end = x(steps.len().max(1) - 1);
    for tick in ticks(high) {
        drawing.line(&[(GUTTER, y(tick)), (end + 8.0, y(tick))], GRID, 1.0);
        let place = (GUTTER - 8.0, y(tick) + 4.5);
        drawing.text(place, Anchor::End, Style::Tick, &short(tick));
    }
    for (step, name) in steps.iter().enumerate() {
        let place = (x(step), BOTTOM + 20.0);
        drawing.text(place, Anchor::Middle, Style::Tick, name);
    }
    let middle = (x(0) + span / 2.0, BOTTOM + 42.0);
    drawing.text(middle, Anchor::Middle, Style::Subtitle, axis);

    // Ours last, on top of the others.
    let mut drawn: Vec<&Series> = series.iter().collect();
    drawn.sort_by_key(|line| line.colour == OURS);
    let mut ends = Vec::new();
    for line in drawn {
        let own = line.colour == OURS;
        let points: Vec<_> = line
            .values
            .iter()
            .enumerate()
            .filter_map(|(step, value)| Some((x(step), y((*value)?))))
            .collect();
        drawing.line(&points, line.colour, if own { 3.4 } else { 1.8 });
        for &point in &points {
            drawing.dot(point, if own { 4.2 } else { 2.8 }, line.colour);
        }
        let said = line.values.iter().zip(steps).filter_map(|(value, step)| {
            let value = (*value)?;
            Some(format!("{value:.0} at {step}"))
        });
        drawing.describe(&line.name, &said.collect::<Vec<_>>().join(", "));
        if let Some(&point) = points.last() {
            ends.push((point, line));
        }
    }
    // Names beside the ends of their lines.
    ends.sort_by(|((_, a), _), ((_, b), _)| a.total_cmp(b));
    let heights: Vec<f64> = ends.iter().map(|((_, y), _)| *y).collect();
    let places = spread_out(&heights, APART, BOTTOM);
    for (((from, height), line), place) in ends.into_iter().zip(places) {
        drawing.line(
            &[(from + 5.0, height), (end + 18.0, place)],
            line.colour,
            0.8,
        );
        let style = match line.colour == OURS {
            true => Style::OwnLine(line.colour),
            false => Style::Line(line.colour),
        };
        let name = (end + 22.0, place + 4.5);
        drawing.text(name, Anchor::Start, style, &line.name);
    }
    drawing.finish(BOTTOM + 60.0)
}

/// Moves sorted heights until they are so far apart, with none below `bottom`.
fn spread_out(heights: &[f64], apart: f64, bottom: f64) -> Vec<f64> {
    let mut places = heights.to_vec();
    for place in 1..places.len() {
        places[place] = places[place].max(places[place - 1] + apart);
    }
    let mut lowest = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(lowest);
        lowest = *place - apart;
    }
    places
}

/// A number for an axis.
fn short(value: f64) -> String {
    match value {
        millions if millions >= 1e6 => format!("{}M", millions / 1e6),
        less => number(less),
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, OURS, Stack, bars, spread_out, stacks, ticks};
    use crate::samples::Spread;

    #[test]
    fn names_are_apart_and_above_the_bottom() {
        assert_eq!(spread_out(&[1.0, 50.0], 10.0, 100.0), [1.0, 50.0]);
        assert_eq!(spread_out(&[1.0, 2.0, 3.0], 10.0, 100.0), [1.0, 11.0, 21.0]);
        assert_eq!(spread_out(&[97.0, 98.0], 10.0, 100.0), [90.0, 100.0]);
    }

    #[test]
    fn an_axis_begins_at_zero() {
        assert_eq!(ticks(13_400.0).collect::<Vec<_>>(), [0.0, 5e3, 1e4]);
        assert_eq!(ticks(9.0).collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_figure_and_told_in_words() {
        let bar = |name: &str, median| Bar {
            name: name.into(),
            spread: Spread::of(vec![median]).unwrap(),
            figure: format!("{median}"),
            note: "",
            colour: OURS,
        };
        let svg = bars(
            "Rate",
            "More is better.",
            &[bar("one", 100.0), bar("a<b", 25.0)],
        );
        assert!(
            svg.contains("width=\"464.0\"") && svg.contains("width=\"116.0\""),
            "{svg}"
        );
        assert!(svg.contains("More is better. one: 100. a&lt;b: 25.</desc>"));
    }

    #[test]
    fn a_part_that_no_bar_has_is_not_named() {
        let stack = Stack {
            name: "one".into(),
            parts: vec![4.0, 0.1],
            own: true,
        };
        let svg = stacks("Memory", "", &["pages", "nothing"], &[stack]);
        assert!(svg.contains(">pages<") && !svg.contains(">nothing<"));
    }
}
