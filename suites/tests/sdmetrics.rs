//! Scores agree with those of `SDMetrics` 0.32 where the formula is the same. `sdmetrics/golden.py` made the values.

use std::collections::BTreeMap;
use std::path::PathBuf;

use assay_suites::synthetic::quality::{columns, pairs};
use assay_suites::synthetic::table::{Values, file};

#[test]
fn scores_are_those_of_sdmetrics() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdmetrics");
    let table = |name: &str| file::read(&folder.join(name)).unwrap();
    let real = table("real.csv");
    let synthetic = real.align(&table("synthetic.csv")).unwrap();
    let golden: BTreeMap<String, f64> =
        serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let values = |name: &str| -> [&Values; 2] {
        [&real, &synthetic].map(|of| &of.column(name).unwrap().values)
    };
    assert_eq!(golden.len(), 16);
    for (name, wanted) in golden {
        let words: Vec<&str> = name.split(' ').collect();
        let found = match words[..] {
            ["KSComplement" | "TVComplement", column] => {
                columns::shape(values(column)[0], values(column)[1])
            }
            ["RangeCoverage" | "CategoryCoverage", column] => {
                columns::coverage(values(column)[0], values(column)[1])
            }
            ["MissingValueSimilarity", column] => Some(columns::missing_similarity(
                values(column)[0],
                values(column)[1],
            )),
            [_, a, b] => {
                let ([a, c], [b, d]) = (values(a), values(b));
                pairs::trend([a, b], [c, d])
            }
            _ => panic!("{name}: no score of ours"),
        };
        let found = found.unwrap_or_else(|| panic!("{name}: no score"));
        assert!(
            (found - wanted).abs() < 1e-9,
            "{name}: {found}, SDMetrics {wanted}"
        );
    }
}
