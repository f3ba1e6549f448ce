//! Long histories stay small and quick.

use crate::Site;
use crate::build::synthetic;

#[test]
fn charts_stay_small_however_long_the_history() {
    let size = |runs| {
        let pages = Site::of(&synthetic(1, runs)).pages();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name.starts_with("series/"))
            .unwrap();
        let start = page.find("<svg").unwrap();
        page.find("</svg>").unwrap() - start
    };
    let (short, long) = (size(200), size(1000));
    assert!(short < 15_000 && long < 15_000, "{short} and {long} bytes");
}

#[test]
fn one_point_and_two_points_are_drawn() {
    for runs in [1, 2] {
        let site = Site::of(&synthetic(1, runs));
        let pages = site.pages();
        let mut series = pages.iter().filter(|(name, _)| name.starts_with("series/"));
        let (_, page) = series.next().unwrap();
        assert!(
            page.contains("class=\"points\"") && !page.contains("NaN") && !page.contains("inf")
        );
    }
}
