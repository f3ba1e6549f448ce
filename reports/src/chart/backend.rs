//! A plotters backend that writes SVG paths with classes.
//!
//! Colours are only names here: each [`Role`] has one, and is written as its class. plotters works in
//! whole pixels; ours are tenths of a unit of the drawing, so coordinates have one decimal.

use std::convert::Infallible;
use std::fmt::Write;

use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use crate::text;

/// Pixels of plotters per unit of the drawing.
pub const FINENESS: u32 = 10;

/// What a line or area stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The interval around the history.
    Band,
    /// The history.
    Line,
    /// Its points.
    Point,
    /// A change of the machine.
    Change,
    /// What the history is compared with.
    Other,
    /// What is shown and does not count.
    Aside,
    /// The most that a machine can do.
    Limit,
    /// A line that helps to read values across.
    Grid,
    /// An axis.
    Axis,
    /// The words at an axis.
    Label,
}

impl Role {
    const ALL: [Self; 10] = [
        Self::Band,
        Self::Line,
        Self::Point,
        Self::Change,
        Self::Other,
        Self::Aside,
        Self::Limit,
        Self::Grid,
        Self::Axis,
        Self::Label,
    ];

    /// The colour by which plotters carries the role.
    pub fn color(self) -> RGBColor {
        RGBColor(0, 0, self as u8)
    }

    fn of(color: BackendColor) -> Option<Self> {
        let role = Self::ALL.get(usize::from(color.rgb.2)).copied();
        role.filter(|_| color.alpha > 0.0 && (color.rgb.0, color.rgb.1) == (0, 0))
    }

    fn class(self) -> &'static str {
        match self {
            Self::Band => "band",
            Self::Line => "line",
            Self::Point => "points",
            Self::Change => "change",
            Self::Other => "other",
            Self::Aside => "aside",
            Self::Limit => "limit",
            Self::Grid => "grid",
            Self::Axis => "axis",
            Self::Label => "label",
        }
    }
}

/// Writes the inside of an SVG element. Neighbours of one role share a path.
pub struct Classed<'a> {
    size: (u32, u32),
    path: Option<(Role, String)>,
    out: &'a mut String,
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl<'a> Classed<'a> {
    /// A drawing of this size in units.
    pub fn new(width: u32, height: u32, out: &'a mut String) -> Self {
        Self {
            size: (width * FINENESS, height * FINENESS),
            path: None,
            out,
        }
    }

    fn path_of(&mut self, role: Role) -> &mut String {
        if self.path.as_ref().is_none_or(|(open, _)| *open != role) {
            self.close_path();
        }
        &mut self.path.get_or_insert((role, String::new())).1
    }

    fn close_path(&mut self) {
        if let Some((role, d)) = self.path.take() {
            let class = role.class();
            push(
                self.out,
                format_args!("<path class=\"{class}\" d=\"{d}\"/>"),
            );
        }
    }

    fn polyline(&mut self, role: Role, points: impl IntoIterator<Item = BackendCoord>, end: &str) {
        let d = self.path_of(role);
        for (at, (x, y)) in points.into_iter().enumerate() {
            d.push(if at == 0 { 'M' } else { 'L' });
            push_units(d, x);
            d.push(' ');
            push_units(d, y);
        }
        d.push_str(end);
    }
}

/// A line of its own that says what it is when it is pointed at: plotters knows no titles.
pub fn titled_line(class: &str, d: &str, title: &str) -> String {
    let title = escaped(title);
    format!("<path class=\"{class}\" d=\"{d}\"><title>{title}</title></path>")
}

/// Words at a place of their own, in units of the drawing.
pub fn words_at((x, y): BackendCoord, anchor: &str, words: &str) -> String {
    let (x, y, words) = (units(x), units(y), escaped(words));
    format!("<text class=\"name\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>")
}

/// Words as they may stand in an SVG element.
pub fn escaped(words: &str) -> String {
    let mut escaped = Vec::new();
    let _ = text::escape(words, &mut escaped);
    String::from_utf8_lossy(&escaped).into_owned()
}

/// Writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Pixels of plotters as units of the drawing.
pub fn units(pixels: i32) -> f64 {
    f64::from(pixels) / f64::from(FINENESS)
}

/// Writes pixels as [`units`], as that number would be written: whole ones and tenths need no floating point, and a chart has
/// a thousand of them.
fn push_units(out: &mut String, pixels: i32) {
    let (whole, tenths) = (pixels / FINENESS as i32, pixels % FINENESS as i32);
    if whole == 0 && tenths < 0 {
        out.push('-');
    }
    push_integer(out, whole);
    if tenths != 0 {
        out.push('.');
        push_integer(out, tenths.abs());
    }
}

fn push_integer(out: &mut String, number: i32) {
    if number < 0 {
        out.push('-');
    }
    let mut digits = [0; 10];
    let mut left = number.unsigned_abs();
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend(digits[first..].iter().map(|digit| char::from(*digit)));
}

impl DrawingBackend for Classed<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        self.close_path();
        Ok(())
    }

    /// Single pixels mean nothing in a drawing of lines.
    fn draw_pixel(&mut self, _: BackendCoord, _: BackendColor) -> Drawn {
        Ok(())
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        if let Some(role) = Role::of(style.color()) {
            self.polyline(role, [from, to], "");
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if let Some(role) = Role::of(style.color()) {
            self.polyline(role, path, "");
        }
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        if let Some(role) = Role::of(style.color()) {
            self.polyline(role, path, "Z");
        }
        Ok(())
    }

    /// A circle is a line without length and a round end, as wide as the stylesheet says.
    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        _: u32,
        style: &S,
        _: bool,
    ) -> Drawn {
        if let Some(role) = Role::of(style.color()) {
            let d = self.path_of(role);
            d.push('M');
            push_units(d, x);
            d.push(' ');
            push_units(d, y);
            d.push_str("h0");
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(
        &mut self,
        words: &str,
        style: &T,
        (x, y): BackendCoord,
    ) -> Drawn {
        self.close_path();
        let anchor = match style.anchor().h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        let dy = match style.anchor().v_pos {
            VPos::Top => "0.8em",
            VPos::Center => "0.35em",
            VPos::Bottom => "0",
        };
        let (x, y, words) = (units(x), units(y), escaped(words));
        push(
            self.out,
            format_args!(
                "<text x=\"{x}\" y=\"{y}\" dy=\"{dy}\" text-anchor=\"{anchor}\">{words}</text>"
            ),
        );
        Ok(())
    }

    /// Room for labels is set by hand, so a rough size is enough and no font is looked for.
    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        words: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let size = style.size() as u32;
        Ok((words.chars().count() as u32 * size * 6 / 10, size))
    }
}

#[cfg(test)]
mod tests {
    use super::{push_units, units};

    #[test]
    fn coordinates_are_written_as_numbers_are() {
        let some = [0, 1, 9, 10, 11, 99, 100, 101, 7_600, 12_345, i32::MAX];
        for pixels in some
            .into_iter()
            .flat_map(|pixels| [pixels, -pixels])
            .chain([i32::MIN])
        {
            let mut text = String::new();
            push_units(&mut text, pixels);
            assert_eq!(text, units(pixels).to_string());
        }
    }
}
