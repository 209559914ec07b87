//! What the measured sizes mean.

use super::{Ended, Loser, Measured, Target, overhead};
use crate::{
    doctor::verdict::{Verdict, all, error, ok, skipped, warning},
    model::InterfaceName,
};

/// Least MTU that IPv6 works with (RFC 8200, section 5).
const IPV6_LEAST: u32 = 1280;

/// One way, and what was measured on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The interface by which it begins.
    pub interface: InterfaceName,
    /// That interface's MTU.
    pub mtu: u32,
    /// The result; `None` where nothing answered.
    pub measured: Option<Measured>,
}

/// All that was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathReport {
    /// Where the probes went.
    pub target: Target,
    /// Through the tunnel.
    pub tunnel: Side,
    /// To the peer's endpoint; `None` where that is not known.
    pub underlay: Option<Side>,
    /// Name and MTU of the Windows adapter with the lowest MTU.
    pub adapter: Option<(String, u32)>,
}

impl PathReport {
    /// What must pass below the tunnel so that its packets stay whole.
    #[must_use]
    pub fn needed(&self) -> Option<u32> {
        let endpoint = self.target.peer.as_ref()?.endpoint.ip();
        Some(self.tunnel.mtu.saturating_add(overhead(endpoint)))
    }

    /// Whether the tunnel's packets fit; `None` where that could not be measured.
    #[must_use]
    pub fn fits(&self) -> Option<bool> {
        let through = self
            .tunnel
            .measured
            .map(|found| found.passes >= self.tunnel.mtu);
        let below = self.below().map(|(found, needed)| found.passes >= needed);
        match (through, below) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, None) => None,
            _ => Some(true),
        }
    }

    fn below(&self) -> Option<(Measured, u32)> {
        let underlay = self.underlay.as_ref()?;
        Some((underlay.measured?, self.needed()?))
    }
}

/// Who loses packets, as the end of a sentence.
#[must_use]
pub fn lost_by(loser: Loser) -> String {
    match loser {
        Loser::Says(hop, 0) => format!("{hop} says that they are too big"),
        Loser::Says(hop, mtu) => format!("{hop} passes {mtu} bytes on and says so"),
        Loser::Beyond(Some(hop), next) => {
            let next = next.map_or_else(String::new, |next| format!(" and before {next}"));
            format!("a black hole beyond {hop}{next}")
        }
        Loser::Beyond(None, Some(next)) => format!("a black hole before {next}, the first hop"),
        Loser::Beyond(None, None) => "a black hole before the first hop that answers".to_owned(),
    }
}

/// The verdict: a finding is one with the fix; none is measured where nothing answers.
#[must_use]
pub fn judge(report: &PathReport) -> Verdict {
    let name = &report.tunnel.interface;
    let mtu = report.tunnel.mtu;
    match report.fits() {
        None => {
            let asked = report.underlay.as_ref().and(report.target.peer.as_ref());
            let endpoint =
                asked.map_or_else(String::new, |peer| format!(" nor {}", peer.endpoint.ip()));
            skipped(format!(
                "neither {}{endpoint} nor a router before it answers: the path cannot be measured from here; check the handshake (`sudo wg show`), or give another address behind the peer",
                report.target.destination
            ))
        }
        Some(true) => ok(fine(report)),
        Some(false) => {
            let below = report
                .below()
                .filter(|(found, needed)| found.passes < *needed);
            match below {
                Some((found, needed)) => too_small(report, found, needed),
                None => {
                    let found = report.tunnel.measured;
                    let passes = found.map_or(0, |found| found.passes);
                    let lost = found.and_then(|found| found.loser).map(lost_by);
                    let lost = lost.map_or_else(String::new, |lost| format!(" ({lost})"));
                    let detail = format!(
                        "{name} has MTU {mtu}, and packets of more than {passes} bytes are lost in it or behind it{lost}"
                    );
                    all([error(detail).fix(set(passes))], "")
                }
            }
        }
    }
}

fn fine(report: &PathReport) -> String {
    let (name, mtu) = (&report.tunnel.interface, report.tunnel.mtu);
    let not = |side: &str| format!("; {side} nothing answers, so that is not proven");
    let through = match report.tunnel.measured {
        Some(_) => String::new(),
        None => not("through the tunnel"),
    };
    match (report.below(), &report.underlay) {
        (Some((found, needed)), _) => {
            let whom = match found.ended {
                Ended::Target => String::new(),
                Ended::Hop(hop) => format!(" as far as {hop}"),
            };
            format!(
                "MTU {mtu} of {name} fits: it needs {needed} below, and {} pass{whom}{through}",
                found.passes
            )
        }
        (None, Some(_)) => format!("MTU {mtu} of {name} fits{}", not("below it")),
        (None, None) => format!(
            "MTU {mtu} of {name} fits; its endpoint is not known, so what is below was not measured"
        ),
    }
}

/// The underlay carries less than the tunnel needs.
fn too_small(report: &PathReport, found: Measured, needed: u32) -> Verdict {
    let (name, mtu) = (&report.tunnel.interface, report.tunnel.mtu);
    let whole = report
        .tunnel
        .measured
        .is_some_and(|found| found.passes >= mtu);
    let fate = match whole {
        true => "travel in fragments, which many networks drop",
        false => "are lost",
    };
    let most = found.passes.saturating_sub(needed - mtu);
    let begin = format!(
        "{name} has MTU {mtu} and needs {needed} below, where {} pass: packets of more than {most} bytes {fate}",
        found.passes
    );
    let verdict = if whole { warning } else { error };
    let carrier = report.underlay.as_ref();
    let fix = match (carrier, found.loser) {
        // Nothing was lost: this machine's own interface is the narrow one.
        (Some(carrier), None) if found.lost.is_none() => {
            let (below, has) = (&carrier.interface, carrier.mtu);
            let adapter = report.adapter.as_ref().filter(|(_, lowest)| *lowest <= has);
            let cause = adapter.map_or_else(String::new, |(adapter, lowest)| {
                format!("; the Windows adapter {adapter:?} has MTU {lowest}, which WSL copies")
            });
            let detail = format!("{begin}; {below} has MTU {has}{cause}");
            return verdict(detail).fix(format!(
                "Run `sudo wslmesh doctor --fix`, which raises {below} where [mtu] underlay allows it; else {}",
                lower_first(&set(most))
            ));
        }
        (_, Some(loser)) => {
            let who = lost_by(loser);
            return verdict(format!("{begin}; {who}")).fix(set(most));
        }
        _ => set(most),
    };
    verdict(begin).fix(fix)
}

/// The advice to make the tunnel smaller.
fn set(most: u32) -> String {
    let ipv6 = match most < IPV6_LEAST {
        true => " (IPv6 in the tunnel needs 1280; for it make the path wider)",
        false => "",
    };
    format!(
        "Set value = {most} in the section [mtu] of /etc/wslmesh/wslmesh.toml, the same MTU at the peer, and run `sudo systemctl reload wslmesh`{ipv6}"
    )
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests;
