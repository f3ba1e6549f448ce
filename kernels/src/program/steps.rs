//! What is made of several ops: steps that are taken out of a program and run again and again, on either kind of device, each with
//! the family of ops that it belongs to.

use super::{CpuStep, Program, Step};
use crate::buffer::Buffers;
use crate::device::Team;

/// Steps of a program, for either kind of device.
#[derive(Default)]
pub struct Steps {
    /// On the host, in order, each with its family.
    pub host: Vec<(&'static str, CpuStep)>,
    /// On a CUDA device.
    pub cuda: Vec<(&'static str, Step)>,
}

impl Program {
    /// What steps that are added from here on belong to: what is made of many ops says so, to know where its time goes.
    pub fn belongs_to(&mut self, family: &'static str) {
        self.families.push((self.cuda.len(), family));
    }

    /// The family that steps are added to.
    fn family(&self) -> &'static str {
        self.families.last().map_or("", |(_, family)| family)
    }

    /// Adds a step to the implementation for the host, which then is all steps in their order. So what is made of
    /// several ops is put together: each adds its steps for the host and its launches.
    pub fn step_on_cpu(&mut self, step: impl FnMut(&Team, &mut Buffers) + 'static) {
        self.cpu_steps.push((self.family(), Box::new(step)));
    }

    /// Takes all steps out of it, for either kind of device.
    pub fn take_steps(&mut self) -> Steps {
        let families = std::mem::take(&mut self.families);
        let mut next = families.into_iter().peekable();
        let mut family = "";
        let steps = std::mem::take(&mut self.cuda).into_iter().enumerate();
        let of_family = |(index, step)| {
            while let Some((_, begun)) = next.next_if(|(first, _)| *first <= index) {
                family = begun;
            }
            (family, step)
        };
        Steps {
            cuda: steps.map(of_family).collect(),
            host: std::mem::take(&mut self.cpu_steps),
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::Work;

    use super::Program;
    use crate::program::Step;

    #[test]
    fn steps_of_either_device_have_their_families() {
        let mut program = Program::new(Work::default());
        let mut add = |family, steps: u8| {
            program.belongs_to(family);
            for byte in 0..steps {
                program.step_on_cpu(|_, _| {});
                program.cuda.push(Step::Set { buffer: 0, byte });
            }
        };
        add("a", 2);
        add("nothing", 0);
        add("b", 1);
        add("a", 1);
        program.step_on_cpu(|_, _| {});
        let steps = program.take_steps();
        let names = |families: Vec<&'static str>| families.join(" ");
        let of_host = steps.host.iter().map(|(family, _)| *family).collect();
        let of_cuda = steps.cuda.iter().map(|(family, _)| *family).collect();
        assert_eq!(names(of_host), "a a b a a");
        assert_eq!(names(of_cuda), "a a b a");
        let nothing = program.take_steps();
        assert!(nothing.host.is_empty() && nothing.cuda.is_empty());
    }
}
