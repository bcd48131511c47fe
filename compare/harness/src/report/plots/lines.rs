//! A line plot: a figure against the varied quantity, with whiskers over the range and labels at the line ends.

use super::style::{Canvas, DrawResult, GRID, INK, SIZE, colour, letters, marker};
use crate::numbers::tick;
use crate::summary::Spread;
use crate::variant::Variant;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::ops::Range;

/// Distance between labels at the line ends in pixels.
const LINE_HEIGHT: i32 = 22;

/// Width reserved for these labels in pixels.
const NAMES_WIDTH: u32 = 150;

/// A variant and its points, ordered by x.
pub type Series = (Variant, Vec<(f64, Spread)>);

/// A line plot.
pub struct LinePlot {
    pub title: &'static str,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

/// An axis.
pub struct Axis {
    /// Quantity and unit.
    pub title: &'static str,
    pub scale: Scale,
}

/// Mapping from values to positions. A logarithmic axis is drawn as a linear axis of logarithms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log2,
    Log10,
}

/// An axis with chosen tick marks.
struct MarkedAxis {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for MarkedAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        start + (f64::from(end - start) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl From<MarkedAxis> for Range<f64> {
    fn from(marked: MarkedAxis) -> Range<f64> {
        marked.range
    }
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            Scale::Log2 => value.log2(),
            Scale::Log10 => value.log10(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Scale::Linear => place,
            Scale::Log2 => place.exp2(),
            Scale::Log10 => 10f64.powf(place),
        }
    }

    /// Returns the axis for values from `least` to `most`.
    fn marked(self, least: f64, most: f64) -> MarkedAxis {
        if self == Scale::Linear {
            // An axis needs an extent even if every value is zero.
            let most = most.max(1.0);
            let marks = linear_marks(most);
            return MarkedAxis { range: 0.0..most * 1.05, marks };
        }
        let range = self.place(least * 0.8)..self.place(most * 1.25);
        let marks = logarithmic_marks(least * 0.8, most * 1.25).into_iter().map(|mark| self.place(mark));
        MarkedAxis { range, marks: marks.collect() }
    }
}

impl LinePlot {
    /// Draws the plot as SVG.
    pub fn draw(&self) -> DrawResult<String> {
        let mut svg = String::new();
        {
            let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            canvas.fill(&WHITE)?;
            self.draw_on(&canvas)?;
            canvas.present()?;
        }
        Ok(svg)
    }

    fn draw_on(&self, canvas: &Canvas) -> DrawResult<()> {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let least = points().map(|(_, spread)| spread.least).fold(f64::INFINITY, f64::min);
        let most = points().map(|(_, spread)| spread.most).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(canvas)
            .caption(self.title, letters(26, INK, HPos::Left))
            .margin(14)
            .margin_right(NAMES_WIDTH)
            .x_label_area_size(58)
            .y_label_area_size(88)
            .build_cartesian_2d(self.x_axis(), self.y.scale.marked(least, most))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 18).into_font().color(&INK))
            .axis_desc_style(("sans-serif", 19).into_font().color(&INK))
            .x_label_formatter(&|place| tick(self.x.scale.value(*place)))
            .y_label_formatter(&|place| tick(self.y.scale.value(*place)))
            .x_desc(self.x.title)
            .y_desc(self.y.title)
            .draw()?;
        let pixel = |x, y| chart.backend_coord(&(self.x.scale.place(x), self.y.scale.place(y)));
        for (variant, points) in &self.series {
            for (x, spread) in points {
                whisker(canvas, *variant, pixel(*x, spread.least), pixel(*x, spread.most))?;
            }
            line(
                canvas,
                *variant,
                &points.iter().map(|(x, spread)| pixel(*x, spread.median)).collect::<Vec<_>>(),
            )?;
        }
        let end = |(variant, points): &Series| {
            points.last().map(|(x, spread)| (*variant, pixel(*x, spread.median)))
        };
        names(canvas, self.series.iter().filter_map(end).collect())
    }

    /// Returns the x axis, with a tick mark at each measured value.
    fn x_axis(&self) -> MarkedAxis {
        let points = self.series.iter().flat_map(|(_, points)| points);
        let mut marks: Vec<f64> = points.map(|(x, _)| self.x.scale.place(*x)).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        let (least, most) = (marks.first().copied().unwrap_or(0.0), marks.last().copied().unwrap_or(1.0));
        let margin = (most - least) * 0.03;
        MarkedAxis { range: least - margin..most + margin, marks }
    }
}

