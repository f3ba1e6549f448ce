//! Sums of squares around levels and lines of any stretch of a series, in constant time each.

/// Running sums of y, t y and y^2, with t counted from the middle of the series.
pub(super) struct Sums {
    values: Vec<f64>,
    y: Vec<f64>,
    ty: Vec<f64>,
    yy: Vec<f64>,
}

impl Sums {
    pub fn of(values: Vec<f64>) -> Self {
        let mut sums = Self { y: vec![0.0], ty: vec![0.0], yy: vec![0.0], values };
        let (mut y, mut ty, mut yy) = (0.0, 0.0, 0.0);
        for (t, value) in sums.values.iter().enumerate() {
            y += value;
            ty += value * t as f64;
            yy += value * value;
            sums.y.push(y);
            sums.ty.push(ty);
            sums.yy.push(yy);
        }
        sums
    }

    pub fn at(&self, t: usize) -> f64 {
        self.values[t]
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn total(&self, from: usize, to: usize) -> f64 {
        self.y[to] - self.y[from]
    }

    /// Sum of squares around the mean of `from..to`.
    pub fn around_level(&self, from: usize, to: usize) -> f64 {
        let total = self.total(from, to);
        (self.yy[to] - self.yy[from] - total * total / (to - from) as f64).max(0.0)
    }

    /// Slope of the least-squares line through `from..to`.
    pub fn slope(&self, from: usize, to: usize) -> f64 {
        let count = (to - from) as f64;
        let spread = count * (count * count - 1.0) / 12.0;
        if spread == 0.0 {
            return 0.0;
        }
        let middle = (from + to - 1) as f64 / 2.0;
        (self.ty[to] - self.ty[from] - middle * self.total(from, to)) / spread
    }

    /// Sum of squares around the least-squares line through `from..to`.
    pub fn around_line(&self, from: usize, to: usize) -> f64 {
        let count = (to - from) as f64;
        let spread = count * (count * count - 1.0) / 12.0;
        (self.around_level(from, to) - self.slope(from, to).powi(2) * spread).max(0.0)
    }

    /// What is left of `from..to` without its mean, or without its line.
    pub fn residuals(&self, from: usize, to: usize, line: bool) -> impl Iterator<Item = f64> {
        let mean = self.total(from, to) / (to - from) as f64;
        let slope = if line { self.slope(from, to) } else { 0.0 };
        let middle = (from + to - 1) as f64 / 2.0;
        (from..to).map(move |t| self.values[t] - mean - slope * (t as f64 - middle))
    }
}
