use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    time::Duration,
};

use tokio::time::timeout;
use wslmesh_relay::link::ToSwitch;

use super::*;

/// A pump whose device is a socket of datagrams: packets go in and come out whole.
fn pump() -> (Pump, Messages, UnixDatagram, UnixStream) {
    let (device, kernel) = UnixDatagram::pair().unwrap();
    device.set_nonblocking(true).unwrap();
    let (ours, switch) = UnixStream::pair().unwrap();
    let device = Arc::new(File::from(OwnedFd::from(device)));
    let from = File::from(OwnedFd::from(ours.try_clone().unwrap()));
    let to = File::from(OwnedFd::from(ours));
    let started = Pump::start(&device, from, to, Frames::default());
    let (pump, messages) = started.unwrap();
    (pump, messages, kernel, switch)
}

fn next_frame(switch: &mut UnixStream, frames: &mut Frames) -> Result<Vec<u8>, ToSwitch> {
    loop {
        match frames.next_frame().unwrap() {
            Some(Frame::Packet(packet)) => return Ok(packet.to_vec()),
            Some(Frame::Control(body)) => return Err(link::message(body).unwrap()),
            None => {}
        }
        let read = switch.read(frames.space()).unwrap();
        assert!(read > 0, "the link was closed");
        frames.filled(read);
    }
}

#[tokio::test]
async fn packets_and_messages_pass_in_both_directions() {
    let (pump, mut messages, kernel, mut switch) = pump();
    let mut frames = Frames::default();
    kernel.send(&[1; 60]).unwrap();
    assert_eq!(next_frame(&mut switch, &mut frames), Ok(vec![1; 60]));
    timeout(Duration::from_secs(5), pump.sent_after(Traffic::default()))
        .await
        .unwrap();
    pump.send(&ToSwitch::Ping { id: 7 });
    let ping = next_frame(&mut switch, &mut frames);
    assert_eq!(ping, Err(ToSwitch::Ping { id: 7 }));

    let mut out = Vec::new();
    link::put_packet(&mut out, &[2; 70]);
    link::put_message(&mut out, &FromSwitch::Pong { id: 7 });
    switch.write_all(&out).unwrap();
    let mut packet = [0; 100];
    assert_eq!(kernel.recv(&mut packet).unwrap(), 70);
    let message = messages.next().await.unwrap();
    assert_eq!(message, FromSwitch::Pong { id: 7 });
    assert!(pump.traffic().heard > 0);
    drop(switch);
    let fault = messages.next().await.err().unwrap();
    assert!(matches!(fault, Fault::Closed), "{fault}");
    pump.join();
}

#[tokio::test]
async fn garbage_ends_it() {
    let (pump, mut messages, _kernel, mut switch) = pump();
    switch.write_all(b"{\"event\":\"ready\"}\n").unwrap();
    let fault = messages.next().await.err().unwrap();
    assert!(matches!(fault, Fault::Link(_)), "{fault}");
    drop(switch);
    pump.join();
}

#[tokio::test]
async fn flood_of_messages_ends_it() {
    let (pump, mut messages, _kernel, mut switch) = pump();
    let mut out = Vec::new();
    for id in 0..1000 {
        link::put_message(&mut out, &FromSwitch::Pong { id });
    }
    switch.write_all(&out).unwrap();
    let fault = loop {
        // It would read them otherwise.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if lock(&pump.shared.fault).is_some() {
            while messages.received.try_recv().is_ok() {}
            break messages.next().await.err().unwrap();
        }
    };
    assert!(matches!(fault, Fault::Flood), "{fault}");
    drop(switch);
    pump.join();
}

/// Each direction goes on while the other one's output is full.
#[tokio::test]
async fn reads_while_its_output_is_full() {
    let (pump, _messages, kernel, mut switch) = pump();
    kernel
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // Until the socket to the switch is full and the device's queue behind it.
    while kernel.send(&[3; 60_000]).is_ok() {}
    let mut out = Vec::new();
    link::put_packet(&mut out, &[4; 80]);
    switch.write_all(&out).unwrap();
    let mut packet = [0; 100];
    assert_eq!(kernel.recv(&mut packet).unwrap(), 80);
    drop(switch);
    pump.join();
}

/// A pump of which packets to the switch have moved.
struct Moved {
    pump: Pump,
    messages: Messages,
    kernel: UnixDatagram,
    /// Both ways as the switch has them.
    switch: UnixStream,
    second: UnixStream,
}

