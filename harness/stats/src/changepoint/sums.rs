//! Levels and lines of any stretch of a series, and the squares around them, in constant time each.
//!
//! Running sums, as every fast change-point search keeps them (Killick, Fearnhead and Eckley 2012, JASA 107(500), section 2).

/// Nights `from..to` of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub from: usize,
    pub to: usize,
}

impl Stretch {
    pub fn new(from: usize, to: usize) -> Self {
        Self { from, to }
    }

    pub fn nights(self) -> usize {
        self.to - self.from
    }

    fn count(self) -> f64 {
        self.nights() as f64
    }

    /// The time at its middle.
    fn middle(self) -> f64 {
        (self.from + self.to - 1) as f64 / 2.0
    }

    /// Sum of squares of its times around their middle.
    fn spread(self) -> f64 {
        self.count() * (self.count().powi(2) - 1.0) / 12.0
    }
}

/// What a stretch is fitted with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// One level: a mean.
    Level,
    /// A least-squares line.
    Line,
}

impl Shape {
    /// How many numbers are fitted to one stretch.
    pub fn parameters(self) -> f64 {
        match self {
            Self::Level => 1.0,
            Self::Line => 2.0,
        }
    }
}

/// Squares below this share of those of the whole series are rounding of the running sums.
const ROUNDING: f64 = 1e-13;

/// A series with its running sums of y, t y and y².
pub(super) struct Sums {
    values: Vec<f64>,
    y: Vec<f64>,
    ty: Vec<f64>,
    yy: Vec<f64>,
}

impl Sums {
    pub fn of(values: Vec<f64>) -> Self {
        let y = running(values.iter().copied());
        let ty = running(values.iter().enumerate().map(|(t, y)| t as f64 * y));
        let yy = running(values.iter().map(|y| y * y));
        Self { values, y, ty, yy }
    }

    /// The whole series.
    pub fn whole(&self) -> Stretch {
        Stretch::new(0, self.values.len())
    }

    /// The values of a stretch.
    pub fn values(&self, at: Stretch) -> &[f64] {
        &self.values[at.from..at.to]
    }

    pub fn total(&self, at: Stretch) -> f64 {
        self.y[at.to] - self.y[at.from]
    }

    pub fn mean(&self, at: Stretch) -> f64 {
        self.total(at) / at.count()
    }

    /// Sum of squares around the fit.
    pub fn around(&self, at: Stretch, shape: Shape) -> f64 {
        let total = self.total(at);
        let squares = self.yy[at.to] - self.yy[at.from] - total * total / at.count();
        let explained = self.slope(at, shape).powi(2) * at.spread();
        (squares - explained).max(0.0)
    }

    /// Whether nothing but rounding is left around the fit.
    pub fn is_exact(&self, at: Stretch, shape: Shape) -> bool {
        self.around(at, shape) <= ROUNDING * self.yy[self.values.len()]
    }

    /// The fit just outside its first night or its last one: where a neighbouring stretch meets it at `cut`.
    pub fn edge(&self, at: Stretch, shape: Shape, cut: usize) -> f64 {
        self.mean(at) + self.slope(at, shape) * (cut as f64 - 0.5 - at.middle())
    }

    /// What the fit leaves.
    pub fn residuals(&self, at: Stretch, shape: Shape) -> impl Iterator<Item = f64> {
        let (mean, slope) = (self.mean(at), self.slope(at, shape));
        (at.from..at.to).map(move |t| self.values[t] - mean - slope * (t as f64 - at.middle()))
    }

    /// Slope per night; zero for a level.
    fn slope(&self, at: Stretch, shape: Shape) -> f64 {
        if shape == Shape::Level || at.nights() < 2 {
            return 0.0;
        }
        (self.ty[at.to] - self.ty[at.from] - at.middle() * self.total(at)) / at.spread()
    }
}

/// Sums of the first 0, 1, 2, ... terms.
fn running(terms: impl Iterator<Item = f64>) -> Vec<f64> {
    let sums = terms.scan(0.0, |sum, term| {
        *sum += term;
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}
