//! Publishing again: what would come out the same is taken over, and nobody can tell from the site.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use assay_record::Purpose;
use assay_store::synthetic::Recipe;

use crate::helpers::{Place, spin};

/// Every file of a site by its path, with its content and what tells whether it was written anew.
fn files(place: &Place, site: &str) -> BTreeMap<String, (Vec<u8>, u64)> {
    fn collect(root: &Path, folder: &Path, all: &mut BTreeMap<String, (Vec<u8>, u64)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if path.is_dir() {
                collect(root, &path, all);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let inode = entry.metadata().unwrap().ino();
                all.insert(name, (std::fs::read(&path).unwrap(), inode));
            }
        }
    }
    let root = place.path(site);
    let mut all = BTreeMap::new();
    collect(&root, &root, &mut all);
    all
}

/// Publishes over the site that is there and into an empty folder, and asserts that the two are alike. Returns which files were written anew.
fn published(place: &Place) -> Vec<String> {
    let before = if place.path("site").exists() {
        files(place, "site")
    } else {
        BTreeMap::new()
    };
    place.assay("report --out site").exits(0);
    // From nothing: from what nothing was kept of either.
    std::fs::remove_file(place.path("assay-data/assay.duckdb.series")).unwrap();
    place.assay("report --out fresh").exits(0);
    let (again, fresh) = (files(place, "site"), files(place, "fresh"));
    let names = |of: &BTreeMap<String, (Vec<u8>, u64)>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&again), names(&fresh));
    for (name, (content, _)) in &again {
        assert!(
            *content == fresh[name].0,
            "{name} differs from one that was made from nothing"
        );
    }
    std::fs::remove_dir_all(place.path("fresh")).unwrap();
    let is_new = |name: &String| {
        before
            .get(name)
            .is_none_or(|(_, inode)| *inode != again[name].1)
    };
    again.keys().filter(|name| is_new(name)).cloned().collect()
}

fn count(files: &[String], folder: &str) -> usize {
    let is_page = |name: &&String| {
        Path::new(name)
            .extension()
            .is_some_and(|ending| ending == "html")
    };
    let pages = files.iter().filter(is_page);
    pages.filter(|name| name.starts_with(folder)).count()
}

fn night(machine: &str, night: u32) -> Recipe {
    Recipe {
        machine: machine.into(),
        night,
        ..Recipe::default()
    }
}

#[test]
fn only_pages_of_something_new_are_written() {
    let nights: Vec<Recipe> = (0..12)
        .flat_map(|n| [night("one", n), night("two", n)])
        .collect();
    let place = Place::with_records(&nights);
    let all = published(&place);
    // The first of three cases has three metrics.
    assert_eq!((count(&all, "runs/"), count(&all, "series/")), (24, 10));
    // Nothing new.
    let again = published(&place);
    assert_eq!((count(&again, "runs/"), count(&again, "series/")), (0, 0));
    // A night of one machine: its run, and its series.
    let records = place.path("assay-data/records");
    night("one", 12).write(&records, None).unwrap();
    place.assay("ingest").exits(0);
    let one = published(&place);
    assert_eq!((count(&one, "runs/"), count(&one, "series/")), (1, 5));
    // A driver, a mark, a title: whatever a page tells of makes it anew, and only that.
    let changed = Recipe {
        kernel: "6.2.0".into(),
        ..night("two", 12)
    };
    changed.write(&records, None).unwrap();
    place.assay("ingest").exits(0);
    let two = published(&place);
    assert_eq!((count(&two, "runs/"), count(&two, "series/")), (1, 5));
    let runs = place.runs();
    let mark = format!(
        "schema = 1\n[[mark]]\nkind = \"expected\"\ncase = \"*0*\"\nat = \"{}\"\nreason = \"why not\"\n",
        runs[3]
    );
    place.write("marks.toml", mark);
    let marked = published(&place);
    assert_eq!(count(&marked, "runs/"), 0);
    place.write("assay.toml", "title = \"Another\"\n");
    let titled = published(&place);
    assert_eq!(
        (count(&titled, "runs/"), count(&titled, "series/")),
        (26, 10)
    );
}