fn moved() -> Moved {
    let (mut pump, messages, kernel, mut switch) = pump();
    let (ours, second) = UnixStream::pair().unwrap();
    let mut frames = Frames::default();
    kernel.send(&[1; 60]).unwrap();
    assert_eq!(next_frame(&mut switch, &mut frames), Ok(vec![1; 60]));
    pump.leave(ours.into()).unwrap();
    let end = next_frame(&mut switch, &mut frames);
    assert_eq!(end, Err(ToSwitch::Moved));
    Moved {
        pump,
        messages,
        kernel,
        switch,
        second,
    }
}

fn packet(fill: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    link::put_packet(&mut frame, &[fill; 70]);
    frame
}

fn said(message: &FromSwitch) -> Vec<u8> {
    let mut frame = Vec::new();
    link::put_message(&mut frame, message);
    frame
}

#[tokio::test]
async fn packets_move_in_order_and_messages_stay() {
    let Moved {
        mut pump,
        mut messages,
        kernel,
        mut switch,
        mut second,
    } = moved();
    let (mut frames, mut packets) = (Frames::default(), Frames::default());
    for fill in 2..10 {
        kernel.send(&[fill; 60]).unwrap();
    }
    pump.send(&ToSwitch::Ping { id: 1 });
    for fill in 2..10 {
        let next = next_frame(&mut second, &mut packets);
        assert_eq!(next, Ok(vec![fill; 60]));
    }
    let ping = next_frame(&mut switch, &mut frames);
    assert_eq!(ping, Err(ToSwitch::Ping { id: 1 }));

    // The second way may be quicker than the first.
    second.write_all(&[packet(3), packet(4)].concat()).unwrap();
    let first = [packet(1), packet(2), said(&FromSwitch::Moved)].concat();
    switch.write_all(&first).unwrap();
    assert_eq!(messages.next().await.unwrap(), FromSwitch::Moved);
    pump.arrive().unwrap();
    let mut got = [0; 100];
    for fill in 1..5 {
        assert_eq!(kernel.recv(&mut got).unwrap(), 70);
        assert_eq!(got[0], fill);
    }
    switch
        .write_all(&said(&FromSwitch::Pong { id: 1 }))
        .unwrap();
    let pong = messages.next().await.unwrap();
    assert_eq!(pong, FromSwitch::Pong { id: 1 });
    // It ends whatever the other end of the second way does.
    drop(switch);
    let fault = messages.next().await.err().unwrap();
    assert!(matches!(fault, Fault::Closed), "{fault}");
    pump.join();
    assert_eq!(second.read(&mut got).unwrap(), 0);
}

#[tokio::test]
async fn what_is_out_of_place_ends_it() {
    type Break = fn(&mut UnixStream, &mut UnixStream);
    type Is = fn(&Fault) -> bool;
    let cases: [(&str, Break, Is); 4] = [
        (
            "a packet behind the end",
            |first, _| first.write_all(&packet(1)).unwrap(),
            |fault| matches!(fault, Fault::Link(LinkError::Misplaced(_))),
        ),
        (
            "a message among packets",
            |_, second| second.write_all(&said(&FromSwitch::Moved)).unwrap(),
            |fault| matches!(fault, Fault::Link(LinkError::Misplaced(_))),
        ),
        (
            "no frame",
            |_, second| second.write_all(&[0; 8]).unwrap(),
            |fault| matches!(fault, Fault::Link(LinkError::Packet(0))),
        ),
        (
            "the second way's end",
            |_, second| second.shutdown(std::net::Shutdown::Both).unwrap(),
            |fault| matches!(fault, Fault::SecondWay),
        ),
    ];
    for (what, breaks, expected) in cases {
        let Moved {
            mut pump,
            mut messages,
            kernel: _kernel,
            mut switch,
            mut second,
        } = moved();
        switch.write_all(&said(&FromSwitch::Moved)).unwrap();
        assert_eq!(messages.next().await.unwrap(), FromSwitch::Moved);
        pump.arrive().unwrap();
        breaks(&mut switch, &mut second);
        let fault = timeout(Duration::from_secs(5), messages.next());
        let fault = fault.await.expect(what).err().unwrap();
        assert!(expected(&fault), "{what}: {fault:?}");
        drop(switch);
        pump.join();
    }
}
