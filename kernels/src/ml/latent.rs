//! Codes of rows, drawn from the normal distribution that an encoder gives of each: `z = mu + e^(v / 2) eps`, with the logarithm `v` of
//! the variance, and the divergence of that distribution from the standard one, `(mu^2 + e^v - 1 - v) / 2`, summed over the code. Source:
//! D. Kingma, M. Welling, "Auto-encoding variational Bayes", ICLR 2014, section 2.4 and appendix B.
//!
//! `eps` is a function of seed, turn and row: numbers of the [normal distribution](crate::normal) by inversion, in f64, then rounded.
//! Gradients, given that of the codes and, `scale`, that of each divergence: `d_mu = dz + scale mu`, `d_v = dz e^(v / 2) eps / 2 +
//! scale (e^v - 1) / 2`. Work of `n` numbers of codes: forward `16 n` bytes and `11 n` flops, backward `24 n` and `10 n`.

use assay_protocol::{Failure, Philox, Work};

use super::bound::{self, EXP};
use super::draw;
use super::expect;
use super::pool::parts;
use crate::element::DType;
use crate::math;
use crate::normal;
use crate::ops::{EVERYWHERE, Op, OpInfo};
use crate::parameters::{self, Arguments};
use crate::program::{Arg, Checked, Fill, Launch, Outcome, Program, Source, blocks, cuda_source};

static SOURCE: Source = cuda_source!("ml/latent.cu");
const THREADS: u32 = 128;
/// The gradient of each divergence in the op.
const SCALE: f32 = 0.25;

/// The brick: codes of rows.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// Rows of a turn.
    pub batch: usize,
    /// Numbers of a code.
    pub code: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Stream of the noise.
    pub stream: u64,
}

/// Buffers of [`Codes`], of `f32`.
#[derive(Clone, Copy, Debug)]
pub struct Coded {
    /// What the encoder says of each row: `mu`, and behind that `v`.
    pub heads: usize,
    /// The noise.
    pub noise: usize,
    /// The codes.
    pub z: usize,
    /// The divergence of each row.
    pub divergences: usize,
}

impl Codes {
    /// The noise of row `b` of a turn.
    pub fn noise(&self, turn: u64, b: usize) -> Vec<f32> {
        let row = turn.wrapping_mul(self.batch as u64).wrapping_add(b as u64);
        let random = Philox::new(self.seed, self.stream);
        let places = 0..self.code as u64;
        places
            .map(|place| normal::of_row(random, row, place) as f32)
            .collect()
    }

    fn expect(&self, program: &Program, coded: Coded) {
        let n = self.batch * self.code;
        let buffers = [
            ("heads", coded.heads, DType::F32, 2 * n),
            ("noise", coded.noise, DType::F32, n),
            ("z", coded.z, DType::F32, n),
            ("divergences", coded.divergences, DType::F32, self.batch),
        ];
        expect(program, "codes", &buffers);
    }

    /// Adds noise, codes and divergences to a program; `turn` is one `u64`, which stays as it is.
    pub fn forward(self, program: &mut Program, turn: usize, coded: Coded) {
        self.expect(program, coded);
        expect(program, "codes", &[("turn", turn, DType::U64, 1)]);
        let code = self.code.max(1);
        let Coded {
            heads,
            noise,
            z,
            divergences,
        } = coded;
        program.step_on_cpu(move |team, buffers| {
            let [turn, heads, noise, z, divergences] =
                buffers.many([turn, heads, noise, z, divergences]);
            if self.code == 0 {
                // Of nothing nothing diverges.
                divergences.get_mut::<f32>().fill(0.0);
                return;
            }
            let (turn, heads) = (turn.get::<u64>()[0], heads.get::<f32>());
            let outputs = parts(team, noise.get_mut::<f32>(), code).into_iter();
            let outputs = outputs.zip(team.split_mut(z.get_mut::<f32>(), code));
            let outputs = outputs.zip(team.split_mut(divergences.get_mut::<f32>(), 1));
            team.each(outputs.collect(), |(((first, noise), z), divergences)| {
                let rows = noise.chunks_exact_mut(code).zip(z.chunks_exact_mut(code));
                let rows = rows.zip(divergences.iter_mut());
                for (b, ((noise, z), divergence)) in (*first..).zip(rows) {
                    noise.copy_from_slice(&self.noise(turn, b));
                    let (mu, v) = heads[2 * b * code..][..2 * code].split_at(code);
                    *divergence = 0.0;
                    for i in 0..code {
                        z[i] = mu[i] + math::exp(0.5 * v[i]) * noise[i];
                        let terms = mu[i] * mu[i] + math::exp(v[i]) - 1.0 - v[i];
                        *divergence += 0.5 * terms;
                    }
                }
            });
        });
        program.launch(
            Self::launch("codes", self.batch)
                .args([noise, z, divergences, heads, turn].map(Arg::Buffer))
                .args([self.batch, self.code].map(Arg::size))
                .args([self.seed, self.stream].map(Arg::U64)),
        );
    }

