//! What the pages of a series, a run and a machine say beside what others test: where samples come from, what is held back,
//! and how far lists go.

use assay_protocol::Digest;
use assay_reports::{SiteModel, SiteSettings};

use crate::Site;
use crate::build::{run_id, synthetic};
use crate::fixture::model;

fn of(site: &Site, start: &str) -> String {
    let pages = site.pages();
    let found = pages.iter().find(|(name, _)| name.starts_with(start));
    found.unwrap_or_else(|| panic!("no page {start}")).1.clone()
}

const TRIAD: &str = "series/memory-triad-dtype-f32-elements-2-24-cpu-cdc893255048";

#[test]
fn a_series_shows_its_samples_beside_the_baseline() {
    let page = of(&Site::of(&model()), TRIAD);
    for expected in [
        "Solid: the 600 samples of this run",
        &format!(
            "Dashed: the 600 of <a href=\"../runs/{}.html\">",
            run_id(34)
        ),
        "<path class=\"other\"",
        "class=\"chart rounds\"",
        "<path class=\"aside\"",
        "class=\"chart gauge\"",
        "<bdi>gpu.0.sm_clock</bdi>",
        "92.8 ± 0.4 % of dram",
        "passed, largest error 1.20e-7 of 3.60e-7 allowed",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    // Clocks come before power, and power before what is not known to matter.
    let order = [
        "cpu.frequency",
        "gpu.0.power",
        "cpu.temperature",
        "cpu.busy",
    ];
    let places = order.map(|name| page.find(&format!("<bdi>{name}</bdi>")).unwrap());
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn of_a_summary_no_distribution_is_drawn() {
    let mut model = model();
    for summary in &mut model.summaries {
        for case in &mut summary.cases {
            for round in &mut case.case.rounds {
                round.stop = Some("summary".into());
            }
        }
    }
    let page = of(&Site::of(&model), TRIAD);
    assert!(page.contains("no distribution is drawn"));
    assert!(page.contains("a summary alone"));
    assert!(!page.contains("chart ecdf") && !page.contains("chart rounds"));
    assert!(
        page.contains("chart gauge"),
        "what the machine did is still there"
    );
}

#[test]
fn a_series_without_details_is_still_a_page() {
    let plain = SiteModel {
        details: std::collections::BTreeMap::new(),
        ..model()
    };
    let page = of(&Site::of(&plain), TRIAD);
    assert!(page.contains("Every visit to the case"));
    assert!(!page.contains("chart ecdf") && !page.contains("chart gauge"));
}

#[test]
fn diffs_and_variables_are_published_only_if_asked() {
    let of_run = |settings: &SiteSettings| {
        let site = Site::with(&model(), settings);
        of(&site, &format!("runs/{}", run_id(35)))
    };
    let closed = of_run(&SiteSettings::default());
    let open = of_run(&SiteSettings {
        publish_source: true,
        ..SiteSettings::default()
    });
    for secret in ["secret patch", "secret value"] {
        assert!(
            !closed.contains(secret) && open.contains(secret),
            "{secret}"
        );
    }
    assert!(closed.contains("TOKEN") && closed.contains("not published"));
    assert!(!open.contains("not published"));
}

#[test]
fn commits_lead_where_the_settings_say_if_they_are_hashes() {
    let settings = SiteSettings {
        commit_link: "https://git.example/?id={commit}&x=1".into(),
        ..SiteSettings::default()
    };
    let site = Site::with(&model(), &settings);
    let commit = &Digest::of(35_u32.to_le_bytes()).hex()[..40];
    let link = format!("<a href=\"https://git.example/?id={commit}&amp;x=1\">");
    for page in [
        format!("runs/{}", run_id(35)).as_str(),
        TRIAD,
        "machines/lab-1",
    ] {
        assert!(of(&site, page).contains(&link), "{page}");
    }
    assert!(!of(&site, &format!("runs/{}", run_id(40))).contains("https://git.example"));
}

#[test]
fn a_run_says_what_changed_since_the_one_before() {
    let mut model = model();
    let newer = Digest::of("newer kernel");
    let mut print = crate::build::fingerprint(0.2);
    let release = assay_record::Field::text("6.1.0-31-amd64");
    print.software.insert("kernel.release".into(), release);
    model.fingerprints.insert(newer, print);
    let row = model.runs.iter_mut().find(|row| row.run == run_id(35));
    row.unwrap().before = newer;
    let summary = model.summaries.iter_mut().find(|s| s.run.run == run_id(35));
    summary.unwrap().run.before = newer;
    let site = Site::of(&model);
    let changed = of(&site, &format!("runs/{}", run_id(35)));
    assert!(changed.contains("<bdi>software.kernel.release</bdi>"));
    assert!(changed.contains("<bdi>6.1.0-31-amd64</bdi>"));
    let same = of(&site, &format!("runs/{}", run_id(34)));
    assert!(same.contains("Nothing that Assay sees was set or installed otherwise"));
}

#[test]
fn a_machine_shows_kernels_below_its_ceilings() {
    let page = of(&Site::of(&model()), "machines/lab-1");
    assert_eq!(page.matches("<path class=\"limit\"").count(), 3);
    // Of one it is not sure that the machine does not do more.
    assert_eq!(page.matches("<path class=\"limit disturbed\"").count(), 1);
    assert!(page.contains(", while others used the machine</title>"));
    for name in ["l2", "dram", "f32", "f64"] {
        assert!(page.contains(&format!(">{name}</text>")), "{name}");
    }
    assert!(page.contains("<title>memory/triad[dtype=f32,elements=2^24]@cpu: "));
    // The product failed in the newest run: what was not measured is no point.
    assert!(!page.contains("<title>linalg/gemm"));
    assert!(page.contains("The kernel was 6.1.0-29 and is now 6.1.0-30."));
    assert!(page.contains("others used the machine"));
}

/// Tables end where downloads and other pages go on.
#[test]
fn lists_are_bounded_however_long_the_history() {
    let site = Site::of(&synthetic(1, 450));
    let series = of(&site, "series/");
    let rows = |page: &str| page.matches("<th scope=\"row\" class=\"when\">").count();
    assert_eq!(rows(&series), 60);
    assert!(series.contains("The newest 60 of 450 runs"));
    let machine = of(&site, "machines/");
    assert_eq!(rows(&machine), 100);
    assert!(machine.contains("The newest 100 of 450 runs"));
    assert!(machine.len() < 150_000, "{} bytes", machine.len());
}
