//! A bar chart: one figure, one bar per variant.

use super::style::{Canvas, DrawResult, GRID, INK, SIZE, colour, letters};
use crate::numbers::{rounded, tick};
use crate::summary::Spread;
use crate::variant::Variant;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Thickness of a bar as a share of its row.
const THICKNESS: f64 = 0.62;

/// Draws the chart as SVG.
pub fn draw(title: &str, unit: &str, bars: &[(Variant, Spread)]) -> DrawResult<String> {
    let mut svg = String::new();
    {
        let height = 130 + 44 * bars.len() as u32;
        let canvas = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
        canvas.fill(&WHITE)?;
        draw_on(&canvas, title, unit, bars)?;
        canvas.present()?;
    }
    Ok(svg)
}

fn draw_on(canvas: &Canvas, title: &str, unit: &str, bars: &[(Variant, Spread)]) -> DrawResult<()> {
    let most = bars.iter().map(|(_, spread)| spread.most).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, letters(26, INK, HPos::Left))
        .margin(14)
        .margin_right(40)
        .x_label_area_size(58)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..most * 1.15, bars.len() as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 18).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 19).into_font().color(&INK))
        .x_label_formatter(&|value| tick(*value))
        .x_desc(unit)
        .draw()?;
    for (n, (variant, spread)) in bars.iter().enumerate() {
        let pixel = |value, offset| chart.backend_coord(&(value, n as f64 + offset));
        let (top, bottom) = ((1.0 - THICKNESS) / 2.0, (1.0 + THICKNESS) / 2.0);
        let corners = [pixel(0.0, top), pixel(spread.median, bottom)];
        canvas.draw(&Rectangle::new(corners, colour(*variant).filled()))?;
        let (least, most) = (pixel(spread.least, 0.5), pixel(spread.most, 0.5));
        // White behind the whisker, because a black bar would hide it.
        canvas.draw(&PathElement::new([least, most], WHITE.stroke_width(4)))?;
        canvas.draw(&PathElement::new([least, most], INK.stroke_width(2)))?;
        let (left, middle) = pixel(0.0, 0.5);
        canvas.draw(&Text::new(variant.name(), (left - 10, middle), letters(19, INK, HPos::Right)))?;
        canvas.draw(&Text::new(
            rounded(spread.median),
            (most.0 + 12, middle),
            letters(19, INK, HPos::Left),
        ))?;
    }
    Ok(())
}
