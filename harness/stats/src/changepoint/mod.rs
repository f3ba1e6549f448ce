//! Change points in a series of runs.
mod clean;
mod sums;
use serde::{Deserialize, Serialize};
use crate::sample::all_finite;
use crate::student;
use crate::summary::median;
use sums::Sums;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangePoint {
    /// First point after.
    pub index: usize,
    /// p.
    pub p_value: f64,
    /// kind
    pub kind: u8,
    /// abrupt
    pub abrupt: bool,
}
const SHORTEST: usize = 4;
fn env(name: &str, d: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(d)
}
/// Find.
pub fn change_points(values: &[f64]) -> Option<Vec<ChangePoint>> {
    if !all_finite(values) { return None; }
    let Some(cleaned) = clean::cleaned(values) else { return Some(vec![]) };
    let s = Sums::of(cleaned);
    let mut found = vec![];
    let mut todo = vec![(0, s.len(), true, 0)];
    let p = Params::get();
    while let Some((from, to, may, depth)) = todo.pop() {
        let got = split(&s, from, to, &p).filter(|g| g.1 * 4f64.powi(depth) <= p.alpha && (g.3 || (may && p.gradual > 0.0 && depth == 0)));
        let Some((cuts, pv, kind, abrupt)) = got else {
            if depth < p.depth as i32 && to - from >= 64 {
                let q = (to - from) / 4;
                let mut seen = 0;
                for (x, y) in [(from, from + 2 * q), (from + q, from + 3 * q), (from + 2 * q, to)] {
                    if seen > x { continue; }
                    let _ = &mut seen;
                    todo.push((x, y, false, depth + 1));
                }
            }
            continue };
        if found.iter().any(|c: &ChangePoint| cuts.iter().any(|k| c.index.abs_diff(*k) < SHORTEST)) { continue; }
        let mut last = from;
        for c in cuts.iter().copied().chain([to]) { todo.push((last, c, may && abrupt, depth)); last = c; }
        found.extend(cuts.iter().map(|&index| ChangePoint { index, p_value: pv, kind, abrupt }));
    }
    found.sort_by_key(|c| c.index);
    Some(found)
}
struct Params { alpha: f64, margin: f64, bend: f64, debug: bool , ess: f64, linemargin: f64, rmax: f64, effect: f64, bumpmin: f64, bumpfac: f64, seffect: f64, near: f64, share: f64, local: f64, gradual: f64, depth: f64}
impl Params { fn get() -> Self { Self { alpha: env("ALPHA", 0.001), margin: env("MARGIN", 1.0), bend: env("BEND", 1.0), debug: env("DEBUG",0.0)>0.0 , ess: env("ESS",1.0), linemargin: env("LM",1.0), rmax: env("RMAX",0.8), effect: env("EFFECT",1.0), bumpmin: env("BUMPMIN",12.0), bumpfac: env("BUMPFAC",2.0), seffect: env("SEFFECT",0.0), near: env("NEAR",288.0), share: env("SHARE",0.5), local: env("LOCAL",1.0), gradual: env("GRADUAL",1.0), depth: env("DEPTH",0.0)} } }

