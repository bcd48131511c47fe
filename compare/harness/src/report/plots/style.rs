//! Style of the plots: each variant has the same colour and marker in all of them.

use crate::variant::Variant;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Result of drawing on an SVG.
pub type DrawResult<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// Drawing area.
pub type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Size of a plot in pixels.
pub const SIZE: (u32, u32) = (1000, 540);

/// Colour of text and frames.
pub const INK: RGBColor = RGBColor(0x22, 0x26, 0x2b);

/// Colour of grid lines.
pub const GRID: RGBColor = RGBColor(0xdd, 0xdf, 0xe2);

/// Okabe and Ito's palette, which is distinguishable with colour vision deficiency. Their yellow is too pale on
/// white, so olive replaces it. `direct` is grey, because it is no balancer.
pub fn colour(variant: Variant) -> RGBColor {
    match variant {
        Variant::Direct => RGBColor(0x80, 0x84, 0x88),
        Variant::Parked => RGBColor(0x00, 0x72, 0xb2),
        Variant::TinyHttp => RGBColor(0x56, 0xb4, 0xe9),
        Variant::Threads => RGBColor(0x00, 0x9e, 0x73),
        Variant::Async => RGBColor(0xd5, 0x5e, 0x00),
        Variant::AsyncOne => RGBColor(0xe6, 0x9f, 0x00),
        Variant::Nginx => RGBColor(0x00, 0x00, 0x00),
        Variant::Haproxy => RGBColor(0xcc, 0x79, 0xa7),
        Variant::Caddy => RGBColor(0x88, 0x88, 0x1a),
    }
}

/// Returns a marker at a pixel. Its shape differs per variant too.
pub fn marker(variant: Variant, (x, y): (i32, i32)) -> Polygon<(i32, i32)> {
    let (corners, turned) = match variant {
        Variant::Parked | Variant::Direct => (24, 0.0),
        Variant::TinyHttp => (4, 0.125),
        Variant::Threads => (3, 0.25),
        Variant::Async => (4, 0.0),
        Variant::AsyncOne => (3, 0.75),
        Variant::Nginx => (6, 0.0),
        Variant::Haproxy => (3, 0.0),
        Variant::Caddy => (3, 0.5),
    };
    // A polygon with few corners covers less area at the same radius.
    let radius = if corners < 6 { 8.5 } else { 6.5 };
    let corner = |n: i32| {
        let angle = (f64::from(n) / f64::from(corners) + turned) * std::f64::consts::TAU;
        let pixel = |middle: i32, offset: f64| middle + (offset * radius).round() as i32;
        (pixel(x, angle.cos()), pixel(y, -angle.sin()))
    };
    Polygon::new((0..corners).map(corner).collect::<Vec<_>>(), colour(variant).filled())
}

/// Returns a text style of this size, colour and horizontal anchor.
pub fn letters<'a>(size: u32, colour: RGBColor, at: HPos) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(at, VPos::Center))
}
