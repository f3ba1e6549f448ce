//! Pictures of a turn, drawn from a set and mixed: `MixUp`, `CutMix`, and labels that are smoothed.
//!
//! Each picture has a partner of the set. `MixUp`: `x = l x1 + (1 - l) x2` (H. Zhang et al., "mixup: beyond empirical risk minimization",
//! ICLR 2018, section 2). `CutMix`: a square of the partner in the picture's place, whose side is `sqrt(1 - l)` of the picture's, about a
//! centre that is uniform, cut off at the borders; then `l` is what is left of the first (S. Yun et al., "`CutMix`", ICCV 2019,
//! algorithm A1). `l` is uniform, as `CutMix` has it and as `MixUp`'s `Beta(1, 1)` is. Labels: `(1 - e) (l [c = y1] + (1 - l) [c = y2]) + e / C`
//! (C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7).
//!
//! All of it is a function of seed, turn and place in the batch, the same bits on every device. Work, with `n` numbers of the batch's
//! pictures and `m` of its labels: `4 (3 n + m)` bytes and `3 n` flops, where pictures are added up.

use assay_protocol::{Failure, Philox, Work};

use super::draw::{self, Draw};
use super::expect;
use super::pool::parts;
use crate::check;
use crate::element::DType;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/mixing.cu");
const THREADS: u32 = 256;
/// Words of a picture.
const WORDS: u64 = 8;

/// What is done with a picture and its partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: there is no partner.
    Alone,
    /// A weighted sum.
    MixUp,
    /// A square of the partner.
    CutMix,
    /// One of these, by the toss of a coin.
    Either,
}

impl Kind {
    /// By their names as parameters.
    pub const NAMED: &[(&str, Self)] = &[
        ("none", Self::Alone),
        ("mixup", Self::MixUp),
        ("cutmix", Self::CutMix),
        ("either", Self::Either),
    ];

    /// By their numbers as CUDA kernels know them.
    fn number(self) -> u32 {
        let found = Self::NAMED.iter().position(|(_, kind)| *kind == self);
        found.map_or(0, |place| place as u32)
    }
}

/// How the pictures of a turn are made.
#[derive(Clone, Copy, Debug)]
pub struct Mixing {
    /// How they are drawn.
    pub draw: Draw,
    /// What is done with them.
    pub kind: Kind,
    /// Side of a picture, and numbers of a pixel.
    pub shape: [usize; 2],
    /// Different labels.
    pub classes: usize,
    /// What of a label is spread over all.
    pub smoothing: f32,
    /// Random stream of partners and of what is done with them.
    pub stream: u64,
}

/// What becomes of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mix {
    /// Rows of the set: the picture, and its partner.
    rows: [usize; 2],
    /// What of its label is that of the picture.
    share: f32,
    /// Lines and columns that are the partner's; none where both are added up.
    square: Option<[[usize; 2]; 2]>,
}

impl Mixing {
    fn mix(&self, turn: u64, b: usize) -> Mix {
        let Self { draw, shape, .. } = self;
        let row = draw.row(turn, b);
        let alone = Mix {
            rows: [row, row],
            share: 1.0,
            square: None,
        };
        let index = turn.wrapping_mul(draw.batch as u64).wrapping_add(b as u64);
        let random = Philox::new(draw.seed, self.stream);
        let word = |place: u64| random.word(index.wrapping_mul(WORDS).wrapping_add(place));
        let below = |place, bound: usize| ((u64::from(word(place)) * bound as u64) >> 32) as usize;
        let rows = [row, below(0, draw.rows)];
        let share = (word(1) >> 8) as f32 * 2_f32.powi(-24);
        let cuts = match self.kind {
            Kind::Alone => return alone,
            Kind::MixUp => false,
            Kind::CutMix => true,
            Kind::Either => word(4) & 1 == 1,
        };
        if !cuts {
            return Mix {
                rows,
                share,
                square: None,
            };
        }
        let side = shape[0];
        let cut = ((1.0 - share).sqrt() * side as f32) as usize;
        let square = [2, 3].map(|place| {
            let centre = below(place, side);
            let first = centre.saturating_sub(cut / 2);
            [first, (centre + cut - cut / 2).min(side)]
        });
        let area: usize = square.iter().map(|[first, end]| end - first).product();
        Mix {
            rows,
            share: 1.0 - area as f32 / (side * side) as f32,
            square: Some(square),
        }
    }

