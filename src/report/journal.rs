//! Where log lines go: fields to the journal when systemd runs the agent,
//! readable lines to standard error otherwise.

use std::{env, fmt, fs::File, io, os::fd::AsFd};

use tracing::{Event, Level, Subscriber, field::Visit};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Starts logging for the process. `$WSLMESH_LOG` sets the level: error, warn,
/// info (the default), debug or trace.
///
/// In the journal each field carries the prefix WSLMESH_, such as
/// WSLMESH_EVENT or WSLMESH_ADDRESS_NEW.
pub fn start() {
    let level = env::var("WSLMESH_LOG")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(Level::INFO);
    // The decoder complains about attributes of kernels newer than itself.
    let filter = Targets::new()
        .with_target("wslmesh", level)
        .with_default(Level::ERROR);
    let registry = tracing_subscriber::registry().with(filter);
    let journal = if under_journal() {
        tracing_journald::layer().ok()
    } else {
        None
    };
    // Only a second start in one process fails, and then the first one serves.
    match journal {
        Some(journal) => registry
            .with(
                journal
                    .with_field_prefix(Some("WSLMESH".to_owned()))
                    .with_syslog_identifier("wslmesh".to_owned()),
            )
            .try_init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .event_format(Readable),
            )
            .try_init(),
    }
    .unwrap_or_default();
}

/// `$JOURNAL_STREAM` names device and inode of the journal's stream; it counts
/// only when standard error really is that stream (systemd.exec(5)).
fn under_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned().map(File::from) else {
        return false;
    };
    rustix::fs::fstat(&stderr)
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The message alone: it is a whole sentence, and the fields only repeat its
/// parts for machines. With the priority as systemd reads it from a stream.
struct Readable;

impl<S, N> FormatEvent<S, N> for Readable
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut message = Message(String::new());
        event.record(&mut message);
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        writeln!(writer, "wslmesh: {level}{}", message.0)
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