#[test]
fn values_of_variables_are_on_no_page_unless_asked() {
    const SECRET: &str = "hunter2secret";
    const OTHER: &str = "letmein99";
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.assay("run ./tiny.toml -q").exits(0);
    // What a night has and the one before had not, what arms differ in, and what a prefix sets.
    place.write(
        "assay.toml",
        format!("env = {{ DB_PASSWORD = \"{SECRET}\" }}\n"),
    );
    place.assay("run ./tiny.toml -q").exits(0);
    let arms = [
        format!("A=env:TOKEN={SECRET}"),
        format!("B=prefix:env TOKEN={OTHER}"),
    ];
    let [a, b] = &arms;
    place
        .assay_with(&["run", "./tiny.toml", "-q", "--arm", a, "--arm", b])
        .exits(0);
    place.assay("report --compare latest~2,latest~1").exits(0);
    let whole: Vec<u8> = files(&place, "assay-data/site")
        .into_values()
        .flat_map(|(content, _)| content)
        .collect();
    let has = |text: &str| whole.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!has(SECRET) && !has(OTHER));
    assert!(has("The variable DB_PASSWORD was not set and is now set."));
    assert!(has("The variable TOKEN was set and is now not set."));
    // Nor in what a CI system shows to anybody.
    place.assay("check latest~1").lacks(SECRET);
    place.assay("compare --by arm --markdown").lacks(SECRET);
    place
        .assay("compare --by arm")
        .says(&format!("The variable TOKEN was `{SECRET}`"));
    place.assay("report --publish-source --out open").exits(0);
    let open: Vec<u8> = files(&place, "open")
        .into_iter()
        .filter(|(name, _)| name.starts_with("compare/"))
        .flat_map(|(_, (content, _))| content)
        .collect();
    assert!(open.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()));
}

/// What somebody may set and write, each after those before it, and in which file.
const SETTINGS: [(&str, &str, &str); 11] = [
    (
        "a mark",
        "marks.toml",
        "schema = 1\n[[mark]]\nkind = \"ignore\"\ncase = \"*\"\nuntil = \"2030-01-01\"\nreason = \"noisy\"\n",
    ),
    (
        "another mark",
        "marks.toml",
        "schema = 1\n[[mark]]\nkind = \"ignore\"\ncase = \"*\"\nuntil = \"2031-01-01\"\nreason = \"noisy\"\n",
    ),
    ("a title", "assay.toml", "title = \"Lab\"\n"),
    (
        "a base",
        "assay.toml",
        "title = \"Lab\"\nbase = \"https://example.org\"\n",
    ),
    (
        "a repository",
        "assay.toml",
        "title = \"Lab\"\ncommits = \"https://example.org/p\"\n",
    ),
    (
        "records",
        "assay.toml",
        "title = \"Lab\"\npublish_records = \"newest:3\"\n",
    ),
    ("a baseline", "assay.toml", "baseline = \"last:6\"\n"),
    (
        "templates and a logo",
        "assay.toml",
        "logo = \"mark.svg\"\ntemplates = \"own\"\n",
    ),
    ("another template", "own/about.html", "second"),
    ("a stylesheet", "own/assay.css", "body { color: red }"),
    ("another logo", "mark.svg", "<svg/>"),
];

#[test]
fn whatever_a_site_is_made_of_makes_it_anew() {
    let nights: Vec<Recipe> = (1..10)
        .flat_map(|n| [night("one", n), night("two", n)])
        .collect();
    let place = Place::with_records(&nights);
    let records = place.path("assay-data/records");
    let more = |recipe: &Recipe| {
        recipe.write(&records, None).unwrap();
        place.assay("ingest").exits(0);
    };
    let is_news = |what: &str| {
        assert!(!published(&place).is_empty(), "{what}");
        // What comes out the same is not even written.
        let before = files(&place, "site");
        place.assay("report --out site").exits(0);
        assert!(files(&place, "site") == before, "after {what}");
    };
    is_news("the first");
    more(&night("one", 10));
    is_news("a run more");
    more(&night("two", 0));
    is_news("a run from before all others");
    let changed = |n: u32| Recipe {
        kernel: "6.2.0".into(),
        ..night("two", n)
    };
    more(&changed(10));
    is_news("a change of the machine");
    let suite = Recipe {
        suite: "another".into(),
        ..night("one", 11)
    };
    more(&suite);
    is_news("a suite");
    let slow = Recipe {
        slowdown: 1.3,
        ..night("one", 12)
    };
    slow.write(&records, Some(7)).unwrap();
    place.assay("ingest").exits(0);
    is_news("a part of a run");
    more(&slow);
    is_news("the rest of it");
    let confirmation = Recipe {
        seed: 2,
        purpose: Purpose::Confirmation { of: slow.run() },
        ..slow
    };
    more(&confirmation);
    is_news("a confirmation");
    place.write("mark.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    place.write("own/about.html", "first");
    for (what, file, text) in SETTINGS {
        place.write(file, text);
        is_news(what);
    }
    let chosen = "report --out site --compare latest~1,latest";
    place.assay(chosen).exits(0);
    is_news("no comparison that somebody chose");
    // Somebody else was here, whose file stays, and is no news.
    place.write("site/of-another.html", "");
    place.assay("report --out site").exits(0);
    assert!(place.path("site/of-another.html").exists());
    std::fs::remove_file(place.path("site/of-another.html")).unwrap();
    place.write("site/index.html", "");
    is_news("a page that somebody emptied");
    std::fs::remove_file(place.path("assay-data/assay.duckdb")).unwrap();
    place.assay("ingest").exits(0);
    is_news("a database that was built anew");
}

#[test]
fn reproductions_and_what_they_repeat_are_written_anew() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    for _ in 0..3 {
        place.assay("run ./tiny.toml").exits(0);
    }
    assert_eq!(count(&published(&place), "runs/"), 3);
    // Whatever it says of speed.
    place.assay("reproduce latest~1");
    let again = published(&place);
    assert!(count(&again, "runs/") >= 2, "{again:?}");
    assert!(count(&again, "runs/") < 5, "{again:?}");
}

