//! A scan of lists on the host: of each list its vectors come from memory once, for all queries that look at it.
//!
//! Sixteen vectors lie side by side, one in each lane, so that a query's scores with them come out as they are needed; those of
//! [`TOGETHER`] queries and two such panels are in registers meanwhile. Each thread has lists of its own, and finds the nearest of every query
//! there; which lists they are changes nothing.

use std::ops::Range;

use super::Metric;
use super::host::{Nearest, least, write};
use super::ivf::{File, IvfScan};
use crate::device::Team;
use crate::ml::groups::Groups;
use crate::ml::host::fetch;
use crate::ops::transpose::{Block, SIDE};
use crate::simd::wide;

/// Vectors of a panel.
const WIDE: usize = 2 * SIDE;
/// Queries that are compared with a panel at once.
const TOGETHER: usize = 4;

/// Scores of a query with a panel.
type Scores = [f32; WIDE];

/// What a thread does: some lists, and the nearest of all queries in them.
struct Share {
    lists: Range<usize>,
    nearest: Vec<Nearest>,
}

/// Finds the nearest of each query in the lists that it probes. The groups are room for who looks at each list.
pub fn scan(
    team: &Team,
    shape: IvfScan,
    (queries, probed): (&[f32], &[u32]),
    file: File,
    groups: &mut Groups,
    (values, places): (&mut [f32], &mut [u32]),
) {
    let IvfScan {
        width, k, nprobe, ..
    } = shape;
    groups.sort(probed, shape.lists);
    let groups = &*groups;
    let mut shares = shares(team, shape, file, groups);
    team.each(shares.iter_mut().collect(), |share| {
        let mut room = Room {
            panel: vec![[0.0; WIDE]; width],
            queries: vec![],
        };
        for list in share.lists.clone() {
            let looking = groups.members()[groups.range(list)].iter();
            let looking = looking.map(|probe| *probe as usize / nprobe);
            let rows = file.list(list as u32);
            scan_list(
                shape,
                queries,
                looking,
                (file, rows),
                &mut room,
                &mut share.nearest,
            );
        }
        share.nearest.iter_mut().for_each(Nearest::shrink);
    });
    let results = values.chunks_exact_mut(k).zip(places.chunks_exact_mut(k));
    for (query, (values, places)) in results.enumerate() {
        let lists = shares.iter().map(|share| &share.nearest[query]);
        write(shape.metric, lists, values, places);
    }
}

/// Lists of each thread: about as much to compare for each.
fn shares(team: &Team, shape: IvfScan, file: File, groups: &Groups) -> Vec<Share> {
    let cost = |list: usize| (groups.range(list).len() * file.list(list as u32).len()) as u64;
    let all: u64 = (0..shape.lists).map(cost).sum();
    let members = team.threads() as u64;
    let (mut list, mut done) = (0, 0);
    (0..members)
        .map(|member| {
            let first = list;
            let enough = (u128::from(all) * u128::from(member + 1) / u128::from(members)) as u64;
            while list < shape.lists && (done < enough || member + 1 == members) {
                done += cost(list);
                list += 1;
            }
            let nearest = (0..shape.queries).map(|_| Nearest::new(shape.k)).collect();
            Share {
                lists: first..list,
                nearest,
            }
        })
        .collect()
}

/// What a thread keeps near.
struct Room {
    /// Numbers of a panel's vectors: those at the same place side by side.
    panel: Vec<Scores>,
    /// Who looks at the list.
    queries: Vec<usize>,
}

fn scan_list(
    shape: IvfScan,
    queries: &[f32],
    looking: impl Iterator<Item = usize>,
    (file, rows): (File, Range<usize>),
    room: &mut Room,
    nearest: &mut [Nearest],
) {
    let width = shape.width;
    let Room {
        panel,
        queries: looking_at,
    } = room;
    looking_at.clear();
    looking_at.extend(looking);
    if looking_at.is_empty() {
        return;
    }
    let transposes = Block::best(false);
    for first in rows.clone().step_by(WIDE) {
        let end = rows.end.min(first + WIDE);
        lay(transposes, panel, &file.vectors[first * width..end * width]);
        let mut next = &file.vectors[end * width..rows.end.min(end + WIDE) * width];
        for group in looking_at.chunks(TOGETHER) {
            // Where there are fewer, the last one again.
            let of_group = std::array::from_fn(|i| group[i.min(group.len() - 1)]);
            let numbers = of_group.map(|query: usize| &queries[query * width..][..width]);
            let scores = match shape.metric {
                Metric::L2 => distances(panel, numbers, next),
                Metric::InnerProduct => products(panel, numbers, next),
            };
            // It is on its way.
            next = &[];
            for (query, scores) in group.iter().zip(&scores) {
                let (scores, nearest) = (&scores[..end - first], &mut nearest[*query]);
                if least(scores) <= nearest.bound() {
                    nearest.fill(scores, |index| file.ids[first + index]);
                }
            }
        }
    }
}

/// Lays vectors side by side; where there are fewer than a panel has, what was there stays.
fn lay(block: Block, panel: &mut [Scores], vectors: &[f32]) {
    let width = panel.len();
    let whole = [vectors.len() / width, width].map(|size| size / SIDE * SIDE);
    let lanes = panel.as_flattened_mut();
    for vector in (0..whole[0]).step_by(SIDE) {
        for place in (0..whole[1]).step_by(SIDE) {
            let to = &mut lanes[place * WIDE + vector..];
            block.transpose(to, WIDE, &vectors[vector * width + place..], width);
        }
    }
    for (vector, numbers) in vectors.chunks_exact(width).enumerate() {
        let begin = if vector < whole[0] { whole[1] } else { 0 };
        for place in begin..width {
            lanes[place * WIDE + vector] = numbers[place];
        }
    }
}

wide! {
    /// Squared distances of queries from a panel's vectors; what comes `next` is fetched meanwhile.
    fn distances(panel: &[Scores], queries: [&[f32]; TOGETHER], next: &[f32]) -> [Scores; TOGETHER] {
        let mut sums = [[0.0_f32; WIDE]; TOGETHER];
        for (place, lanes) in panel.iter().enumerate() {
            ahead(next, place);
            for (sums, query) in sums.iter_mut().zip(&queries) {
                let number = query[place];
                for (sum, x) in sums.iter_mut().zip(lanes) {
                    let difference = number - *x;
                    *sum = difference.mul_add(difference, *sum);
                }
            }
        }
        sums
    }

    /// Scores of inner products in the same way.
    fn products(panel: &[Scores], queries: [&[f32]; TOGETHER], next: &[f32]) -> [Scores; TOGETHER] {
        let mut sums = [[0.0_f32; WIDE]; TOGETHER];
        for (place, lanes) in panel.iter().enumerate() {
            ahead(next, place);
            for (sums, query) in sums.iter_mut().zip(&queries) {
                let number = query[place];
                for (sum, x) in sums.iter_mut().zip(lanes) {
                    *sum = number.mul_add(*x, *sum);
                }
            }
        }
        for score in sums.as_flattened_mut() {
            *score = -*score;
        }
        sums
    }
}

/// Fetches a panel's part of what comes next.
#[inline(always)]
#[allow(clippy::inline_always)] // takes on the features of its caller
fn ahead(next: &[f32], place: usize) {
    if let Some(part) = next.get(place * WIDE..(place + 1) * WIDE) {
        fetch(part);
    }
}
