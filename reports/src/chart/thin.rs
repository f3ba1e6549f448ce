//! Fewer points for drawing, with the extremes kept.

/// Indices of at most `most` values to draw, in order: first and last, and the lowest and highest of
/// each of equally long stretches between (min-max decimation). All of them where there are no more.
pub fn thin(values: &[f64], most: usize) -> Vec<usize> {
    let count = values.len();
    if count <= most.max(4) {
        return (0..count).collect();
    }
    let stretches = (most.max(4) - 2) / 2;
    let mut kept = vec![0, count - 1];
    for stretch in 0..stretches {
        let (from, to) = (
            stretch * count / stretches,
            (stretch + 1) * count / stretches,
        );
        let by_value = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
        kept.extend((from..to).min_by(by_value));
        kept.extend((from..to).max_by(by_value));
    }
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn short_histories_are_drawn_whole() {
        assert_eq!(thin(&[], 10), Vec::<usize>::new());
        assert_eq!(thin(&[1.0; 10], 10), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_single_spike_in_a_long_history_stays() {
        for spike in [0, 1, 777, 4_998, 4_999] {
            for height in [-100.0, 100.0] {
                let mut values: Vec<f64> = (0..5_000).map(|i| f64::from(i % 7)).collect();
                values[spike] = height;
                let kept = thin(&values, 200);
                assert!(kept.contains(&spike) && kept.len() <= 200);
                assert!(kept.contains(&0) && kept.contains(&4_999));
                assert!(kept.is_sorted());
            }
        }
    }
}
