#![allow(clippy::pedantic, missing_docs)]
#[path = "../tests/noise/mod.rs"]
mod noise;
use assay_stats::change_points;
use noise::Noise;
fn student(n: &mut Noise, df: usize) -> f64 {
    let z = n.normal();
    let c: f64 = (0..df).map(|_| n.normal().powi(2)).sum::<f64>() / df as f64;
    z / c.sqrt()
}
fn main() {
    let mode = std::env::args().nth(1).unwrap();
    if mode == "score" {
        for f in std::env::args().skip(2) {
            let v: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(&f).unwrap()).unwrap();
            let values: Vec<f64> = v["values"]
                .as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap())
                .collect();
            if std::env::var("DEBUG").is_ok() {
                eprintln!("== {f}");
            }
            let found = change_points(&values).unwrap();
            println!(
                "{f} {}",
                found
                    .iter()
                    .map(|c| format!(
                        "{}:{}[{}-{}]",
                        c.index,
                        if c.gradual { "g" } else { "" },
                        c.earliest,
                        c.latest
                    ))
                    .collect::<Vec<_>>()
                    .join(" ")
            );
        }
        return;
    }
    let reps: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let quick = std::env::var("Q").is_ok();
    let lens: Vec<usize> = std::env::var("LENS").map_or(vec![8, 15, 30, 60, 100, 300, 1000], |l| {
        l.split(",").map(|x| x.parse().unwrap()).collect()
    });
    for kind in [
        "white", "ar5", "t2", "t3", "ar5t3", "ramp3", "ramp10", "ar8", "ar95", "rw", "sine3",
        "rampar",
    ] {
        if let Ok(k) = std::env::var("KINDS") {
            if !k.split(",").any(|x| x == kind) {
                continue;
            }
        }
        if quick && !["white", "ar5", "t3", "ar8", "rw"].contains(&kind) {
            continue;
        }
        let mut out = String::new();
        for n in lens.clone() {
            let mut hits = 0;
            let mut kinds = [0; 4];
            for seed in 0..reps {
                let mut g = Noise::seeded(seed as u64 * 7919 + n as u64);
                let v: Vec<f64> = match kind {
                    "white" => (0..n).map(|_| g.normal()).collect(),
                    "ar5" => g.autoregressive(n, 0.5),
                    "ar95" => g.autoregressive(n, 0.95),
                    "rw" => {
                        let mut s = 0.0;
                        (0..n)
                            .map(|_| {
                                s += g.normal();
                                s
                            })
                            .collect()
                    }
                    "sine3" => (0..n)
                        .map(|i| g.normal() + 3.0 * (6.283 * i as f64 / n as f64).sin())
                        .collect(),
                    "rampar" => {
                        let w = g.autoregressive(n, 0.5);
                        (0..n).map(|i| w[i] + 6.0 * i as f64 / n as f64).collect()
                    }
                    "ar8" => g.autoregressive(n, 0.8),
                    "t2" => (0..n).map(|_| student(&mut g, 2)).collect(),
                    "t3" => (0..n).map(|_| student(&mut g, 3)).collect(),
                    "ar5t3" => {
                        let mut s = 0.0;
                        (0..n + 20)
                            .map(|_| {
                                s = 0.5 * s + student(&mut g, 3);
                                s
                            })
                            .skip(20)
                            .collect()
                    }
                    "ramp3" => (0..n)
                        .map(|i| g.normal() + 3.0 * i as f64 / n as f64)
                        .collect(),
                    _ => (0..n)
                        .map(|i| g.normal() + 10.0 * i as f64 / n as f64)
                        .collect(),
                };
                let c = change_points(&v).unwrap();
                if !c.is_empty() {
                    hits += 1;
                    kinds[c.len().min(3)] += 1;
                }
            }
            out += &format!(" {n}:{hits}{:?}", &kinds[1..]);
        }
        println!("{kind}{out}");
    }
    for (name, n, k, h, sd, heavy) in [
        ("night2%", 60usize, 30usize, 4.0, 1.0, false),
        ("shared10%", 60, 30, 5.0, 1.0, true),
        ("1.5sd", 100, 50, 1.5, 1.0, false),
        ("3sd late", 60, 52, 3.0, 1.0, false),
    ] {
        let (mut any, mut near, mut exact1, mut extra) = (0, 0, 0, 0);
        for seed in 0..reps {
            let mut g = Noise::seeded(seed as u64 * 31 + 5);
            let v: Vec<f64> = (0..n)
                .map(|i| {
                    let e = if heavy {
                        student(&mut g, 3)
                    } else {
                        g.normal()
                    };
                    sd * e + if i >= k { h } else { 0.0 }
                })
                .collect();
            let c = change_points(&v).unwrap();
            any += usize::from(!c.is_empty());
            near += usize::from(c.iter().any(|c| c.index.abs_diff(k) <= 2));
            exact1 += usize::from(c.iter().any(|c| c.index.abs_diff(k) <= 1));
            extra += usize::from(c.len() > 1);
        }
        println!(
            "{name}: any {any} within2 {near} within1 {exact1} more than one {extra} of {reps}"
        );
    }
}
