//! The simulated Windows as a test sees and changes it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::contract::{LowestMtu, Policy, Rule};
use crate::control::{Change, Reply, Request, View};
use crate::double::machine::{FirewallRule, Machine, Task};
use crate::double::relay::RelayRun;
use crate::double::situation::Situation;
use crate::fault::Fault;
use crate::interop::Call;
use crate::snapshot::Snapshot;
use crate::world::{TIMEOUT, World, until};

/// Got by [`World::windows`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows<'w> {
    world: &'w World,
}

impl<'w> Windows<'w> {
    /// For [`World::windows`].
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world }
    }

    /// Everything at one moment.
    pub(crate) fn view(&self) -> Result<View> {
        let Reply::Host(view) = self.world.ask(&Request::Host)? else {
            bail!("the world gave another answer")
        };
        Ok(*view)
    }

    /// All portproxy rules, ours and others', sorted.
    pub(crate) fn table(&self) -> Result<Vec<Rule>> {
        Ok(self.view()?.table)
    }

    /// The rules noted as ours, sorted.
    pub(crate) fn ledger(&self) -> Result<Vec<Rule>> {
        Ok(self.view()?.ledger)
    }

    /// Where the port proxy really listens, sorted.
    pub(crate) fn listening(&self) -> Result<Vec<SocketAddrV4>> {
        Ok(self.view()?.listening)
    }

    /// Every start of powershell.exe so far.
    pub(crate) fn calls(&self) -> Result<Vec<Call>> {
        Ok(self.view()?.calls)
    }

    /// Waits until start number `number` of powershell.exe, from 1, has read its
    /// request, and returns that.
    pub(crate) fn request(&self, number: usize) -> Result<String> {
        until(&format!("request {number}"), TIMEOUT, || {
            let request = self.calls()?.into_iter().nth(number - 1);
            let request = request.map(|call| call.request);
            Ok(request.filter(|request| !request.is_empty()))
        })
    }

    /// Waits until Windows notices that the last caller has ended.
    pub(crate) fn caller_ended(&self) -> Result<()> {
        until("the end of the call", TIMEOUT, || {
            let last = self.calls()?.pop();
            Ok(last.filter(|call| call.outcome == "caller ended").map(drop))
        })
    }

    /// Everything that was not understood so far.
    pub(crate) fn violations(&self) -> Result<Vec<String>> {
        Ok(self.view()?.violations)
    }

    /// Fails when something was not understood. The runner does this after
    /// every trial.
    pub(crate) fn check(&self) -> Result<()> {
        let violations = self.violations()?;
        ensure!(
            violations.is_empty(),
            "Windows did not understand: {violations:#?}"
        );
        Ok(())
    }

    fn change(&self, change: Change) -> Result<()> {
        self.world.ask(&Request::Change(change)).map(drop)
    }

    /// Fails in this way from now on, instead of the way set before.
    pub(crate) fn set_fault(&self, fault: Fault) -> Result<()> {
        self.change(Change::Fault(Some(fault)))
    }

    /// Works again.
    pub(crate) fn clear_fault(&self) -> Result<()> {
        self.change(Change::Fault(None))
    }

    /// Changes the circumstances.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Situation)) -> Result<()> {
        let mut situation = self.view()?.situation;
        change(&mut situation);
        self.change(Change::Situation(Box::new(situation)))
    }

    /// Whether powershell.exe runs elevated. At first it does.
    pub(crate) fn set_elevated(&self, yes: bool) -> Result<()> {
        self.set(|situation| situation.elevated = yes)
    }

    /// Whether iphlpsvc runs. At first it does; stopped, it listens nowhere.
    pub(crate) fn set_service_running(&self, yes: bool) -> Result<()> {
        self.set(|situation| situation.service = yes)
    }

    /// As after `wslmesh host install`: this policy for the user, who is
    /// not elevated.
    pub(crate) fn install(&self, policy: &Policy) -> Result<()> {
        let user = self.view()?.situation.user;
        self.change(Change::Install(user, policy.clone()))?;
        self.set_elevated(false)
    }

    /// Changes what Windows keeps, as another program would.
    pub(crate) fn alter(&self, change: impl FnOnce(&mut Machine)) -> Result<()> {
        let mut machine = self.view()?.machine;
        change(&mut machine);
        self.change(Change::Machine(Box::new(machine)))
    }

    /// Makes or deletes a firewall rule as another program would.
    pub(crate) fn put_firewall(&self, name: &str, rule: Option<FirewallRule>) -> Result<()> {
        self.change(Change::Firewall(name.to_owned(), rule))
    }

    /// Edits or deletes a task.
    pub(crate) fn put_task(&self, name: &str, task: Option<Task>) -> Result<()> {
        self.change(Change::Task(name.to_owned(), task))
    }

    /// Starts the user's task as any program of the user's may, and waits for
    /// its end.
    pub(crate) fn run_task(&self) -> Result<()> {
        let user = self.view()?.situation.user;
        self.change(Change::RunTask(user))
    }

    /// The relay ends with this code whenever it is started, or runs again.
    pub(crate) fn set_relay_crashes(&self, code: Option<u8>) -> Result<()> {
        self.change(Change::RelayCrashes(code))
    }

    /// The relay says this whenever it is started, and then nothing until its
    /// caller has ended; or it runs again.
    pub(crate) fn set_relay_says(&self, text: Option<&str>) -> Result<()> {
        self.change(Change::RelaySays(text.map(str::to_owned)))
    }

    /// After that it says this line without end; `#` is a number from 1 to 60,000.
    pub(crate) fn set_relay_repeats(&self, line: Option<&str>) -> Result<()> {
        self.change(Change::RelayRepeats(line.map(str::to_owned)))
    }

    /// Every start of the relay so far.
    pub(crate) fn relays(&self) -> Result<Vec<RelayRun>> {
        Ok(self.view()?.relays)
    }

    /// The relay that runs.
    pub(crate) fn relay(&self) -> Result<Option<RelayRun>> {
        let last = self.relays()?.pop();
        Ok(last.filter(|run| run.outcome.is_none() && run.pid != 0))
    }

    /// Everything that Windows keeps at this moment, files included.
    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(self.world)
    }

    /// Makes or overwrites a rule as another program would; `target` is what
    /// the registry holds: `address/port`, or what other tools write there.
    pub(crate) fn put_foreign(&self, listen: SocketAddrV4, target: &str) -> Result<()> {
        self.change(Change::Put(
            ((*listen.ip()).into(), listen.port()),
            target.to_owned(),
        ))
    }

    /// Deletes a rule as another program would.
    pub(crate) fn delete(&self, listen: SocketAddrV4) -> Result<()> {
        self.change(Change::Delete(((*listen.ip()).into(), listen.port())))
    }

    /// Windows' address as it answers it. 192.168.50.10 at first.
    pub(crate) fn set_address(&self, address: Option<Ipv4Addr>) -> Result<()> {
        self.set(|situation| situation.windows_address = address)
    }

    /// The interface with the lowest MTU as it answers it. None at first.
    pub(crate) fn set_lowest_mtu(&self, lowest: Option<(&str, u32)>) -> Result<()> {
        let lowest = lowest.map(|(name, mtu)| LowestMtu {
            name: name.to_owned(),
            mtu,
        });
        self.set(|situation| situation.lowest_mtu = lowest)
    }

    /// How long powershell.exe takes to start.
    pub(crate) fn set_start_up(&self, delay: Duration) -> Result<()> {
        self.change(Change::StartUp(u64::try_from(delay.as_millis())?))
    }

    /// What `wslinfo --networking-mode` prints.
    pub(crate) fn set_networking_mode(&self, mode: &str) -> Result<()> {
        self.change(Change::Mode(mode.to_owned()))
    }

    /// Forgets the violations a trial has provoked on purpose, and returns them.
    pub(crate) fn take_violations(&self) -> Result<Vec<String>> {
        let violations = self.violations()?;
        self.change(Change::ForgiveViolations)?;
        Ok(violations)
    }
}
