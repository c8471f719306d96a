//! What a connection holds on the heap, whatever its peer does. A binary of its own, since it
//! counts every byte that a thread allocates.

#![cfg(feature = "alloc")]

mod counting;

use std::time::Duration;

use counting::{held, measure};

use ws_proto::{
    Assembler, Client, Config, Connection, Event, Header, MaskSource, Message, OpCode, Server,
};

fn masked(fin: bool, opcode: OpCode, len: usize) -> Vec<u8> {
    let mut header = Header::new(opcode, len as u64);
    header.fin = fin;
    header.mask = Some([0; 4]);
    [header.encode().to_vec(), vec![b'x'; len]].concat()
}

/// Pushes `bytes` in pieces of `size` and returns how many events came of it.
fn feed(connection: &mut Connection<Server>, bytes: &mut [u8], size: usize) -> usize {
    let mut count = 0;
    for piece in bytes.chunks_mut(size) {
        let mut events = connection.push(piece, Duration::ZERO);
        while let Some(event) = events.next() {
            event.expect("nothing is wrong with it");
            count += 1;
        }
    }
    count
}

#[test]
fn data_of_any_length_in_any_pieces_allocates_nothing() {
    for size in [1, 7, 1 << 20] {
        let mut bytes = [
            masked(true, OpCode::Text, 1000),
            masked(false, OpCode::Binary, 70_000),
            masked(true, OpCode::Continuation, 0),
        ]
        .concat();
        let mut connection = Connection::server(Config::default());
        let (most, ..) = measure(|| feed(&mut connection, &mut bytes, size));
        assert_eq!(most, 0, "in pieces of {size} bytes");
    }
}

#[test]
fn a_length_that_is_only_announced_allocates_nothing() {
    let mut config = Config::default();
    config.max_frame(usize::MAX).max_message(usize::MAX);
    let mut connection = Connection::server(config);
    let mut assembler = Assembler::new(usize::MAX);
    let mut header = Header::new(OpCode::Binary, (1 << 63) - 1);
    header.mask = Some([0; 4]);
    let mut bytes = [header.encode().as_slice(), b"one"].concat();
    let (most, ..) = measure(|| {
        let mut events = connection.push(&mut bytes, Duration::ZERO);
        while let Some(event) = events.next() {
            if let Ok(Event::Data(chunk)) = event {
                assert_eq!(assembler.push(chunk), Ok(None));
            }
        }
    });
    assert!(most <= 8, "{most} bytes for the three that came");
}

#[test]
fn an_assembler_grows_with_the_bytes_received_and_holds_nothing_between_messages() {
    let mut assembler = Assembler::new(1 << 20);
    let mut connection = Connection::server(Config::default());
    let mut pieces = vec![masked(false, OpCode::Binary, 100)];
    pieces.extend((0..999).map(|_| masked(false, OpCode::Continuation, 100)));
    let mut last = masked(true, OpCode::Continuation, 0);

    let before = held();
    let mut assemble = |bytes: &mut [u8]| {
        let mut events = connection.push(bytes, Duration::ZERO);
        let mut message = None;
        while let Some(event) = events.next() {
            let Ok(Event::Data(chunk)) = event else {
                panic!("only data is expected here: {event:?}")
            };
            message = assembler.push(chunk).expect("it is within the limit");
        }
        (message, held() - before)
    };
    for (index, piece) in pieces.iter_mut().enumerate() {
        let (message, held) = assemble(piece);
        assert_eq!(message, None);
        let received = 100 * (index + 1);
        assert!(
            held <= received + received / 4,
            "{held} bytes for {received}"
        );
    }
    let (message, _) = assemble(&mut last);
    assert_eq!(message, Some(Message::Binary(vec![b'x'; 100_000])));
    drop(message);
    assert_eq!(held(), before);
}

#[test]
fn a_flood_of_pings_holds_one_pong_and_an_idle_connection_nothing() {
    for size in [1 << 20, 3] {
        let mut connection = Connection::server(Config::default());
        let mut bytes = masked(true, OpCode::Ping, 125).repeat(1000);
        let (most, left, pongs) = measure(|| {
            assert_eq!(feed(&mut connection, &mut bytes, size), 1000);
            std::iter::from_fn(|| connection.poll_control()).count()
        });
        assert_eq!((pongs, left), (1, 0));
        assert!(
            most <= 2 * 126 + 160,
            "{most} bytes for a pong and a ping in pieces"
        );
    }
}