#[test]
fn the_newest_runs_are_carried_whole() {
    let place = Place::with_suite(&[spin("control/spin", 1000)]);
    place.write("assay.toml", "publish_records = \"newest:2\"\n");
    for _ in 0..2 {
        place.assay("run ./tiny.toml").exits(0);
    }
    let ending = |site: &str, end: &str| -> Vec<String> {
        let files = files(&place, site).into_keys();
        files.filter(|name| name.ends_with(end)).collect()
    };
    published(&place);
    let manifests = ending("site", "-manifest.json");
    assert_eq!(manifests.len(), 2);
    // A path of this machine is in each record.
    assert!(ending("site", ".jsonl.zst").is_empty());
    std::fs::remove_file(place.path(&format!("site/{}", manifests[0]))).unwrap();
    assert!(published(&place).contains(&manifests[0]));
    // The third run takes the place of the first.
    place.assay("run ./tiny.toml").exits(0);
    let pages = published(&place);
    assert_eq!(
        (
            count(&pages, "runs/"),
            ending("site", "-manifest.json").len()
        ),
        (2, 2)
    );
    place.assay("report --out open --publish-source").exits(0);
    assert_eq!(ending("open", ".jsonl.zst").len(), 2);
    let carried = place.path("open/runs").display().to_string();
    let elsewhere = Place::new();
    elsewhere
        .assay(&format!("ingest {carried}"))
        .exits(0)
        .says("2 new");
    place.write("assay.toml", "publish_records = \"none\"\n");
    published(&place);
    assert!(ending("site", "-manifest.json").is_empty());
    place.write("assay.toml", "publish_records = \"some\"\n");
    let refused = place.assay("report --out site");
    refused.refuses(&["assay.toml", "publish_records", "newest:N"]);
}

#[test]
fn a_page_that_somebody_changed_is_written_anew() {
    let place = Place::with_records(&[night("one", 0), night("one", 1)]);
    published(&place);
    let runs = files(&place, "site");
    let page = runs.keys().find(|name| name.starts_with("runs/")).unwrap();
    place.write(&format!("site/{page}"), "gone");
    std::fs::remove_file(place.path("site/.assay-pages")).unwrap();
    assert_eq!(count(&published(&place), "runs/"), 2);
    place.write(&format!("site/{page}"), "gone again");
    assert_eq!(
        published(&place)
            .iter()
            .filter(|name| *name == page)
            .count(),
        1
    );
}

#[test]
fn a_site_is_of_the_day_of_its_newest_run() {
    let place = Place::with_records(&[night("one", 0), night("one", 1)]);
    let mark = |until: &str| {
        let text = format!(
            "schema = 1\n[[mark]]\nkind = \"ignore\"\ncase = \"*\"\nuntil = \"{until}\"\nreason = \"a noisy week\"\n"
        );
        place.write("marks.toml", text);
        published(&place);
        let pages = files(&place, "site").into_iter();
        let mut told = pages
            .filter(|(_, (content, _))| String::from_utf8_lossy(content).contains("ignored until"));
        told.any(|(name, _)| name.starts_with("series/"))
    };
    let newest = place.runs()[1][..8].to_owned();
    let day = format!("{}-{}-{}", &newest[..4], &newest[4..6], &newest[6..]);
    // Long past by the clock, and in force when the newest run was made; and not.
    assert!(mark(&day));
    assert!(!mark("2001-01-01"));
}