    fn launch(kernel: &str, threads: usize) -> Launch {
        let grid = blocks(threads, THREADS as usize, u32::MAX >> 1);
        Launch::new(&SOURCE, kernel, grid, THREADS)
    }

    /// Adds the gradient of what the encoder said, in `d_heads`, given that of the codes and, `scale`, that of each divergence.
    pub fn backward(
        self,
        program: &mut Program,
        coded: Coded,
        dz: usize,
        scale: f32,
        d_heads: usize,
    ) {
        let n = self.batch * self.code;
        self.expect(program, coded);
        let own = [
            ("dz", dz, DType::F32, n),
            ("d_heads", d_heads, DType::F32, 2 * n),
        ];
        expect(program, "codes", &own);
        let code = self.code.max(1);
        let Coded { heads, noise, .. } = coded;
        program.step_on_cpu(move |team, buffers| {
            let [heads, noise, dz, d_heads] = buffers.many([heads, noise, dz, d_heads]);
            let [heads, noise, dz] = [heads, noise, dz].map(|buffer| buffer.get::<f32>());
            let parts = parts(team, d_heads.get_mut::<f32>(), 2 * code);
            team.each(parts, |(first, d_heads)| {
                for (b, d) in (*first..).zip(d_heads.chunks_exact_mut(2 * code)) {
                    let (mu, v) = heads[2 * b * code..][..2 * code].split_at(code);
                    let (d_mu, d_v) = d.split_at_mut(code);
                    for i in 0..code {
                        let dz = dz[b * code + i];
                        let deviation = math::exp(0.5 * v[i]);
                        d_mu[i] = dz + scale * mu[i];
                        d_v[i] = 0.5 * dz * deviation * noise[b * code + i]
                            + 0.5 * scale * (math::exp(v[i]) - 1.0);
                    }
                }
            });
        });
        program.launch(
            Self::launch("codes_backward", n)
                .args([d_heads, heads, noise, dz].map(Arg::Buffer))
                .args([self.batch, self.code].map(Arg::size))
                .args([Arg::F32(scale)]),
        );
    }
}

/// The op: [`Codes::forward`], after which the turn is counted, or [`Codes::backward`].
#[derive(Clone, Copy, Debug)]
pub struct CodesOp;

const PASSES: [(&str, bool); 2] = [("forward", false), ("backward", true)];

impl Op for CodesOp {
    fn info(&self) -> OpInfo {
        let mut parameters: Vec<_> = ["batch", "code"].map(parameters::integer).into();
        parameters.push(parameters::choice("pass", &PASSES.map(|(name, _)| name)));
        OpInfo {
            name: "codes",
            summary: "codes drawn from normal distributions, their divergence, and its gradient, f32",
            parameters,
            devices: EVERYWHERE,
        }
    }

