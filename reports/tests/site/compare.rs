//! What comparisons say.

use assay_verdicts::Verdict;

use crate::Site;
use crate::fixture::model;
use crate::tonight::{page, places};

#[test]
fn gpus_and_drivers_are_laid_out_in_a_table() {
    let page = page(&model(), "compare/kernels-gpu-driver");
    let order = places(
        &page,
        &[
            "id=\"h-cross\"",
            "<bdi>570.86.10</bdi></th>",
            "<bdi>580.82.07</bdi></th>",
            "<bdi>NVIDIA H100</bdi></th><td class=\"num\"><span class=\"letter\">A</span> baseline</td>",
            "<span class=\"letter\">B</span> <strong>-1.3 %</strong>",
            "not measured",
            "id=\"h-whole\"",
        ],
    );
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn a_comparison_says_what_differs_before_any_number() {
    for start in ["compare/kernels-night", "compare/kernels-machine"] {
        let page = page(&model(), start);
        let order = places(
            &page,
            &[
                "The NVIDIA driver was 570.86.10",
                "-2.4 to -0.2 %",
                "+7.2 to +9.0 %",
            ],
        );
        assert!(
            order[0] < order[1] && order[0] < order[2],
            "{start}: {order:?}"
        );
    }
}

#[test]
fn comparisons_keep_their_addresses() {
    let names: Vec<String> = Site::of(&model()).pages().into_keys().collect();
    for name in [
        "compare/kernels-machine-2bd3e793adaf.html",
        "compare/kernels-night-aaa905cdbfd2.html",
        "suites/kernels-e98f56f907c4.html",
    ] {
        assert!(names.iter().any(|own| own == name), "{name}");
    }
}

#[test]
fn what_is_not_known_of_a_comparison_is_said() {
    let mut model = model();
    for comparison in model.matrices.iter_mut().flat_map(|of| &mut of.comparisons) {
        for case in &mut comparison.cases {
            case.verdict = Verdict::Inconclusive;
        }
    }
    let page = page(&model, "compare/kernels-machine");
    for direction in ["better", "worse"] {
        let said = format!("<span class=\"none\">nothing is known to be {direction}</span>");
        assert!(page.contains(&said), "{page}");
    }
}