#[test]
fn an_idle_connection_is_96_bytes_and_no_heap() {
    assert!(size_of::<Connection<Server>>() <= 96);
    // A client's source of masks is inline: nothing for a function, eight bytes for two words.
    assert!(size_of::<Connection<Client<fn() -> [u8; 4]>>>() <= 96 + size_of::<usize>());
    let mut words = [0_u32; 2];
    let masks = move || {
        words[0] = words[0].wrapping_add(words[1]);
        words[0].to_be_bytes()
    };
    fn size_of_client(masks: impl MaskSource) -> usize {
        size_of_val(&Connection::client(Config::default(), masks))
    }
    assert!(size_of_client(masks) <= 96 + 8);
    assert!(size_of_client(|| [0; 4]) <= 96);

    let (most, _, mut connection) = measure(|| Connection::server(Config::default()));
    assert_eq!(most, 0);
    let mut bytes = masked(true, OpCode::Text, 300);
    let (most, ..) = measure(|| feed(&mut connection, &mut bytes, 7));
    assert_eq!(most, 0);
}

#[test]
fn control_frames_and_closing_hold_no_more_heap_than_documented() {
    let mut connection = Connection::server(Config::default());
    let mut ping = masked(true, OpCode::Ping, 125);
    let mut close = masked(true, OpCode::Close, 0);
    let (most, left, ()) = measure(|| {
        feed(&mut connection, &mut ping, usize::MAX);
        connection.ping(&[7; 125]).expect("it is open");
        // The payload of another ping in pieces, while all of that waits.
        let mut ping = [0x89, 0xfd, 0, 0, 0, 0, 1, 2, 3];
        feed(&mut connection, &mut ping, 1);
    });
    assert!(0 < most && most <= 700 && left <= 700, "{most}, {left}");
    let mut rest = [0; 122];
    feed(&mut connection, &mut rest, 1 << 10);
    let (_, left, ()) = measure(|| while connection.poll_control().is_some() {});
    // What is idle again has given everything back, which the count shows as a negative number.
    assert!((left as isize) < -250, "{}", left as isize);
    let (most, ..) = measure(|| feed(&mut connection, &mut close, 1 << 10));
    assert!(0 < most && most <= 700, "{most}");
}

/// By window and level. An inflater has the largest window always.
#[cfg(feature = "deflate")]
#[test]
fn compression_holds_as_much_heap_as_documented() {
    use ws_proto::handshake::{DeflateSide, WindowBits};
    use ws_proto::{Chunk, Deflater, Inflater, Kind};
    for (bits, kib) in [(8, 246), (9, 246), (12, 260), (15, 372)] {
        for level in [1, 6, 9] {
            let side = DeflateSide {
                no_context_takeover: false,
                max_window_bits: WindowBits::new(bits).expect("8 to 15"),
            };
            let mut connection = Connection::server(Config::default());
            let mut out = Vec::with_capacity(100);
            let (most, _, mut deflater) = measure(|| Deflater::new(side).level(level));
            assert_eq!(most, 0, "before the first message");
            let (most, left, sent) = measure(|| {
                connection.send_compressed(Kind::Text, b"Hello", &mut deflater, &mut out)
            });
            sent.expect("it is open");
            assert!(
                most == left && left <= kib << 10,
                "{bits} bits: {left} bytes"
            );

            for alone in [false, true] {
                let side = DeflateSide {
                    no_context_takeover: alone,
                    ..side
                };
                let mut inflater = Inflater::new(side);
                let chunk = Chunk {
                    kind: Kind::Text,
                    payload: &out[2..],
                    compressed: true,
                    first: true,
                    last: true,
                };
                let mut buffer = [0; 100];
                let (most, left, ()) = measure(|| {
                    let mut pieces = inflater.push(chunk, &mut buffer);
                    while pieces.next().is_some() {}
                });
                assert!(most <= 47 << 10, "{most} bytes");
                assert_eq!(left, if alone { 0 } else { most });
            }
        }
    }
}