/// Returns about six round numbers from zero to `most`.
fn linear_marks(most: f64) -> Vec<f64> {
    let rough = most / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(power);
    (0..).map(|n| f64::from(n) * step).take_while(|mark| *mark <= most * 1.05).collect()
}

/// Returns powers of ten, and their multiples by two and five if the range is small.
fn logarithmic_marks(least: f64, most: f64) -> Vec<f64> {
    let digits: &[f64] = if most / least < 1000.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let marks = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    marks.filter(|mark| (least..=most).contains(mark)).collect()
}

fn line(canvas: &Canvas, variant: Variant, pixels: &[(i32, i32)]) -> DrawResult<()> {
    let style = colour(variant).stroke_width(3);
    if variant == Variant::Direct {
        canvas.draw(&DashedPathElement::new(pixels.iter().copied(), 9, 6, style))?;
    } else {
        canvas.draw(&PathElement::new(pixels, style))?;
    }
    pixels.iter().try_for_each(|pixel| canvas.draw(&marker(variant, *pixel)))
}

fn whisker(canvas: &Canvas, variant: Variant, low: (i32, i32), high: (i32, i32)) -> DrawResult<()> {
    let style = colour(variant).stroke_width(1);
    canvas.draw(&PathElement::new([low, high], style))?;
    for (x, y) in [low, high] {
        canvas.draw(&PathElement::new([(x - 4, y), (x + 4, y)], style))?;
    }
    Ok(())
}

/// Draws the variant names at the ends of their lines, moved apart where they would overlap.
fn names(canvas: &Canvas, mut ends: Vec<(Variant, (i32, i32))>) -> DrawResult<()> {
    ends.sort_by_key(|(_, (_, y))| *y);
    let heights = spread_apart(&ends.iter().map(|(_, (_, y))| *y).collect::<Vec<_>>(), SIZE.1 as i32 - 70);
    let left = (SIZE.0 - NAMES_WIDTH) as i32 + 8;
    for ((variant, (x, y)), height) in ends.into_iter().zip(heights) {
        let thin = colour(variant).mix(0.5).stroke_width(1);
        canvas.draw(&PathElement::new([(x, y), (left, height)], thin))?;
        canvas.draw(&marker(variant, (left + 8, height)))?;
        canvas.draw(&Text::new(variant.name(), (left + 22, height), letters(19, INK, HPos::Left)))?;
    }
    Ok(())
}

/// Moves heights, given in order, to be at least a line apart and, if there is room, not below `lowest`.
fn spread_apart(heights: &[i32], lowest: i32) -> Vec<i32> {
    let mut moved: Vec<i32> = heights.to_vec();
    for n in 1..moved.len() {
        moved[n] = moved[n].max(moved[n - 1] + LINE_HEIGHT);
    }
    let mut ceiling = lowest;
    for height in moved.iter_mut().rev() {
        *height = (*height).min(ceiling);
        ceiling = *height - LINE_HEIGHT;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        for (heights, moved) in [
            (vec![10, 100], vec![10, 100]),
            (vec![10, 11, 12], vec![10, 32, 54]),
            (vec![390, 400, 400], vec![356, 378, 400]),
        ] {
            assert_eq!(spread_apart(&heights, 400), moved);
        }
    }

    #[test]
    fn tick_marks_are_round_numbers() {
        assert_eq!(linear_marks(42_000.0), [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0]);
        assert_eq!(logarithmic_marks(0.8, 60.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(logarithmic_marks(5.0, 6000.0), [10.0, 100.0, 1000.0]);
    }
}