#[test]
fn a_site_is_titled_marked_and_made_as_its_settings_say() {
    let place = Place::with_records(&[night("one", 0)]);
    published(&place);
    place.write(
        "assay.toml",
        "title = \"Lab <1>\"\nlogo = \"mark.svg\"\ntemplates = \"own\"\n",
    );
    place.write("mark.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
    place.write(
        "own/about.html",
        "{% extends \"base.html\" %}{% block main %}<h1>Ours</h1>{% endblock %}",
    );
    published(&place);
    let about = place.read("site/about.html");
    assert!(
        about.contains("<h1>Ours</h1>") && about.contains("Lab &lt;1&gt;"),
        "{about}"
    );
    assert!(about.contains("src=\"logo.svg\""), "{about}");
    assert!(place.read("site/index.html").contains("src=\"logo.svg\""));
    // A template that changes makes every page anew.
    place.write("own/assay.css", "body { color: red }");
    let changed = published(&place);
    assert_eq!(
        (count(&changed, "runs/"), count(&changed, "series/")),
        (1, 5)
    );
    assert_eq!(place.read("site/assay.css"), "body { color: red }");
    let refuses = |words: &[&str]| place.assay("report --out site").refuses(words);
    place.write("own/abuot.html", "");
    refuses(&["abuot.html", "base.html, "]);
    std::fs::remove_file(place.path("own/abuot.html")).unwrap();
    place.write("own/about.html", "{% block main %}");
    refuses(&["about.html", "templates"]);
    std::fs::remove_dir_all(place.path("own")).unwrap();
    refuses(&["own"]);
    place.write("assay.toml", "logo = \"mark.txt\"\n");
    refuses(&["mark.txt", ".svg"]);
    place.write("assay.toml", "logo = \"none.svg\"\n");
    refuses(&["none.svg"]);
    place.write("assay.toml", "commits = \"javascript:alert(1)\"\n");
    refuses(&["commits", "https://"]);
}

#[test]
fn a_comparison_that_is_not_there_costs_a_page_and_not_the_site() {
    let place = Place::with_records(&[night("one", 0), night("one", 1)]);
    let settings = "compare = [\"tag:none,latest\", \"latest~1,latest\"]\n";
    place.write("assay.toml", settings);
    place
        .assay("report --out site --compare latest~1,latest")
        .exits(0)
        .says("no page compares tag:none,latest");
    assert!(place.path("site/index.html").exists());
    // What somebody asks for now is an error.
    place
        .assay("report --out site --compare tag:other,latest")
        .exits(2);
}

#[test]
fn machines_are_compared_commit_by_commit() {
    // What each commit did to the project is larger than what the machines differ by.
    let of = |machine: &str, night: u32, slower: f64| Recipe {
        machine: machine.into(),
        night,
        seed: if machine == "one" { 1 } else { 2 },
        rounds: 6,
        slowdown: slower * (1.0 + f64::from(night * 7 % 10) * 0.02),
        ..Recipe::default()
    };
    let nights: Vec<Recipe> = (0..10)
        .flat_map(|night| [of("one", night, 1.0), of("two", night, 1.05)])
        .collect();
    let place = Place::with_records(&nights);
    place.assay("report --out site").exits(0);
    let pages = files(&place, "site").into_iter();
    let mut machines = pages.filter(|(name, _)| name.starts_with("compare/synthetic-machine-"));
    let (name, (page, _)) = machines.next().unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.contains("Paired by commit: 10 commits that both sides measured"),
        "{name}"
    );
    assert!(page.contains("Student&#39;s interval for pairs"), "{name}");
    // The terminal says the same.
    let compared = place.assay("compare --by machine --json").exits(1).json();
    assert_eq!(compared["basis"]["is"], "by_commit");
    assert_eq!(compared["basis"]["commits"], 10);
    let ratio = &compared["cases"][0]["ratio"];
    let [low, high] = ["low", "high"].map(|end| ratio[end].as_f64().unwrap());
    assert!(low < 1.05 && 1.05 < high && high - low < 0.02, "{ratio}");
}

