use std::io::ErrorKind;
use std::sync::mpsc::Receiver;

use tokio::runtime::Builder;

use super::*;

/// An output that takes a line for each message.
struct Reader(Receiver<()>);

impl Write for Reader {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn full_queue_is_writable_once_there_is_room_for_a_line() {
    let (read, reads) = channel();
    let writer = EventWriter::start(Reader(reads)).unwrap();
    let event = Event::Invalid {
        line: 1,
        reason: "x".repeat(1000),
    };
    while writer.try_send(&event) {}
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // Once with no time to wait, then with a deadline.
        timeout(Duration::ZERO, writer.writable())
            .await
            .unwrap_err();
        assert!(writer.is_full());
        read.send(()).unwrap();
        timeout(Duration::from_secs(30), writer.writable())
            .await
            .unwrap();
    });
    assert!(!writer.is_full());
    assert!(writer.try_send(&event));
    assert!(!writer.try_send(&event));
}