    /// Adds the pictures of a turn, and their soft labels, to a program, given those of the set: `x` and labels of `u32`. `turn` is one
    /// `u64`, which stays as it is.
    pub fn forward(
        self,
        program: &mut Program,
        turn: usize,
        [x, labels]: [usize; 2],
        [out, targets]: [usize; 2],
    ) {
        let Self { draw, classes, .. } = self;
        let image = self.image();
        let buffers = [
            ("turn", turn, DType::U64, 1),
            ("x", x, DType::F32, draw.rows * image),
            ("labels", labels, DType::U32, draw.rows),
            ("out", out, DType::F32, draw.batch * image),
            ("targets", targets, DType::F32, draw.batch * classes),
        ];
        expect(program, "mixing", &buffers);
        program.step_on_cpu(move |team, buffers| {
            let [turn, x, labels, out, targets] = buffers.many([turn, x, labels, out, targets]);
            let turn = turn.get::<u64>()[0];
            let (x, labels) = (x.get::<f32>(), labels.get::<u32>());
            let outputs = parts(team, out.get_mut::<f32>(), image).into_iter();
            let targets = team.split_mut(targets.get_mut::<f32>(), classes);
            team.each(outputs.zip(targets).collect(), |((first, out), targets)| {
                let rows = out
                    .chunks_exact_mut(image)
                    .zip(targets.chunks_exact_mut(classes));
                for (b, (out, targets)) in (*first..).zip(rows) {
                    let mix = self.mix(turn, b);
                    let pair = mix.rows.map(|row| &x[row * image..][..image]);
                    self.blend(&mix, pair, out);
                    self.label(&mix, mix.rows.map(|row| labels[row]), targets);
                }
            });
        });
        program.launch(self.launch([out, targets, x, labels, turn]));
    }

    fn launch(self, buffers: [usize; 5]) -> Launch {
        let [side, channels] = self.shape;
        // A block a picture; blocks go on to further ones.
        let grid = blocks(self.draw.batch, 1, i32::MAX.unsigned_abs());
        Launch::new(&SOURCE, "mix_pictures", grid, THREADS)
            .args(buffers.map(Arg::Buffer))
            .args([self.draw.batch, side, channels, self.classes].map(Arg::size))
            .args([self.draw.rows as u32, self.kind.number()].map(Arg::U32))
            .args([1.0 - self.smoothing, self.spread()].map(Arg::F32))
            .args([self.draw.seed, self.draw.stream, self.stream].map(Arg::U64))
    }

    /// Numbers of a picture.
    fn image(&self) -> usize {
        self.shape[0] * self.shape[0] * self.shape[1]
    }

    /// What every class has of a smoothed label.
    fn spread(&self) -> f32 {
        self.smoothing / self.classes as f32
    }

    fn blend(&self, mix: &Mix, [one, other]: [&[f32]; 2], out: &mut [f32]) {
        let [side, channels] = self.shape;
        let Some([lines, columns]) = mix.square else {
            let rest = 1.0 - mix.share;
            for (out, (a, b)) in out.iter_mut().zip(one.iter().zip(other)) {
                *out = mix.share * a + rest * b;
            }
            return;
        };
        out.copy_from_slice(one);
        for line in lines[0]..lines[1] {
            let part = [0, 1].map(|end| (line * side + columns[end]) * channels);
            out[part[0]..part[1]].copy_from_slice(&other[part[0]..part[1]]);
        }
    }

    fn label(&self, mix: &Mix, labels: [u32; 2], targets: &mut [f32]) {
        targets.fill(self.spread());
        let kept = 1.0 - self.smoothing;
        targets[labels[0] as usize] += kept * mix.share;
        targets[labels[1] as usize] += kept * (1.0 - mix.share);
    }
}

/// The op: [`Mixing::forward`], after which the turn is counted.
#[derive(Clone, Copy, Debug)]
pub struct MixingOp;

impl Op for MixingOp {
    fn info(&self) -> OpInfo {
        let sizes = ["rows", "batch", "side", "channels", "classes"];
        let mut parameters: Vec<_> = sizes.map(parameters::integer).into();
        let names: Vec<_> = Kind::NAMED.iter().map(|(name, _)| *name).collect();
        parameters.push(parameters::choice("mixing", &names));
        OpInfo {
            name: "mix-pictures",
            summary: "pictures of a set, drawn for a turn and mixed, with soft labels",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let mixing = Mixing {
            draw: Draw {
                rows: arguments.at_most("rows", u32::MAX as usize)?,
                batch: arguments.size("batch")?,
                seed: arguments.0.seed.0,
                stream: 1,
            },
            kind: arguments.choice("mixing", Kind::NAMED)?,
            shape: [arguments.count("side")?, arguments.count("channels")?],
            classes: arguments.count("classes")?,
            smoothing: 0.1,
            stream: 2,
        };
        let Mixing { draw, classes, .. } = mixing;
        let [side, channels] = mixing.shape;
        let sizes = [draw.rows.max(draw.batch), side, side, channels];
        parameters::size_product("`rows`, `side` and `channels`", &sizes)?;
        let (n, m) = (draw.batch * mixing.image(), draw.batch * classes);
        let mut program = Program::new(Work {
            bytes: Some(parameters::product("`rows`, `side` and `channels`", &[4, (3 * n + m) as u64])?),
            flops: Some(3 * n as u64),
            items: Some(draw.batch as u64),
            formula: "bytes = 4 (3 n + m), flops = 3 n, items = batch; n = batch side^2 channels, m = batch classes"
                .into(),
        });
        let set = draw.rows * mixing.image();
        let x = program.input("x", DType::F32, set, Fill::signed(0));
        let below = Fill::Below {
            stream: 3,
            bound: classes as u32,
        };
        let labels = program.input("labels", DType::U32, draw.rows, below);
        let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 4 });
        let out = program.output("out", DType::F32, n);
        let targets = program.output("targets", DType::F32, m);
        mixing.forward(&mut program, turn, [x, labels], [out, targets]);
        draw::count(&mut program, turn);
        program.check(move |outcome| check(outcome, mixing, turn, [x, labels, out, targets]));
        Ok(program)
    }

    fn test_size(&self, parameter: &str, size: i64) -> i64 {
        match parameter {
            "batch" => size.min(6),
            "rows" => size.min(5),
            "side" | "classes" => size.min(11),
            "channels" => size.min(3),
            _ => size,
        }
    }
}