fn split(s: &Sums, from: usize, to: usize, p: &Params) -> Option<(Vec<usize>, f64, u8, bool)> {
    let n = to - from;
    if n < 2 * SHORTEST { return None; }
    let level = s.around_level(from, to);
    let line = s.around_line(from, to);
    if level <= 1e-12 * s.len() as f64 { return None; }
    let step = (from + SHORTEST..=to - SHORTEST)
        .map(|k| (s.around_level(from, k) + s.around_level(k, to), vec![k]))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    let bump = best_bump(s, from, to, p.bumpmin as usize);
    let step_p = evidence(s, from, to, &step, level, 1, false, p, 1.0);
    let bump_p = bump.as_ref().map_or((1.0, 0.0, true), |b| evidence(s, from, to, b, level, 1, false, p, (n as f64 / SHORTEST as f64 ).powf(p.bumpfac) * 4.0));
    let (best, (best_p, noise, abrupt)) = match bump { Some(b) if bump_p.0 < step_p.0 => (b, bump_p), _ => (step, step_p) };
    if p.debug { eprintln!("{from}..{to} level {level:.3} line {line:.3} best {best:?} p {best_p:.2e} stepp {step_p:?} bumpp {bump_p:?}"); }
    let nf = n as f64;
    if best_p <= p.alpha && best.0 < line - p.linemargin * nf.ln() * noise {
        let kind = best.1.len() as u8;
        return Some((best.1, best_p, kind, abrupt));
    }
    if p.bend > 0.0  {
        let m = 3 * SHORTEST;
        if n < 2 * m { return None; }
        let bend = (from + m..=to - m)
            .map(|k| (s.around_line(from, k) + s.around_line(k, to), vec![k]))
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        let (bend_p, _, abrupt) = evidence(s, from, to, &bend, line, 2, true, p, 1.0);
        if p.debug { eprintln!("   bend {bend:?} p {bend_p:.2e}"); }
        if bend_p <= p.alpha { return Some((bend.1, bend_p, 3, abrupt)); }
    }
    None
}

fn best_bump(s: &Sums, from: usize, to: usize, shortest: usize) -> Option<(f64, Vec<usize>)> {
    let n = to - from;
    if n < 3 * SHORTEST { return None; }
    let mean = s.total(from, to) / n as f64;
    let stride = n.div_ceil(1000);
    let gain = |i: usize, j: usize| {
        let w = (j - i) as f64;
        let d = s.total(i, j) - w * mean;
        d * d / (w * (1.0 - w / n as f64))
    };
    let mut best = (0.0, 0, 0);
    for i in (from + SHORTEST..=to - 2 * SHORTEST).step_by(stride) {
        for j in (i + shortest..=to - SHORTEST).step_by(stride) {
            let g = gain(i, j);
            if g > best.0 { best = (g, i, j); }
        }
    }
    let (_, i0, j0) = best;
    if stride > 1 {
        for i in i0.saturating_sub(stride).max(from + SHORTEST)..=i0 + stride {
            for j in (j0 - stride).max(i + shortest)..=(j0 + stride).min(to - SHORTEST) {
                let g = gain(i, j);
                if g > best.0 { best = (g, i, j); }
            }
        }
    }
    if best.0 <= 0.0 { return None; }
    Some((s.around_level(from, to) - best.0, vec![best.1, best.2]))
}

