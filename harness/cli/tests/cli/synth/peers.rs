//! Other programs that learn tables, as arms beside Assay: the worker that speaks for them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::helpers::{ASSAY, Place, benchmark, have, repository_file, suite};

/// As much of pandas and SDV as the worker asks for: a synthesizer that gives the rows back that it learned.
const PEERS: [(&str, &str); 4] = [
    (
        "pandas.py",
        "class Table:\n\
         \x20   def __init__(self, lines):\n\
         \x20       self.lines, self.columns = lines, lines[0].strip().split(',')\n\
         \x20   def __len__(self):\n\
         \x20       return len(self.lines) - 1\n\
         \x20   def to_csv(self, path, index):\n\
         \x20       open(path, 'w').writelines(self.lines)\n\
         def read_csv(path):\n\
         \x20   return Table(open(path).readlines())\n",
    ),
    ("sdv/__init__.py", ""),
    (
        "sdv/metadata.py",
        "class Metadata:\n\
         \x20   detect_from_dataframes = staticmethod(lambda tables: tables)\n",
    ),
    (
        "sdv/single_table.py",
        "class GaussianCopulaSynthesizer:\n\
         \x20   def __init__(self, metadata):\n\
         \x20       print('what libraries say is no answer')\n\
         \x20   def fit(self, tables):\n\
         \x20       self.tables = tables\n\
         \x20   def sample(self, num_rows):\n\
         \x20       assert num_rows == len(self.tables['table'])\n\
         \x20       return self.tables\n",
    ),
];

#[test]
fn other_programs_are_arms_of_one_run_and_scored_alike() {
    if !have("python3") {
        return;
    }
    let place = Place::new();
    for (name, text) in PEERS {
        place.write(&format!("peers/{name}"), text);
    }
    place.write(
        "worker.py",
        repository_file("suites/workers/synthetic_peers.py"),
    );
    std::fs::set_permissions(place.path("worker.py"), Permissions::from_mode(0o755)).unwrap();
    let case = |name: &str, generator: &str| {
        let params = format!("params = {{ rows = 200, generator = \"{generator}\" }}");
        benchmark(name, &format!("workload = \"synth-table\"\n{params}"))
    };
    let benchmarks = [case("copula", "copula"), case("mst", "mst")];
    place.write("tiny.toml", suite("tiny", &benchmarks));
    let programs = Path::new(ASSAY).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    let modules = place.path("peers");
    place
        .assay_with(&[
            "run",
            "./tiny.toml",
            "--arm",
            "assay=here",
            "--arm",
            "peer=worker:worker.py",
            "--arm",
            &format!("peer=env:PATH={programs}:{path}"),
            "--arm",
            &format!("peer=env:PYTHONPATH={}", modules.display()),
        ])
        .exits(0)
        .says("PRIVATE_PGM names no clone of private-pgm");
    let shown = place.assay("show --json").exits(0).json();
    let value = |arm: &str, metric: &str| {
        let cases = shown["cases"].as_array().unwrap();
        let of_arm = cases
            .iter()
            .map(|of| &of["case"])
            .find(|case| case["arm"] == arm && case["benchmark"] == "copula")
            .unwrap();
        let metrics = of_arm["metrics"].as_array().unwrap();
        let place = metrics.iter().position(|of| of["name"] == metric).unwrap();
        of_arm["rounds"][0]["values"][place].as_f64().unwrap()
    };
    // Rows that are the real ones are as good as can be, and copies.
    for (metric, own, peers) in [
        ("quality", 0.5..1.0, 0.999..1.1),
        ("three_way_error", 0.01..1.0, -0.1..0.001),
        ("exact_copies", -0.1..0.1, 0.999..1.1),
    ] {
        assert!(own.contains(&value("assay", metric)), "{metric}");
        assert!(peers.contains(&value("peer", metric)), "{metric}");
    }
    let compared = place.assay("compare latest --by arm");
    assert!(compared.stdout.contains("copula@cpu quality"), "{compared}");
    assert!(!compared.stderr.contains("inputs"), "{compared}");
}
