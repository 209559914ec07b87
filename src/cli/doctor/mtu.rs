//! `wslmesh doctor mtu PEER`

use serde::Serialize;

use super::{MARGIN, below, row};
use crate::{
    cli::{
        output::{Exit, print, print_error, print_json},
        table::{WIDTH, hanging, wrap},
    },
    config::Source,
    doctor::{Ended, Measured, PathReport, Side, Verdict, judge, lost_by, measure_path},
    model::HealthEntry,
    paths::Paths,
};

/// Version of the JSON document.
const VERSION: u32 = 1;
/// The id of its finding.
const ID: &str = "path-mtu";
/// Columns of the words before the sizes.
const WORDS: usize = 10;

/// Measures the path to a peer and prints it.
pub(super) async fn measure(
    peer: &str,
    json: bool,
    source: &Source,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    let report = measure_path(source, paths, peer).await?;
    let verdict = judge(&report);
    if json {
        print_json(&document(&report, &verdict))?;
    } else {
        print(&page(&report, &verdict).join("\n"))?;
    }
    Ok(match &verdict {
        Verdict::Skipped(reason) => {
            print_error(&anyhow::anyhow!("{reason}"));
            Exit::Failed
        }
        verdict => Exit::unless(verdict.is_bad()),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    version: u32,
    /// The address that was measured.
    destination: String,
    peer: Option<PeerEntry>,
    tunnel: SideEntry,
    underlay: Option<SideEntry>,
    /// Bytes that must pass below the tunnel.
    needed: Option<u32>,
    /// Whether the tunnel's packets fit; nothing where that could not be measured.
    fits: Option<bool>,
    windows_adapter: Option<Adapter>,
    verdict: String,
    detail: String,
    findings: Vec<HealthEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PeerEntry {
    device: String,
    public_key: String,
    endpoint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Adapter {
    name: String,
    mtu: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SideEntry {
    interface: String,
    mtu: u32,
    /// The largest size that passed; nothing where nothing answered.
    passes: Option<u32>,
    /// The least size that is lost; nothing where all sizes of the interface pass.
    lost: Option<u32>,
    /// Who answered: the target, or the last router that does.
    answered: Option<String>,
    /// Who loses bigger packets, in words.
    lost_by: Option<String>,
}

fn document(report: &PathReport, verdict: &Verdict) -> Document {
    let target = &report.target;
    let side = |side: &Side, of: std::net::IpAddr| {
        let measured = side.measured;
        let answered = measured.map(|found| match found.ended {
            Ended::Target => of.to_string(),
            Ended::Hop(hop) => hop.to_string(),
        });
        SideEntry {
            interface: side.interface.to_string(),
            mtu: side.mtu,
            passes: measured.map(|found| found.passes),
            lost: measured.and_then(|found| found.lost),
            answered,
            lost_by: measured.and_then(|found| found.loser).map(lost_by),
        }
    };
    let mut findings = verdict.findings().to_vec();
    for finding in &mut findings {
        ID.clone_into(&mut finding.code);
    }
    let endpoint = target.peer.as_ref().map(|peer| peer.endpoint.ip());
    let underlay = report.underlay.as_ref().zip(endpoint);
    Document {
        version: VERSION,
        destination: target.destination.to_string(),
        peer: target.peer.as_ref().map(|peer| PeerEntry {
            device: peer.device.to_string(),
            public_key: peer.key.base64(),
            endpoint: peer.endpoint.to_string(),
        }),
        tunnel: side(&report.tunnel, target.destination),
        underlay: underlay.map(|(below, endpoint)| side(below, endpoint)),
        needed: report.needed(),
        fits: report.fits(),
        windows_adapter: report
            .adapter
            .clone()
            .map(|(name, mtu)| Adapter { name, mtu }),
        verdict: verdict.name(),
        detail: verdict.detail(),
        findings,
    }
}

fn page(report: &PathReport, verdict: &Verdict) -> Vec<String> {
    let target = &report.target;
    let name = &report.tunnel.interface;
    let mut lines = vec![match &target.peer {
        Some(peer) => format!(
            "{} through {name} (peer {}, endpoint {})",
            target.destination, peer.key, peer.endpoint
        ),
        None => format!("{} through {name}", target.destination),
    }];
    let mut say = |word: &str, text: &str| {
        let head = format!("{:MARGIN$}{word:<WORDS$}", "");
        lines.extend(hanging(&head, wrap(text, WIDTH - MARGIN - WORDS)));
    };
    say("tunnel", &sizes(&report.tunnel));
    match &report.underlay {
        Some(side) => say("underlay", &sizes(side)),
        None => say("underlay", "not measured: the peer's endpoint is not known"),
    }
    if let Some(needed) = report.needed() {
        let text = format!(
            "{needed} bytes below {name} with its MTU {}",
            report.tunnel.mtu
        );
        say("needed", &text);
    }
    if let Some((adapter, mtu)) = &report.adapter {
        say(
            "Windows",
            &format!("the adapter {adapter:?} has the lowest MTU, {mtu}"),
        );
    }
    lines.push(String::new());
    match verdict {
        Verdict::Ok(detail) => lines.extend(row("ok", ID, detail)),
        Verdict::Skipped(_) => lines.push("nothing was measured".to_owned()),
        Verdict::Found(findings) => {
            for finding in findings {
                lines.extend(row(&finding.severity.to_string(), ID, &finding.detail));
                lines.extend(below("fix", &finding.remediation));
            }
        }
    }
    lines
}

/// What passes on one side.
fn sizes(side: &Side) -> String {
    let (interface, mtu) = (&side.interface, side.mtu);
    let Some(found) = side.measured else {
        return format!("nothing answers ({interface} has MTU {mtu})");
    };
    let Measured {
        passes,
        lost,
        ended,
        loser,
    } = found;
    let whom = match ended {
        Ended::Target => String::new(),
        Ended::Hop(hop) => format!(" as far as {hop}, the last that answers"),
    };
    let passed = format!("{passes} bytes pass{whom}");
    match (lost, loser) {
        (None, _) => format!("{passed}: all that {interface} sends (MTU {mtu})"),
        (Some(lost), Some(loser)) => format!("{passed}, {lost} are lost: {}", lost_by(loser)),
        (Some(lost), None) => format!("{passed}, {lost} are lost"),
    }
}

#[cfg(test)]
mod tests;