#[allow(clippy::too_many_arguments)]
fn evidence(s: &Sums, from: usize, to: usize, alt: &(f64, Vec<usize>), null: f64, extra: i32, line: bool, p: &Params, places: f64) -> (f64, f64, bool) {
    let n = (to - from) as f64;
    let per = if line { 2.0 } else { 1.0 };
    let segs = (alt.1.len() + 1) as f64;
    // residuals
    let mut res = Vec::new();
    if alt.1.len() == 2 {
        // common outside level
        let (i, j) = (alt.1[0], alt.1[1]);
        let outn = n - (j - i) as f64;
        let out = (s.total(from, i) + s.total(j, to)) / outn;
        let inn = s.total(i, j) / (j - i) as f64;
        res.extend((from..to).map(|t| s.at(t) - if t >= i && t < j { inn } else { out }));
    } else {
        let mut last = from;
        for c in alt.1.iter().copied().chain([to]) { res.extend(s.residuals(last, c, line)); last = c; }
    }
    let rss: f64 = res.iter().map(|r| r * r).sum();
    let df = n - per * segs - 1.0;
    if df < 1.0 { return (1.0, 0.0, true); }
    let gain = null - rss;
    if gain <= 0.0 { return (1.0, 0.0, true); }
    if rss <= 1e-12 * null { return (0.0, 0.0, true); }
    let v = rss / df;
    let jump = { let (a, b) = (alt.1[0], alt.1.get(1).copied().unwrap_or(to));
        let m = |x: usize, y: usize| s.total(x, y) / (y - x) as f64;
        if line { let e = |x: usize, y: usize| m(x, y) + s.slope(x, y) * (a as f64 - 0.5 - (x + y - 1) as f64 / 2.0); (e(from, a) - e(a, to)).abs() / v.sqrt() } else { (m(from, a) - m(a, b)).abs() / v.sqrt() } };
    if p.debug { eprintln!("    jump {jump:.2} sd"); }
    if jump < if line { p.effect } else { p.seffect } { return (1.0, 0.0, true); }
    let lag: f64 = res.windows(2).map(|w| w[0] * w[1]).sum::<f64>() / rss;
    // Kendall bias
    let c = per * segs;
    let r = (lag + c / n) / (1.0 - 3.0 * c / n).max(0.25);
    let r = (r + p.margin * ((1.0 - lag * lag).max(0.0) / n).sqrt()).clamp(0.0, p.rmax);
    let mut tau = (1.0 + r) / (1.0 - r);
    if p.ess > 0.0 {
        let e = crate::effective_sample_size(&res).unwrap_or(n);
        tau = tau.max(n / e);
    }
    let f = gain / f64::from(extra) / v / tau;
    if p.debug { eprintln!("    cuts {:?} gain/v {:.1} lag {lag:.3} r {r:.3} tau {tau:.2} ess {:?} F {f:.2}", alt.1, gain / v, crate::effective_sample_size(&res)); }
    let d = f64::from(extra);
    // tail
    let mut abrupt = true;
    if p.near > 0.0 {
        let bounds: Vec<usize> = [from].into_iter().chain(alt.1.iter().copied()).chain([to]).collect();
        let diff = |lag: usize| (from + lag..to).map(|t| (s.at(t) - s.at(t - lag)).powi(2)).sum::<f64>() / (n - lag as f64);
        let (v1, v2) = (diff(1), diff(2));
        let rho = (v2 / v1 - 1.0).clamp(0.0, p.rmax);
        let lrv = if p.local > 0.0 { (v1 / 2.0 / (1.0 - rho) * (1.0 + rho) / (1.0 - rho)).min(v * tau) } else { v * tau };
        for w in bounds.windows(3) {
            let (x, k, y) = (w[0], w[1], w[2]);
            let mean = |x: usize, y: usize| s.total(x, y) / (y - x) as f64;
            let edge = |x: usize, y: usize| mean(x, y) + s.slope(x, y) * (k as f64 - 0.5 - (x + y - 1) as f64 / 2.0);
            let step = if line { edge(k, y) - edge(x, k) } else { mean(k, y) - mean(x, k) };
            let m = ((p.near * lrv / step.powi(2)).ceil() as usize).max(6);
            let (x, y) = (x.max(k.saturating_sub(m)), y.min(k + m));
            let local = edge(k, y) - edge(x, k);
            if p.debug { eprintln!("    near {k}: step {step:.3} m {m} {x}..{y} local share {:.2}", local / step); }
            if local / step < p.share { abrupt = false; }
        }
    }
    let dfe = (df / tau).max(1.0);
    let tail = if extra == 1 { 2.0 * student::upper_tail(f.sqrt(), dfe) } else { (1.0 + 2.0 * f / dfe).powf(-dfe / 2.0) };
    // gaussian equivalent b: chi2_d tail = tail
    let b2 = if extra == 1 { let z = student::normal_quantile(1.0 - (tail / 2.0).max(1e-16)).unwrap_or(8.0); z * z } else { -2.0 * tail.ln() };
    let b = b2.sqrt();
    let h = if line { SHORTEST as f64 * 3.0 } else { SHORTEST as f64 } / n;
    let t = 2.0 * ((1.0 - h) / h).ln();
    let density = if extra == 1 { b * (-b2 / 2.0).exp() / (2.0 / std::f64::consts::PI).sqrt().recip() } else { b2 * (-b2 / 2.0).exp() / 2.0 };
    if b < 2.0 { return (1.0, 0.0, true); }
    ((places * density * (t * (1.0 - d / b2) + 4.0 / b2)).min(1.0), v * tau, abrupt)
}
/// median of a slice
#[allow(dead_code)]
fn med(v: &[f64]) -> f64 { median(v).unwrap_or(0.0) }
