//! Pointer chase: the latency of one load after the other, from the level that holds the footprint.
//!
//! A buffer of `lines` lines of 128 bytes, each of which says where the next one is: one cycle through all of them
//! in random order, so that no prefetcher foresees it. One thread makes `steps` loads, each
//! at the address that the one before brought: the time of an item is the latency of a load, with the translation of
//! its address and the addition that makes it. Source: L. `McVoy` and C. Staelin, "lmbench: portable tools
//! for performance analysis", USENIX 1996, section 6.2. Work: `steps` items of 8 bytes; no bandwidth bounds it.
//!
//! An iteration goes on where the one before ended, so that few steps through many lines do not
//! stay in the part of the cycle that a near cache holds. What it found is the same wherever it began: beside the
//! place of the next line stands the line's own number along the cycle, and the output is how many loads
//! brought the number that had to come.

use assay_protocol::{Failure, Work};

use super::{EVERYWHERE, Op, OpInfo};
use crate::buffer::{Buffer, Buffers};
use crate::device::Team;
use crate::element::DType;
use crate::parameters::{self, Arguments};
use crate::permutation::Permutation;
use crate::program::{
    Arg, BufferSpec, Checked, Fill, Launch, Program, Role, Source, Traffic, cuda_source,
};
use assay_protocol::Philox;

static SOURCE: Source = cuda_source!("memory/pointer_chase.cu");
/// Words of 32 bits in a line: what a GPU fetches at once, and a processor in pairs.
const LINE: usize = 32;
/// Links of 8 bytes in a line. Places are counted in them.
const LINKS: u32 = LINE as u32 / 2;
/// Lines whose places 32 bits can count: 32 GiB of them.
const MOST_LINES: usize = 1 << 28;
/// Steps of an iteration, which nothing ends before they are done: minutes of loads from memory.
const MOST_STEPS: usize = 1 << 32;

/// A chain of dependent loads.
pub struct PointerChase;

/// Numbers of the buffers.
const LINES: usize = 0;
const POSITION: usize = 1;
const FOUND: usize = 2;

impl Op for PointerChase {
    fn info(&self) -> OpInfo {
        OpInfo {
            name: "pointer-chase",
            summary: "dependent loads along a random cycle of 128-byte lines",
            parameters: vec![
                parameters::integer("lines"),
                parameters::integer_or("steps", 10_000),
            ],
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let (lines, steps) = (arguments.count("lines")?, arguments.size("steps")? as u64);
        arguments.check_most("steps", MOST_STEPS)?;
        if lines > MOST_LINES {
            let reason = format!("parameter `lines`: at most {MOST_LINES} can be numbered");
            return Err(Failure::Failed(reason));
        }
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`steps`", &[steps, 8])?),
            flops: Some(0),
            items: Some(steps),
            formula: "bytes = 8 steps, flops = 0, items = steps".into(),
        });
        program.traffic = Traffic::Unbounded;
        let fill = Fill::Host(Box::new(link));
        let cycle = program.input("lines", DType::U32, lines * LINE, fill);
        // Place and number of the line that comes next: line 0 at first. Nothing puts it back.
        program.buffers.push(BufferSpec {
            name: "position".into(),
            dtype: DType::U32,
            len: 2,
            role: Role::Scratch,
            fill: Fill::Zero,
        });
        let found = program.output("found", DType::U64, 1);
        program.on_cpu(move |team, buffers, iterations| run(team, buffers, steps, iterations));
        program.launch(Launch::new(&SOURCE, "pointer_chase", 1, 1).args([
            Arg::Buffer(found),
            Arg::Buffer(POSITION),
            Arg::Buffer(cycle),
            Arg::U32(lines as u32),
            Arg::U64(steps),
        ]));
        program.check(move |outcome| Checked {
            error: outcome.get::<u64>(FOUND)[0].abs_diff(steps) as f64,
            tolerance: 0.0,
            detail: "loads that did not bring the number that had to come".into(),
        });
        Ok(program)
    }
}

