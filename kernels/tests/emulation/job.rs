//! Jobs for a compiled program, as `kernels/emulation/serve.cpp` reads them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use assay_kernels::buffer::{Buffer, Buffers};
use assay_kernels::device::{Team, cuda};
use assay_kernels::program::{Arg, BufferSpec, Launch, Program, Step};

use super::compiled::Compiled;

/// The order in which threads of a block, and blocks, take turns.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Reverse,
    /// In another order each time.
    Shuffled,
}

/// A program that is running, and what is said to it.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Session {
    /// Starts a program.
    pub fn start(compiled: &Compiled) -> Self {
        let mut child = Command::new(&compiled.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program that starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self {
            child,
            input,
            output,
        }
    }

    /// Runs one iteration of a program on its buffers. `library` stands in for a library that it calls.
    pub fn run(
        &mut self,
        program: &Program,
        buffers: &mut Buffers,
        order: Order,
        library: impl Fn(&mut Buffers),
    ) -> Result<(), String> {
        let is_call = |step: &Step| matches!(step, Step::Library(_));
        for steps in program.cuda.split_inclusive(is_call) {
            let calls = steps.iter().filter(|step| is_call(step)).count();
            self.job(&steps[..steps.len() - calls], buffers, order)?;
            (0..calls).for_each(|_| library(buffers));
        }
        Ok(())
    }

    /// Fills a buffer as a device does, and compares it with what the host makes.
    pub fn check_fill(&mut self, team: &Team, spec: BufferSpec, seed: u64) {
        let launch = cuda::fill_launch(&spec, seed).expect("a kernel that fills");
        let mut filled = Buffers(vec![Buffer::zeroed(team, spec.dtype, spec.len).unwrap()]);
        self.job(&[Step::Launch(launch)], &mut filled, Order::Reverse)
            .unwrap();
        let mut program = Program::new(assay_protocol::Work::default());
        let (dtype, len) = (spec.dtype, spec.len);
        program.buffers.push(spec);
        let expected = program.host_buffers(team, seed).unwrap();
        assert_eq!(
            filled.0[0].bytes(),
            expected.0[0].bytes(),
            "{len} of {dtype}"
        );
    }

    fn job(&mut self, steps: &[Step], buffers: &mut Buffers, order: Order) -> Result<(), String> {
        let text = describe(steps, buffers, order);
        match self.exchange(&text, buffers) {
            Ok(()) => Ok(()),
            Err(error) => Err(format!("{error}; {}", self.last_words())),
        }
    }

    fn exchange(&mut self, text: &str, buffers: &mut Buffers) -> std::io::Result<()> {
        let Some(input) = &mut self.input else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        input.write_all(text.as_bytes())?;
        for buffer in &buffers.0 {
            input.write_all(buffer.bytes())?;
        }
        input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line != "done\n" {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        for buffer in &mut buffers.0 {
            self.output.read_exact(buffer.bytes_mut())?;
        }
        Ok(())
    }

    /// What the program said before it ended.
    fn last_words(&mut self) -> String {
        drop(self.input.take());
        let mut words = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut words);
        }
        words.chars().take(3000).collect()
    }
}

fn describe(steps: &[Step], buffers: &Buffers, order: Order) -> String {
    let order = match order {
        Order::Forward => "forward",
        Order::Reverse => "reverse",
        Order::Shuffled => "shuffled",
    };
    let launched = |step: &&Step| !matches!(step, Step::Launch(launch) if launch.grid.contains(&0));
    let steps: Vec<_> = steps.iter().filter(launched).collect();
    let mut text = format!("job {order} 1 {} {}\n", buffers.0.len(), steps.len());
    for buffer in &buffers.0 {
        let _ = writeln!(text, "buffer {}", buffer.bytes().len());
    }
    for step in steps {
        match step {
            Step::Launch(launch) => describe_launch(&mut text, launch),
            Step::Set { buffer, byte } => {
                let _ = writeln!(text, "set {buffer} {byte}");
            }
            Step::Copy { from, to } => {
                let _ = writeln!(text, "copy {from} {to}");
            }
            Step::Library(_) => unreachable!("libraries are not emulated"),
        }
    }
    text
}

fn describe_launch(text: &mut String, launch: &Launch) {
    let [gx, gy, gz] = launch.grid;
    let [bx, by, bz] = launch.block;
    let (shared, count, name) = (launch.shared_bytes, launch.args.len(), &launch.kernel);
    let _ = writeln!(
        text,
        "launch {gx} {gy} {gz} {bx} {by} {bz} {shared} {count} {name}"
    );
    for arg in &launch.args {
        let _ = match arg {
            Arg::Buffer(buffer) => writeln!(text, "buffer {buffer} 0"),
            Arg::BufferAt { buffer, byte } => writeln!(text, "buffer {buffer} {byte}"),
            Arg::U32(value) => writeln!(text, "u32 {value}"),
            Arg::I32(value) => writeln!(text, "i32 {value}"),
            Arg::U64(value) => writeln!(text, "u64 {value}"),
            Arg::F32(value) => writeln!(text, "f32 {:x}", value.to_bits()),
            Arg::F64(value) => writeln!(text, "f64 {:x}", value.to_bits()),
        };
    }
}
