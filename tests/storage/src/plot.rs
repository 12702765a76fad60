//! Curves over a common axis, as a picture.

use std::io::BufWriter;
use std::path::Path;

use font8x8::UnicodeFonts;

const WIDTH: usize = 900;
const PANEL_HEIGHT: usize = 220;
const LEFT: usize = 110;
const RIGHT: usize = 20;
const TOP: usize = 30;
const BOTTOM: usize = 30;
const BLACK: [u8; 3] = [30, 30, 30];
const GREY: [u8; 3] = [215, 215, 215];
const RED: [u8; 3] = [200, 40, 40];
pub const BLUE: [u8; 3] = [30, 90, 180];
pub const GREEN: [u8; 3] = [30, 140, 70];

/// One diagram.
pub struct Panel<'a> {
    pub title: &'a str,
    /// What may not be exceeded: drawn in red.
    pub bound: Option<f64>,
    pub curves: Vec<Curve<'a>>,
}

pub struct Curve<'a> {
    pub name: &'a str,
    pub color: [u8; 3],
    /// Ascending by the first number.
    pub points: Vec<(f64, f64)>,
}

/// Writes the panels, one below the other, as a PNG file.
pub fn write(path: &Path, axis: &str, panels: &[Panel<'_>]) -> Result<(), png::EncodingError> {
    let height = panels.len() * PANEL_HEIGHT + 16;
    let mut picture = Picture { pixels: vec![255; WIDTH * height * 3], height };
    for (number, panel) in panels.iter().enumerate() {
        picture.panel(panel, number * PANEL_HEIGHT);
    }
    picture.text(axis, LEFT, height - 14, BLACK);
    let file = BufWriter::new(std::fs::File::create(path)?);
    let mut encoder = png::Encoder::new(file, WIDTH as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&picture.pixels)
}

struct Picture {
    pixels: Vec<u8>,
    height: usize,
}

impl Picture {
    fn dot(&mut self, x: usize, y: usize, color: [u8; 3]) {
        if x < WIDTH && y < self.height {
            let at = (y * WIDTH + x) * 3;
            self.pixels[at..at + 3].copy_from_slice(&color);
        }
    }

    fn text(&mut self, text: &str, x: usize, y: usize, color: [u8; 3]) {
        for (position, character) in text.chars().enumerate() {
            let Some(rows) = font8x8::BASIC_FONTS.get(character) else { continue };
            for (row, bits) in rows.into_iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    self.dot(x + position * 8 + column, y + row, color);
                }
            }
        }
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: [u8; 3]) {
        let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let part = step as f64 / steps;
            let x = (from.0 + (to.0 - from.0) * part) as usize;
            let y = (from.1 + (to.1 - from.1) * part) as usize;
            self.dot(x, y, color);
            self.dot(x, y + 1, color);
        }
    }

    fn panel(&mut self, panel: &Panel<'_>, top: usize) {
        let points = || panel.curves.iter().flat_map(|curve| &curve.points);
        let x_max = points().map(|point| point.0).fold(1e-9, f64::max);
        let highest = points().map(|point| point.1).fold(panel.bound.unwrap_or(0.0), f64::max);
        let y_max = highest.max(1e-9) * 1.1;
        let (width, height) = (WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM);
        let x = |value: f64| LEFT as f64 + value / x_max * width as f64;
        let y = |value: f64| (top + TOP + height) as f64 - value / y_max * height as f64;
        for quarter in 0..=4 {
            let (across, up) = (x_max * f64::from(quarter) / 4.0, y_max * f64::from(quarter) / 4.0);
            self.line((x(0.0), y(up)), (x(x_max), y(up)), GREY);
            self.text(&format!("{up:>10.0}"), LEFT - 88, y(up) as usize - 4, BLACK);
            self.text(
                &format!("{across:.1}"),
                x(across) as usize - 16,
                top + TOP + height + 8,
                BLACK,
            );
        }
        self.text(panel.title, LEFT, top + 8, BLACK);
        let mut name_at = LEFT + panel.title.len() * 8 + 24;
        if let Some(bound) = panel.bound {
            self.line((x(0.0), y(bound)), (x(x_max), y(bound)), RED);
            self.text("bound", name_at, top + 8, RED);
            name_at += 64;
        }
        for curve in &panel.curves {
            for pair in curve.points.windows(2) {
                let at = |point: (f64, f64)| (x(point.0), y(point.1));
                self.line(at(pair[0]), at(pair[1]), curve.color);
            }
            self.text(curve.name, name_at, top + 8, curve.color);
            name_at += curve.name.len() * 8 + 24;
        }
    }
}
