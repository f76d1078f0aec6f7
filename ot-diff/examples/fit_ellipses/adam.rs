//! Adam (Kingma, Ba 2015).

/// The state of a descent.
#[derive(Debug)]
pub struct Adam {
    rate: f64,
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Adam {
    /// A descent of so many numbers.
    pub fn new(rate: f64, numbers: usize) -> Self {
        Self { rate, mean: vec![0.0; numbers], square: vec![0.0; numbers], steps: 0 }
    }

    /// One step along a gradient.
    pub fn step(&mut self, numbers: &mut [f64], gradient: &[f64]) {
        const DECAYS: [f64; 2] = [0.9, 0.999];
        self.steps += 1;
        let [of_mean, of_square] = DECAYS.map(|decay| 1.0 - decay.powi(self.steps));
        let state = self.mean.iter_mut().zip(&mut self.square);
        for ((number, slope), (mean, square)) in numbers.iter_mut().zip(gradient).zip(state) {
            *mean = DECAYS[0] * *mean + (1.0 - DECAYS[0]) * slope;
            *square = DECAYS[1] * *square + (1.0 - DECAYS[1]) * slope * slope;
            *number -= self.rate * (*mean / of_mean) / ((*square / of_square).sqrt() + 1e-8);
        }
    }
}