/// Beside the host's own arithmetic, whose pictures are tested beside their definition.
fn check(outcome: &Outcome, mixing: Mixing, turn: usize, buffers: [usize; 4]) -> Checked {
    let (last, is_counted) = draw::last_turn(outcome, turn);
    let [x, labels, out, targets] = buffers;
    let (x, labels) = (outcome.get::<f32>(x), outcome.get::<u32>(labels));
    let (out, targets) = (outcome.get::<f32>(out), outcome.get::<f32>(targets));
    let (image, classes) = (mixing.image(), mixing.classes);
    let differs = |b: usize| {
        let mix = mixing.mix(last, b);
        let [mut picture, mut label] = [vec![0.0; image], vec![0.0; classes]];
        mixing.blend(
            &mix,
            mix.rows.map(|row| &x[row * image..][..image]),
            &mut picture,
        );
        mixing.label(&mix, mix.rows.map(|row| labels[row]), &mut label);
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
        !same(&picture, &out[b * image..][..image])
            || !same(&label, &targets[b * classes..][..classes])
    };
    let wrong = check::count(mixing.draw.batch, differs) + usize::from(!is_counted);
    Checked::exact(
        wrong,
        "pictures that are mixed otherwise, or have other labels",
    )
}

#[cfg(test)]
mod tests {
    use super::{Draw, Kind, Mixing};

    fn mixing(kind: Kind) -> Mixing {
        Mixing {
            draw: Draw {
                rows: 100,
                batch: 8,
                seed: 1,
                stream: 1 << 43,
            },
            kind,
            shape: [12, 3],
            classes: 4,
            smoothing: 0.1,
            stream: 1 << 45,
        }
    }

    #[test]
    fn what_is_cut_is_what_labels_say() {
        let mixing = mixing(Kind::Either);
        let (one, other) = (vec![0.0; 12 * 12 * 3], vec![1.0; 12 * 12 * 3]);
        let (mut cuts, mut areas) = (0, 0.0);
        for turn in 0..100 {
            let mix = mixing.mix(turn, 3);
            assert_eq!(mix.rows[0], mixing.draw.row(turn, 3));
            let mut out = vec![f32::NAN; one.len()];
            mixing.blend(&mix, [&one, &other], &mut out);
            let mean = out.iter().sum::<f32>() / out.len() as f32;
            assert!((mean - (1.0 - mix.share)).abs() < 1e-5, "{mix:?}: {mean}");
            let mut targets = [f32::NAN; 4];
            mixing.label(&mix, [1, 2], &mut targets);
            assert!((targets[1] - (0.025 + 0.9 * mix.share)).abs() < 1e-6);
            assert!((targets.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            if let Some(square) = mix.square {
                cuts += 1;
                areas += mean;
                // One piece, of whole pixels.
                let changed = out.iter().filter(|x| **x > 0.5).count();
                let [lines, columns] = square.map(|[first, end]| end - first);
                assert_eq!(changed, 3 * lines * columns);
            }
        }
        assert!((30..70).contains(&cuts), "{cuts}");
        let mean = areas / cuts as f32;
        assert!((0.2..0.6).contains(&mean), "{mean}");
    }

    #[test]
    fn pictures_alone_stay_as_they_are() {
        let mixing = mixing(Kind::Alone);
        let mix = mixing.mix(5, 6);
        let one: Vec<f32> = (0..12 * 12 * 3_u16).map(f32::from).collect();
        let mut out = vec![0.0; one.len()];
        mixing.blend(&mix, [&one, &one], &mut out);
        assert_eq!(out, one);
    }
}