/// Links the lines of a buffer. Line 0 is number 0; what is no link is random, so that no two buffers are alike.
fn link(buffer: &mut Buffer, seed: u64) {
    const CYCLE_STREAM: u64 = 0;
    const REST_STREAM: u64 = 1;
    let words = buffer.get_mut::<u32>();
    Philox::new(seed, REST_STREAM).fill_words(0, words);
    let lines = (words.len() / LINE) as u32;
    let permutation = Permutation::new(lines, seed, CYCLE_STREAM);
    // Turned round so that it begins at line 0.
    let begin = permutation.at(0);
    let turned = |line: u32| match line.checked_sub(begin) {
        Some(line) => line,
        None => line + (lines - begin),
    };
    let mut line = 0;
    for number in 0..lines {
        let next = if number + 1 == lines {
            0
        } else {
            turned(permutation.at(number + 1))
        };
        let head = &mut words[line as usize * LINE..][..2];
        head.copy_from_slice(&[next * LINKS, number]);
        line = next;
    }
}

/// The first member walks, from where it was left; the others wait for it.
fn run(team: &Team, buffers: &mut Buffers, steps: u64, iterations: u64) -> u64 {
    let [lines, position, found] = buffers.many([LINES, POSITION, FOUND]);
    let (heads, _) = lines.get::<u32>().as_chunks::<2>();
    let position = position.get_mut::<u32>();
    let mut walk = Walk {
        at: position[0],
        number: position[1],
        count: (heads.len() / LINKS as usize) as u32,
        found: 0,
    };
    let mut tasks: Vec<_> = (0..team.threads()).map(|_| None).collect();
    tasks[0] = Some(&mut walk);
    let ns = team.time(iterations, tasks, |_, walk| {
        if let Some(walk) = walk {
            walk.found = 0;
            walk.go(heads, steps);
        }
    });
    position.copy_from_slice(&[walk.at, walk.number]);
    found.get_mut::<u64>()[0] = walk.found;
    ns
}

/// Where a walk is.
struct Walk {
    /// Place of the line that comes next.
    at: u32,
    /// Its number along the cycle.
    number: u32,
    /// Lines in all.
    count: u32,
    /// Loads so far that brought the right number.
    found: u64,
}

impl Walk {
    fn go(&mut self, links: &[[u32; 2]], steps: u64) {
        let (mut at, mut number, mut found) = (self.at, self.number, 0);
        for _ in 0..steps {
            let [next, own] = links[at as usize];
            at = next;
            found += u64::from(own == number);
            number = if number + 1 == self.count {
                0
            } else {
                number + 1
            };
        }
        (self.at, self.number, self.found) = (at, number, found);
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, LINKS, Walk, link};
    use crate::buffer::Buffer;
    use crate::device::Team;
    use crate::element::DType;

    #[test]
    fn the_cycle_meets_every_line_once() {
        for lines in [1_u32, 2, 3, 257] {
            let team = Team::new(1).unwrap();
            let mut buffer = Buffer::zeroed(&team, DType::U32, lines as usize * LINE).unwrap();
            link(&mut buffer, 5);
            let links = buffer.get::<u32>().as_chunks::<2>().0;
            let mut met: Vec<_> = (0..lines)
                .scan(0_u32, |at, _| {
                    *at = links[*at as usize][0];
                    Some(*at / LINKS)
                })
                .collect();
            assert_eq!(met.last(), Some(&0));
            met.sort_unstable();
            assert!(met.into_iter().eq(0..lines));
        }
    }

    #[test]
    fn a_wrong_link_is_noticed() {
        let mut links = vec![[0; 2]; 3 * LINKS as usize];
        for (line, next) in [(0, 1), (1, 2), (2, 0)] {
            links[(line * LINKS) as usize] = [next * LINKS, line];
        }
        let mut walk = Walk {
            at: 0,
            number: 0,
            count: 3,
            found: 0,
        };
        walk.go(&links, 7);
        assert_eq!((walk.found, walk.at, walk.number), (7, LINKS, 1));
        links[0][0] = 2 * LINKS;
        walk.go(&links, 7);
        assert!(walk.found < 7);
    }
}