#[test]
fn a_filtered_run_takes_nothing_off_a_troubled_night() {
    let mut nights: Vec<Recipe> = (0..10).map(|n| night("one", n)).collect();
    nights.push(Recipe {
        slowdown: 1.5,
        ..night("one", 10)
    });
    let place = Place::with_records(&nights);
    let index = || {
        place.assay("report --out site").exits(0);
        let json: serde_json::Value = serde_json::from_str(&place.read("site/index.json")).unwrap();
        let nights = json["nights"].as_array().unwrap().clone();
        assert_eq!(nights.len(), 1);
        nights[0].clone()
    };
    let before = index();
    // All three moved, whatever the gate makes of that: what was started is the same.
    let moved = |night: &serde_json::Value| {
        let count = |of: &str| night["counts"][of].as_u64().unwrap();
        count("regressed") + count("inconclusive")
    };
    assert_eq!(moved(&before), 3, "{before}");
    assert!(before["parts"].as_array().unwrap().is_empty());
    // One of the three cases again, as fast as ever.
    let again = Recipe {
        first: 2,
        cases: 1,
        ..night("one", 11)
    };
    let records = place.path("assay-data/records");
    again.write(&records, None).unwrap();
    place.assay("ingest").exits(0);
    let after = index();
    assert_eq!(after["run"], again.run().to_string());
    assert_eq!(after["parts"].as_array().unwrap().len(), 2);
    assert_eq!(after["state"], before["state"]);
    assert_eq!(moved(&after), 2, "{after}");
    let first = place.read("site/index.html");
    assert!(
        first.contains("a part of the suite was run again: 1 of 3 cases"),
        "{first}"
    );
    // It is what is made from nothing.
    assert!(published(&place).is_empty());
    // The pair that is compared is still that of whole nights.
    let pages = files(&place, "site").into_iter();
    let mut pairs = pages.filter(|(name, _)| name.starts_with("compare/synthetic-night-"));
    let (_, (page, _)) = pairs.next().unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(nights[10].run().as_str()));
    // All of it once more: that is the night.
    night("one", 12).write(&records, None).unwrap();
    place.assay("ingest").exits(0);
    let whole = index();
    assert!(whole["parts"].as_array().unwrap().is_empty(), "{whole}");
}

#[test]
fn arms_have_nights_and_comparisons_of_their_own() {
    let of = |machine: &str, arm: &str, night: u32, slower: f64| Recipe {
        machine: machine.into(),
        arm: arm.into(),
        seed: if arm == "main" { 1 } else { 2 },
        night,
        slowdown: slower,
        ..Recipe::default()
    };
    let nights: Vec<Recipe> = (0..8)
        .flat_map(|night| {
            [
                of("one", "main", night, 1.0),
                of("one", "two", night, 1.4),
                of("two", "main", night, 1.1),
                of("two", "two", night, 1.5),
            ]
        })
        .collect();
    let place = Place::with_records(&nights);
    let written = published(&place);
    // By machine of each arm, and of each arm on each machine the newest night and the one before.
    assert_eq!(count(&written, "compare/synthetic-machine-"), 2);
    assert_eq!(count(&written, "compare/synthetic-night-"), 4);
    let pages = files(&place, "site").into_iter();
    for (name, (page, _)) in pages.filter(|(name, _)| name.starts_with("compare/synthetic-")) {
        let page = String::from_utf8(page).unwrap();
        let is_of = ["main", "two"].map(|arm| page.contains(&format!(", arm {arm}</bdi></h1>")));
        assert_eq!(is_of.iter().filter(|is| **is).count(), 1, "{name}");
        assert!(!page.contains("16 runs"), "{name}");
    }
    let json: serde_json::Value = serde_json::from_str(&place.read("site/index.json")).unwrap();
    let nights = json["nights"].as_array().unwrap();
    let places: Vec<[&str; 2]> = nights
        .iter()
        .map(|night| ["machine", "arm"].map(|of| night[of].as_str().unwrap()))
        .collect();
    assert_eq!(
        places,
        [
            ["one", "main"],
            ["one", "two"],
            ["two", "main"],
            ["two", "two"]
        ]
    );
    for night in nights {
        let counts = &night["counts"];
        assert_eq!(counts["regressed"], 0, "{night}");
        assert_ne!(counts["unchanged"], 0, "{night}");
    }
    // The terminal groups runs of one arm, too.
    let compared = place.assay("compare --by machine --json").json();
    assert_eq!(compared["baseline"]["runs"].as_array().unwrap().len(), 8);
}
