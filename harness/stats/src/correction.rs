//! Many tests at once: p-values adjusted for a whole suite.
//!
//! Adjusted values come back in the order of the input; "adjusted ≤ level" is the decision. `None` if any
//! value is not in \[0, 1\]; no values give an empty list.

/// Adjusted p-values that control the false discovery rate: rejecting those at most q leaves, on average, at most a share q
/// of the rejections false, for independent or positively dependent tests.
///
/// Source: Benjamini and Hochberg 1995, JRSS B 57(1), 289-300; as R's `p.adjust(method = "BH")`.
pub fn benjamini_hochberg(p_values: &[f64]) -> Option<Vec<f64>> {
    let order = ascending(p_values)?;
    let count = order.len() as f64;
    let mut adjusted = vec![1.0; order.len()];
    let mut least: f64 = 1.0;
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(p_values[index] * (count / (rank + 1) as f64));
        adjusted[index] = least;
    }
    Some(adjusted)
}

/// Adjusted p-values that control the chance of even one false rejection, under any dependence.
///
/// Source: Holm 1979, Scandinavian Journal of Statistics 6(2), 65-70; as R's `p.adjust(method = "holm")`.
pub fn holm(p_values: &[f64]) -> Option<Vec<f64>> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![1.0; order.len()];
    let mut most: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        most = most
            .max(p_values[index] * (order.len() - rank) as f64)
            .min(1.0);
        adjusted[index] = most;
    }
    Some(adjusted)
}

/// The indices of p-values from the smallest to the largest; `None` if any is not in \[0, 1\].
fn ascending(p_values: &[f64]) -> Option<Vec<usize>> {
    if !p_values.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    Some(order)
}
