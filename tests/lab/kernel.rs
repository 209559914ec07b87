//! `lab @kernel`: the trials that need a kernel with WireGuard. They are a list
//! of their own because such a kernel is had in a virtual machine only
//! (`tests/vm/`), and there nothing may be left out: what cannot run has failed.

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};

use crate::options::Options;
use crate::world::World;
use crate::{test_claim, test_kernel, test_peers, test_resume, test_walk};

/// First argument of this program.
pub(crate) const KERNEL: &str = "@kernel";

/// A trial in a world with the delays of Windows. Afterwards Windows must have
/// understood everything.
pub(crate) fn trial(name: &str, body: fn(&World) -> Result<()>) -> Trial {
    trial_with(name, Options::default(), body)
}

/// The same in a world made to order.
pub(crate) fn trial_with(name: &str, options: Options, body: fn(&World) -> Result<()>) -> Trial {
    let run = move || {
        let world = World::start(&options)?;
        body(&world)?;
        world.windows().check()
    };
    Trial::test(name, move || {
        run().map_err(|error| format!("{error:#}").into())
    })
}

/// Runs what the arguments after [`KERNEL`] select, one at a time: the figures
/// are about a machine that has nothing else to do.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let name = "lab".to_owned();
    let mut arguments = Arguments::from_iter(std::iter::once(&name).chain(arguments));
    arguments.test_threads.get_or_insert(1);
    let mut trials = test_kernel::trials();
    trials.extend(test_claim::kernel_trials());
    trials.extend(test_resume::kernel_trials());
    trials.extend(test_peers::kernel_trials());
    let walk = test_walk::with_wireguard;
    trials.push(trial_with("walk::kernel", Options::quick(), walk));
    libtest_mimic::run(&arguments, trials).exit_code()
}