    fn program(&self, arguments: &Arguments) -> Result<Program, Failure> {
        let brick = Codes {
            batch: arguments.size("batch")?,
            code: arguments.size("code")?,
            seed: arguments.0.seed.0,
            stream: 1,
        };
        let n = parameters::size_product("`batch` and `code`", &[brick.batch, brick.code, 2])? / 2;
        let is_backward = arguments.choice("pass", &PASSES)?;
        let (bytes, flops) = if is_backward { (24, 10) } else { (16, 11) };
        let mut program = Program::new(Work {
            bytes: Some(parameters::product(
                "`batch` and `code`",
                &[bytes, n as u64],
            )?),
            flops: Some(parameters::product(
                "`batch` and `code`",
                &[flops, n as u64],
            )?),
            items: Some(brick.batch as u64),
            formula: format!("bytes = {bytes} n, flops = {flops} n, items = batch; n = batch code"),
        });
        let heads = program.input("heads", DType::F32, 2 * n, Fill::signed(0));
        if is_backward {
            let noise = program.input("noise", DType::F32, n, Fill::signed(1));
            let dz = program.input("dz", DType::F32, n, Fill::signed(2));
            let d_heads = program.output("d_heads", DType::F32, 2 * n);
            let coded = Coded {
                heads,
                noise,
                z: dz,
                divergences: program.scratch("divergences", DType::F32, brick.batch),
            };
            brick.backward(&mut program, coded, dz, SCALE, d_heads);
            program.check(move |outcome| check_backward(outcome, brick, coded, dz, d_heads));
        } else {
            let turn = program.in_out("turn", DType::U64, 1, Fill::Words { stream: 3 });
            let coded = Coded {
                heads,
                noise: program.output("noise", DType::F32, n),
                z: program.output("z", DType::F32, n),
                divergences: program.output("divergences", DType::F32, brick.batch),
            };
            brick.forward(&mut program, turn, coded);
            draw::count(&mut program, turn);
            program.check(move |outcome| check(outcome, brick, coded, turn));
        }
        Ok(program)
    }
}

/// The noise beside the host's; codes and divergences beside exact ones of the noise that was found.
fn check(outcome: &Outcome, brick: Codes, coded: Coded, turn: usize) -> Checked {
    let (last, is_counted) = draw::last_turn(outcome, turn);
    let code = brick.code;
    let [heads, noise] = [coded.heads, coded.noise].map(|buffer| outcome.get::<f32>(buffer));
    let of_noise = (0..brick.batch).flat_map(|b| brick.noise(last, b));
    let of_noise: Vec<f64> = of_noise.map(f64::from).collect();
    let head = |i: usize| {
        let at = i / code * 2 * code + i % code;
        [at, at + code].map(|at| f64::from(heads[at]))
    };
    let noise_found = bound::compare(noise, 2, "|noise - exact|, relative", |i| {
        (of_noise[i], of_noise[i].abs())
    });
    let z = bound::compare(
        outcome.get::<f32>(coded.z),
        EXP + 4,
        "|z - exact| beside the magnitudes of its terms",
        |i| {
            let [mu, v] = head(i);
            let spread = (0.5 * v).exp() * f64::from(noise[i]);
            (mu + spread, mu.abs() + spread.abs())
        },
    );
    let divergences = bound::compare(
        outcome.get::<f32>(coded.divergences),
        EXP + code as u64 + 6,
        "|divergence - exact| beside the magnitudes of its terms",
        |b| {
            let terms = (b * code..(b + 1) * code).map(|i| {
                let [mu, v] = head(i);
                let exact = 0.5 * (mu * mu + v.exp() - 1.0 - v);
                (exact, 0.5 * (mu * mu + v.exp() + 1.0 + v.abs()))
            });
            terms.fold((0.0, 0.0), |sum, term| (sum.0 + term.0, sum.1 + term.1))
        },
    );
    let worst = bound::worst([noise_found, z, divergences]);
    if is_counted {
        worst
    } else {
        Checked::exact(1, "turns that were not counted")
    }
}

fn check_backward(
    outcome: &Outcome,
    brick: Codes,
    coded: Coded,
    dz: usize,
    d_heads: usize,
) -> Checked {
    let [heads, noise, dz] = [coded.heads, coded.noise, dz].map(|b| outcome.get::<f32>(b));
    let code = brick.code;
    let scale = f64::from(SCALE);
    bound::compare(
        outcome.get::<f32>(d_heads),
        EXP + 7,
        "|gradient - exact| beside the magnitudes of its terms",
        |at| {
            let (row, place) = (at / (2 * code), at % (2 * code));
            let i = row * code + place % code;
            let dz = f64::from(dz[i]);
            if place < code {
                let other = scale * f64::from(heads[at]);
                return (dz + other, dz.abs() + other.abs());
            }
            let v = f64::from(heads[at]);
            let spread = 0.5 * dz * (0.5 * v).exp() * f64::from(noise[i]);
            let exact = spread + 0.5 * scale * (v.exp() - 1.0);
            (exact, spread.abs() + 0.5 * scale * (v.exp() + 1.0))
        },
    )
}
